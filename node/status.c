/* leat status [HOST:PORT]: what a running node does, in a table or as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/url.h"
#include "net/http_client.h"
#include "node/commands.h"

enum { ADMIN_PORT = 5935, ANSWER_MS = 3000, MAX_ANSWER = 16 * 1024 * 1024 };

struct question {
    struct loop *loop;
    struct blob *answer;
    struct err err;
    int status;
};

static void on_done(int status, const struct http_headers *h, struct blob *body,
                    const struct err *err, void *arg)
{
    struct question *q = arg;

    (void)h;
    q->status = status;
    if (err)
        q->err = *err;
    else
        q->answer = blob_ref(body);
    loop_stop(q->loop);
}

static const char *text_of(json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

static long long number_of(json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void print_rendition(json_t *r)
{
    printf("  %-16s %4lldx%-4lld %8lld b/s  segment %-6lld %s\n", text_of(r, "name"),
           number_of(r, "width"), number_of(r, "height"), number_of(r, "bitrate"),
           number_of(r, "last_segment"), text_of(r, "orchestrator"));
}

static void print_trouble(json_t *t)
{
    printf("  ! segment %lld: %s\n", number_of(t, "segment"), text_of(t, "text"));
}

static void print_stream(json_t *s)
{
    size_t i;
    json_t *one;

    printf("%s  %s by %s  %lld segments\n", text_of(s, "name"), text_of(s, "state"),
           text_of(s, "ingest"), number_of(s, "segments"));
    json_array_foreach(json_object_get(s, "renditions"), i, one) print_rendition(one);
    json_array_foreach(json_object_get(s, "troubles"), i, one) print_trouble(one);
}

static int print_answer(struct blob *answer, bool as_json)
{
    struct err err;
    json_t *root = json_parse(blob_slice(answer), &err), *streams, *one;
    size_t i;

    if (!root) {
        fprintf(stderr, "leat status: %s\n", err.text);
        return 1;
    }
    streams = json_object_get(root, "streams");
    if (as_json || !streams) {
        json_dumpf(root, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        printf("%s %s: %zu streams\n", text_of(root, "role"), text_of(root, "version"),
               json_array_size(streams));
        json_array_foreach(streams, i, one) print_stream(one);
    }
    json_decref(root);
    return 0;
}

static int ask(const char *addr, bool as_json)
{
    struct question q = {.loop = loop_new()};
    struct http_client *client = http_client_new(q.loop);
    char *url = xasprintf("http://%s/api/status", addr);
    const struct http_call_conf conf = {.method = "GET",
                                        .url = url,
                                        .speak = HTTP_SPEAK_1,
                                        .timeout_ms = ANSWER_MS,
                                        .max_body = MAX_ANSWER,
                                        .collect = true,
                                        .on_done = on_done,
                                        .arg = &q};
    int exit_status = 1;

    http_call_start(client, &conf);
    loop_run(q.loop);
    if (q.answer && q.status == 200)
        exit_status = print_answer(q.answer, as_json);
    else
        fprintf(stderr,
                "leat status: no node answers at %s (%s); give the address of its -cliAddr\n", addr,
                q.answer ? "it is another program" : q.err.text);
    blob_unref(&q.answer);
    http_client_free(client);
    loop_free(q.loop);
    free(url);
    return exit_status;
}

int command_status(int argc, char **argv)
{
    const char *given = "";
    bool as_json = false;
    char *addr;
    int exit_status;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-json") == 0 || strcmp(argv[i], "--json") == 0) {
            as_json = true;
        } else if (argv[i][0] == '-') {
            printf("leat status [-json] [HOST:PORT]\n"
                   "  HOST:PORT  the node's -cliAddr; a gateway on this machine when left out\n");
            return strstr(argv[i], "help") ? 0 : 2;
        } else {
            given = argv[i];
        }
    }
    addr = addr_complete(given, "127.0.0.1", ADMIN_PORT);
    exit_status = ask(addr, as_json);
    free(addr);
    return exit_status;
}
