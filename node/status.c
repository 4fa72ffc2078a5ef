/* leat status [HOST:PORT]: what a running node does, in a table or as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "net/http_client.h"
#include "node/address.h"
#include "node/commands.h"
#include "node/table.h"

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

static double real_of(json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* --- words for people --- */

struct words {
    char text[64];
};

/* "12 s", "5 min", "3 h", "2 days" */
static struct words length_words(long long ms)
{
    static const struct {
        long long ms;
        const char *unit;
    } units[] = {{86400000LL * 2, "days"}, {3600000LL * 2, "h"}, {60000 * 2, "min"}, {0, "s"}};
    static const long long size[] = {86400000LL, 3600000LL, 60000, 1000};
    struct words w;
    size_t i = 0;

    ms = MAX(ms, 0LL);
    while (ms < units[i].ms)
        i++;
    snprintf(w.text, sizeof(w.text), "%lld %s", ms / size[i], units[i].unit);
    return w;
}

static struct words since_words(json_t *object, const char *key)
{
    return length_words(clock_wall_ms() - json_member_int(object, key));
}

static struct words rate_words(long long bits_per_s)
{
    struct words w;

    if (bits_per_s < 1000000)
        snprintf(w.text, sizeof(w.text), "%lld kb/s", bits_per_s / 1000);
    else
        snprintf(w.text, sizeof(w.text), "%.1f Mb/s", (double)bits_per_s / 1e6);
    return w;
}

static struct words bytes_words(long long bytes)
{
    struct words w;

    snprintf(w.text, sizeof(w.text), "%.1f MB", (double)bytes / 1e6);
    return w;
}

/* How long a segment took, as a part of its own length: above 100 % is too slow. */
static struct words ratio_words(json_t *object, const char *key)
{
    struct words w = {"-"};

    if (real_of(object, key) > 0)
        snprintf(w.text, sizeof(w.text), "%.0f %%", 100 * real_of(object, key));
    return w;
}

static const char *without_scheme(const char *uri)
{
    const char *host = strstr(uri, "://");

    return host ? host + 3 : uri;
}

static const char *plural(long long n)
{
    return n == 1 ? "" : "s";
}

/* --- gateway --- */

static void print_renditions(struct buf *out, json_t *renditions)
{
    static const char *const heads[] = {"quality", "picture", "rate", "newest",
                                        "gaps",    "made by", "took", NULL};
    struct table *t = table_new(heads);
    json_t *r;
    size_t i;

    json_array_foreach(renditions, i, r)
    {
        const char *by = json_member_text(r, "orchestrator");

        table_cell(t, "%s", json_member_text(r, "name"));
        table_cell(t, "%lldx%lld", json_member_int(r, "width"), json_member_int(r, "height"));
        table_cell(t, "%s", rate_words(json_member_int(r, "bitrate")).text);
        table_cell(t, "%lld", json_member_int(r, "last_segment"));
        table_cell(t, "%lld", json_member_int(r, "gaps"));
        table_cell(t, "%s", by[0] ? without_scheme(by) : "the publisher");
        table_cell(t, "%s", ratio_words(r, "ratio").text);
    }
    table_print(t, out);
}

static void print_orchestrators(struct buf *out, json_t *orchestrators)
{
    static const char *const heads[] = {"orchestrator", "state",  "answers in", "segments",
                                        "failures",     "reason", NULL};
    struct table *t = table_new(heads);
    json_t *o;
    size_t i;

    json_array_foreach(orchestrators, i, o)
    {
        table_cell(t, "%s", without_scheme(json_member_text(o, "uri")));
        table_cell(t, "%s", json_member_text(o, "state"));
        table_cell(t, "%lld ms", json_member_int(o, "latency_ms"));
        table_cell(t, "%lld", json_member_int(o, "segments"));
        table_cell(t, "%lld", json_member_int(o, "failures"));
        table_cell(t, "%s", json_member_text(o, "reason"));
    }
    table_print(t, out);
}

static void print_troubles(struct buf *out, json_t *troubles)
{
    json_t *t;
    size_t i;

    if (json_array_size(troubles))
        buf_u8(out, '\n');
    json_array_foreach(troubles, i, t)
    {
        buf_printf(out, "  ! %s ago", since_words(t, "at_ms").text);
        if (json_member_int(t, "segment") >= 0)
            buf_printf(out, ", segment %lld", json_member_int(t, "segment"));
        buf_printf(out, ": %s\n", json_member_text(t, "text"));
    }
}

static void print_stream(struct buf *out, json_t *s)
{
    buf_printf(out, "\n%s: %s by %s for %s, %lld segment%s, %lld at work",
               json_member_text(s, "name"), json_member_text(s, "state"),
               json_member_text(s, "ingest"), since_words(s, "since_ms").text,
               json_member_int(s, "segments"), plural(json_member_int(s, "segments")),
               json_member_int(s, "in_flight"));
    if (json_member_int(s, "reconnects"))
        buf_printf(out, ", returned %lld time%s", json_member_int(s, "reconnects"),
                   plural(json_member_int(s, "reconnects")));
    buf_u8(out, '\n');
    print_renditions(out, json_object_get(s, "renditions"));
    print_orchestrators(out, json_object_get(s, "orchestrators"));
    print_troubles(out, json_object_get(s, "troubles"));
}

static void print_gateway(struct buf *out, json_t *root)
{
    json_t *streams = json_object_get(root, "streams"), *s;
    size_t i, known = json_array_size(json_object_get(root, "candidates"));

    buf_printf(out, "gateway %s: %zu stream%s, %zu orchestrator%s known\n",
               json_member_text(root, "version"), json_array_size(streams),
               plural((long long)json_array_size(streams)), known, plural((long long)known));
    buf_printf(out, "publish to rtmp://%s/live/NAME, watch http://%s/play/NAME\n",
               json_member_text(root, "rtmp_addr"), json_member_text(root, "http_addr"));
    if (json_member_text(root, "candidates_trouble")[0])
        buf_printf(out, "! %s\n", json_member_text(root, "candidates_trouble"));
    json_array_foreach(streams, i, s) print_stream(out, s);
}

/* --- orchestrator --- */

static void print_sessions(struct buf *out, json_t *sessions)
{
    static const char *const heads[] = {"stream",   "gateway",  "worker", "since",
                                        "segments", "failures", "took",   NULL};
    struct table *t = table_new(heads);
    json_t *s;
    size_t i;

    json_array_foreach(sessions, i, s)
    {
        table_cell(t, "%s", json_member_text(s, "manifest"));
        table_cell(t, "%s", json_member_text(s, "gateway"));
        table_cell(t, "%s", json_member_text(s, "worker"));
        table_cell(t, "%s", since_words(s, "since_ms").text);
        table_cell(t, "%lld", json_member_int(s, "segments"));
        table_cell(t, "%lld", json_member_int(s, "failures"));
        table_cell(t, "%s", ratio_words(s, "ratio").text);
    }
    table_print(t, out);
}

static void print_workers(struct buf *out, json_t *workers)
{
    static const char *const heads[] = {"worker", "state",  "since",        "streams",
                                        "done",   "failed", "last failure", NULL};
    struct table *t = table_new(heads);
    json_t *w;
    size_t i;

    json_array_foreach(workers, i, w)
    {
        table_cell(t, "%s", json_member_text(w, "name"));
        table_cell(t, "%s", json_member_text(w, "state"));
        table_cell(t, "%s", since_words(w, "since_ms").text);
        table_cell(t, "%lld of %lld", json_member_int(w, "sessions"),
                   json_member_int(w, "capacity"));
        table_cell(t, "%lld", json_member_int(w, "done"));
        table_cell(t, "%lld", json_member_int(w, "failed"));
        table_cell(t, "%s", json_member_text(w, "last_failure"));
    }
    table_print(t, out);
}

static void print_refusals(struct buf *out, json_t *refusals)
{
    json_t *r;
    size_t i;

    if (json_array_size(refusals))
        buf_u8(out, '\n');
    json_array_foreach(refusals, i, r)
        buf_printf(out, "  ! %s ago, %s was refused: %s\n", since_words(r, "at_ms").text,
                   json_member_text(r, "peer"), json_member_text(r, "text"));
}

static void print_orchestrator(struct buf *out, json_t *root)
{
    json_t *workers = json_object_get(root, "workers");

    buf_printf(out, "orchestrator %s%s: %zu of %lld sessions, %lld segment%s at work, %s held\n",
               json_member_text(root, "version"),
               json_is_true(json_object_get(root, "draining")) ? ", leaving" : "",
               json_array_size(json_object_get(root, "sessions")),
               json_member_int(root, "max_sessions"), json_member_int(root, "tasks"),
               plural(json_member_int(root, "tasks")),
               bytes_words(json_member_int(root, "held_bytes")).text);
    buf_printf(out, "announces %s, listens on %s\n", json_member_text(root, "service_uri"),
               json_member_text(root, "addr"));
    if (!json_array_size(workers))
        buf_printf(out, "! no worker is here: nothing can be transcoded\n");
    print_workers(out, workers);
    print_sessions(out, json_object_get(root, "sessions"));
    print_refusals(out, json_object_get(root, "refusals"));
}

/* --- transcoder --- */

static void print_transcoder(struct buf *out, json_t *root)
{
    json_t *codec = json_object_get(root, "codec");

    buf_printf(out, "transcoder %s: works for %s\n", json_member_text(root, "version"),
               json_member_text(root, "orchestrator"));
    if (json_member_text(root, "trouble")[0])
        buf_printf(out, "! %s\n", json_member_text(root, "trouble"));
    buf_printf(out, "  streams      %lld of %lld\n", json_member_int(root, "streams"),
               json_member_int(root, "capacity"));
    buf_printf(out, "  segments     %lld at work, %lld done, %lld failed\n",
               json_member_int(root, "running"), json_member_int(root, "done"),
               json_member_int(root, "failed"));
    buf_printf(out, "  connection   lost %lld time%s\n", json_member_int(root, "reconnects"),
               plural(json_member_int(root, "reconnects")));
    buf_printf(out, "  leat-codec   %lld running, %lld crashed\n",
               json_member_int(codec, "children"), json_member_int(codec, "crashed"));
}

/* --- the answer --- */

static const struct {
    const char *role;
    void (*print)(struct buf *out, json_t *root);
} printers[] = {{"gateway", print_gateway},
                {"orchestrator", print_orchestrator},
                {"transcoder", print_transcoder}};

static void print_json(json_t *root)
{
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
}

/* Names and reasons come from strangers: none of their bytes may steer the terminal. */
static void print_for_people(void (*print)(struct buf *out, json_t *root), json_t *root)
{
    struct buf out;

    buf_init(&out, MAX_ANSWER);
    print(&out, root);
    for (size_t i = 0; i < out.n; i++)
        if ((out.p[i] < ' ' && out.p[i] != '\n') || out.p[i] == 0x7f)
            out.p[i] = '?';
    fwrite(out.p, 1, out.n, stdout);
    buf_cleanup(&out);
}

static int print_answer(struct blob *answer, bool as_json)
{
    struct err err;
    json_t *root = json_parse(blob_slice(answer), &err);
    size_t i = 0;

    if (!root) {
        fprintf(stderr, "leat status: %s\n", err.text);
        return 1;
    }
    while (i < ARRAY_LEN(printers) && strcmp(json_member_text(root, "role"), printers[i].role) != 0)
        i++;
    if (as_json || i == ARRAY_LEN(printers))
        print_json(root);
    else
        print_for_people(printers[i].print, root);
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

static int refuse(void)
{
    fputs(status_command.usage, stderr);
    return EXIT_START_FAILED;
}

static int run_status(int argc, char **argv)
{
    const char *given = "";
    bool as_json = false;
    struct err err;
    char *addr;
    int exit_status;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-json") == 0 || strcmp(argv[i], "--json") == 0)
            as_json = true;
        else if (argv[i][0] == '-' || given[0])
            return refuse();
        else
            given = argv[i];
    }
    addr = address_read(ADDRESS_LISTEN, "cliAddr", given, ADMIN_PORT, &err);
    if (!addr) {
        fprintf(stderr, "leat status: %s\n", err.text);
        return EXIT_START_FAILED;
    }
    exit_status = ask(addr, as_json);
    free(addr);
    return exit_status;
}

const struct command status_command = {
    .name = "status",
    .summary = "show what a running node does",
    .usage = "leat status [-json] [HOST:PORT]\n\n"
             "Asks a node what it does and shows it in tables.\n"
             "  HOST:PORT  the node's -cliAddr. When left out a gateway's on this machine,\n"
             "             127.0.0.1:5935; an orchestrator has 7935, a transcoder 6935\n"
             "  -json      show all that the node tells, for programs (doc/status.md)\n\n"
             "\"took\" is the newest segment's time at work, as a part of its own length: above\n"
             "100 % the stream falls behind.\n",
    .flags = "-json",
    .run = run_status,
};
