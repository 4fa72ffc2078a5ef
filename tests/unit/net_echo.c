/* A small HTTP server for trying net/ with real clients and for measuring it.
 *
 *   net_echo ADDR [CERT KEY]     prints the address it listens on, serves until SIGTERM
 *
 *   /hello           "hello"            /echo            the body, once it is complete
 *   /stream          the body as it arrives              /big?MIB         so many MiB of zeros
 *   /unread          answers without reading the body    gRPC             the message again
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/grpc.h"

static struct blob *zeros;

static void on_echo(struct http_exchange *x, struct blob *body, const struct err *why, void *arg)
{
    (void)arg;
    if (body)
        http_answer_blob(x, 200, "application/octet-stream", body);
    else
        http_answer_err(x, why);
}

static void on_bytes(struct http_exchange *x, struct slice bytes, void *arg)
{
    (void)arg;
    http_write(x, bytes);
    if (http_unsent(x) > STREAM_HIGH_WATER)
        http_body_pause(x);
}

static void on_bytes_end(struct http_exchange *x, const struct err *why, void *arg)
{
    (void)arg;
    if (why)
        http_abort(x);
    else
        http_finish(x);
}

static void on_sent(struct http_exchange *x, void *arg)
{
    (void)arg;
    http_body_resume(x);
}

static void stream_back(struct http_exchange *x)
{
    static const struct http_body_events events = {on_bytes, on_bytes_end};

    http_on_sent(x, on_sent, NULL);
    http_start(x, 200, "application/octet-stream", -1);
    http_stream_body(x, SIZE_MAX, &events, NULL);
}

static void send_big(struct http_exchange *x)
{
    uint64_t mib = 1;

    (void)!slice_u64(http_request(x)->query, 4096, &mib);
    http_start(x, 200, "application/octet-stream", (int64_t)(mib << 20));
    for (uint64_t i = 0; i < mib; i++)
        http_write_blob(x, zeros, 0, 1 << 20);
    http_finish(x);
}

static void on_message(struct http_exchange *x, struct blob *message, void *arg)
{
    (void)arg;
    if (message)
        grpc_reply(x, blob_slice(message));
}

static void on_request(struct http_exchange *x, void *arg)
{
    const struct http_request *r = http_request(x);

    (void)arg;
    if (grpc_is_request(r))
        grpc_read(x, on_message, NULL);
    else if (slice_eq_str(r->path, "/echo"))
        http_read_body(x, 400u << 20, on_echo, NULL);
    else if (slice_eq_str(r->path, "/stream"))
        stream_back(x);
    else if (slice_eq_str(r->path, "/big"))
        send_big(x);
    else if (slice_eq_str(r->path, "/hello") || slice_eq_str(r->path, "/unread"))
        http_answer(x, 200, "text/plain", SLICE_LIT("hello\n"));
    else
        http_answer(x, 404, "text/plain", SLICE_LIT("not here\n"));
}

static void on_drained(void *arg)
{
    loop_stop(arg);
}

struct echo {
    struct loop *loop;
    struct http_server *server;
};

static void on_term(int signum, void *arg)
{
    struct echo *e = arg;

    (void)signum;
    http_server_drain(e->server, on_drained, e->loop);
}

int main(int argc, char **argv)
{
    struct http_server_conf conf = {.on_request = on_request};
    struct loop *l = loop_new();
    struct http_server *s;
    struct echo echo;
    struct err err;

    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: %s ADDR [CERT KEY]\n", argv[0]);
        return 2;
    }
    zeros = blob_new(1 << 20);
    memset(blob_bytes(zeros), 0, 1 << 20);
    conf.listen.addr = argv[1];
    conf.listen.tls = argc == 4 ? tls_server_new(argv[2], argv[3], &err) : NULL;
    s = argc == 4 && !conf.listen.tls ? NULL : http_server_open(l, &conf, &err);
    if (!s) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("%s\n", listener_addr(http_server_listener(s)));
    fflush(stdout);
    echo = (struct echo){l, s};
    loop_on_signal(l, SIGTERM, on_term, &echo);
    loop_run(l);
    http_server_close(s);
    tls_server_free(conf.listen.tls);
    blob_unref(&zeros);
    loop_free(l);
    return 0;
}
