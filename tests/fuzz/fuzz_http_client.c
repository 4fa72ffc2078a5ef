/* Answers of hostile servers to the HTTP and gRPC clients.
 *
 * Input: byte 0 chooses the protocol (bit 0: HTTP/2, bit 1: as gRPC, bit 2: two calls at
 * once), byte 1 the size of the pieces in which the rest is sent (0: all at once). The rest
 * is what the server says before it hangs up. The whole stack runs, over a Unix socket. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/grpc.h"
#include "net/stream.h"

enum { MAX_CONNS = 16, MAX_BODY = 4096, PIECES = 64 };

static struct loop *loop;
static char path[64];

static struct slice says;
static size_t piece;
static struct server_conn {
    struct stream *stream;
    size_t said;
    struct deferred next;
} conns[MAX_CONNS];
static size_t n_conns;
static int calls, done;

/* --- the server --- */

static void say_next(void *arg)
{
    struct server_conn *c = arg;
    struct slice part = slice_sub(says, c->said, piece);

    if (!part.n) {
        stream_close_when_sent(c->stream);
        c->stream = NULL;
        return;
    }
    stream_write(c->stream, part);
    c->said += part.n;
    loop_defer(loop, &c->next, say_next, c);
}

static void on_data(struct slice bytes, void *arg)
{
    struct server_conn *c = arg;

    (void)bytes;
    if (!c->said)
        loop_defer(loop, &c->next, say_next, c);
}

static void on_end(const struct err *why, void *arg)
{
    (void)why, (void)arg;
}

static void on_stream(struct stream *s, void *arg)
{
    static const struct stream_events events = {on_data, NULL, on_end};

    (void)arg;
    assert(n_conns < MAX_CONNS);
    conns[n_conns].stream = s;
    stream_set_events(s, &events, &conns[n_conns++]);
}

static void forget_conns(void)
{
    for (size_t i = 0; i < n_conns; i++) {
        loop_defer_cancel(loop, &conns[i].next);
        stream_close(conns[i].stream);
        conns[i] = (struct server_conn){0};
    }
    n_conns = 0;
}

static void remove_socket(void)
{
    (void)unlink(path);
}

static void open_server(void)
{
    struct listen_conf conf = {.addr = path, .max_connections = MAX_CONNS, .on_stream = on_stream};
    struct err err;

    snprintf(path, sizeof(path), "unix:/tmp/leat-fuzz-%d.sock", (int)getpid());
    loop = loop_new();
    if (!listener_open(loop, &conf, &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    memmove(path, path + 5, strlen(path) - 4);
    atexit(remove_socket);
}

/* --- the calls --- */

static void on_headers(int status, const struct http_headers *h, void *arg)
{
    (void)arg;
    assert(status >= 200 && status <= 999 && h->n <= HTTP_MAX_HEADERS);
}

static void over(void)
{
    if (++done == calls)
        loop_stop(loop);
}

static void on_http_done(int status, const struct http_headers *h, struct blob *body,
                         const struct err *err, void *arg)
{
    (void)status, (void)h, (void)arg;
    assert(err ? !body : body && body->n <= MAX_BODY);
    over();
}

static void on_message(struct slice message, void *arg)
{
    (void)arg;
    assert(message.n <= GRPC_MAX_MESSAGE);
}

static void on_grpc_done(int status, const struct err *err, void *arg)
{
    (void)arg;
    assert((status == GRPC_OK) == (err == NULL));
    over();
}

static void start_call(struct http_client *client, uint8_t mode)
{
    struct http_call_conf http = {
        .method = "GET",
        .url = "http://peer/",
        .unix_path = path,
        .max_body = MAX_BODY,
        .speak = mode & 1 ? HTTP_SPEAK_2 : HTTP_SPEAK_1,
        .timeout_ms = 5000,
        .collect = true,
        .on_headers = on_headers,
        .on_done = on_http_done,
    };
    struct grpc_call_conf grpc = {
        .url = "http://peer",
        .unix_path = path,
        .path = "/net.Orchestrator/Ping",
        .message = SLICE_LIT("hello"),
        .timeout_ms = 5000,
        .on_message = on_message,
        .on_done = on_grpc_done,
    };

    calls++;
    if (mode & 2)
        grpc_call(client, &grpc);
    else
        http_call_start(client, &http);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct http_client *client;

    if (n < 2 || n > 1 << 20)
        return 0;
    if (!loop)
        open_server();
    says = slice_of(p + 2, n - 2);
    piece = p[1] ? MAX((size_t)p[1], n / PIECES) : n;
    calls = done = 0;
    client = http_client_new(loop);
    start_call(client, p[0]);
    if (p[0] & 4)
        start_call(client, p[0]);
    loop_run(loop);
    assert(done == calls);
    http_client_free(client);
    forget_conns();
    return 0;
}
