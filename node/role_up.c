/* leat up: a whole network on this machine: three orchestrators with a worker each and a
 * gateway, as child processes that are restarted when they die, their logs woven into one.
 *
 * They start in stages: the orchestrators, when those are ready the gateway, then the test
 * stream; so nobody calls one that is not there yet. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/http_client.h"
#include "net/process.h"
#include "net/stream.h"
#include "node/role.h"

enum {
    RTMP_PORT = 1935,
    GATEWAY_ADMIN_PORT = 5935,
    ORCHESTRATOR_PORT = 8935,
    HTTP_PORT = 9935,
    ADMIN_BELOW = 1000, /* an orchestrator's admin port lies so far below its service port */
    MAX_CHILDREN = 5,
    MAX_PORTS = 3,
    MAX_ARGS = 24,
    RESTART_MIN_MS = 500,
    RESTART_MAX_MS = 10000,
    MAX_START_FAILURES = 3, /* status 2 in a row: another try would end the same */
    STOP_MS = 10000,
    HEALTHY_MS = 10000,
    LOOK_MS = 50,      /* between two questions whether a child is ready */
    ANSWER_MS = 1000,  /* for each */
    STAGE_MS = 10000,  /* then the next stage begins anyway */
    MAX_REASONS = 4096 /* bytes of an answer */
};

enum stage { STAGE_ORCHESTRATORS, STAGE_GATEWAY, STAGE_STREAM, STAGE_ALL_RUN };

struct up;

struct child {
    struct up *up;
    enum stage stage;
    const char *name, *role, *colour;
    char *args[MAX_ARGS];
    int ports[MAX_PORTS]; /* that it will open; 0 ends */
    int admin_port;       /* where it says whether it is ready; 0: nowhere, taken as ready */
    struct process *process;
    struct timer *restart;
    struct http_call *asking;
    bool ready, given_up;
    char why_not[160];
    int64_t started_ms, wait_ms;
    int start_failures;
};

struct up {
    struct node *node;
    char *program;
    struct child children[MAX_CHILDREN];
    size_t n;
    int shift; /* -portShift */
    enum stage stage;
    int64_t stage_until_ms;
    struct http_client *client;
    struct timer *look, *give_up;
    bool colour;
};

static void start_child(struct child *c);

/* --- their logs --- */

/* "info gateway stream=demo text" -> "stream=demo text": whose line it is stands before it, and
 * that it is no trouble goes without saying. */
static struct slice shorten(const struct child *c, struct slice line)
{
    struct slice rest = line, level, component;

    if (!slice_split(&rest, ' ', &level) || !slice_eq_str(level, "info"))
        return line;
    line = rest;
    if (slice_split(&rest, ' ', &component) && slice_eq_str(component, c->role))
        line = rest;
    return line;
}

/* "2026-11-24T18:10:51.123Z info gateway stream=... text" keeps its time and text. What nodes
 * print about their flags is for debugging here: we gave them. */
static void on_line(struct slice line, bool is_stderr, void *arg)
{
    struct child *c = arg;
    const char *on = c->up->colour ? c->colour : "", *off = c->up->colour ? "\033[0m" : "";
    bool has_time = is_stderr && line.n >= 26 && line.p[10] == 'T';
    struct slice clock = has_time ? slice_sub(line, 11, 12) : SLICE_LIT("            ");
    struct slice rest = has_time ? shorten(c, slice_skip(line, 25)) : line;

    if (!is_stderr && log_level_get() != LOG_DEBUG)
        return;
    printf(SLICE_FMT " %s%-14s%s " SLICE_FMT "\n", SLICE_ARG(clock), on, c->name, off,
           SLICE_ARG(rest));
    fflush(stdout);
}

static void say(struct up *u, const char *text)
{
    printf("%s%s%s\n", u->colour ? "\033[1m" : "", text, u->colour ? "\033[0m" : "");
    fflush(stdout);
}

/* --- their lives --- */

static void finish_when_all_left(struct up *u)
{
    for (size_t i = 0; i < u->n; i++)
        if (u->children[i].process && process_is_running(u->children[i].process))
            return;
    node_stopped(u->node);
}

static void on_restart(void *arg)
{
    start_child(arg);
}

/* Without a gateway there is nothing to look at. */
static void give_up_on(struct child *c)
{
    struct up *u = c->up;
    char text[160];

    c->given_up = true;
    snprintf(text, sizeof(text),
             "%s cannot start, for the reason above: mend that and start again%s", c->name,
             c->stage == STAGE_GATEWAY ? "" : "; the others go on without it");
    say(u, text);
    if (c->stage != STAGE_GATEWAY)
        return;
    u->node->exit_status = EXIT_START_FAILED;
    u->node->stopping = true;
    u->node->role->drain(u->node);
}

static void on_exit_child(int status, int signum, void *arg)
{
    struct child *c = arg;
    char text[160];

    if (c->up->node->stopping) {
        finish_when_all_left(c->up);
        return;
    }
    if (clock_mono_ms() - c->started_ms > HEALTHY_MS) {
        c->wait_ms = RESTART_MIN_MS;
        c->start_failures = 0;
    }
    if (status == EXIT_START_FAILED && ++c->start_failures == MAX_START_FAILURES) {
        give_up_on(c);
        return;
    }
    snprintf(text, sizeof(text), "%s ended (%s %d); it starts again in %lld ms", c->name,
             signum ? "signal" : "status", signum ? signum : status, (long long)c->wait_ms);
    say(c->up, text);
    timer_start(c->restart, c->wait_ms);
    c->wait_ms = MIN(c->wait_ms * 2, (int64_t)RESTART_MAX_MS);
}

static void start_child(struct child *c)
{
    const struct process_conf conf = {.argv = (const char *const *)c->args,
                                      .pass_fd = -1,
                                      .on_line = on_line,
                                      .on_exit = on_exit_child,
                                      .arg = c};
    struct err err;

    process_free(c->process);
    c->started_ms = clock_mono_ms();
    c->process = process_start(c->up->node->loop, &conf, &err);
    if (!c->process) {
        log_peer(NULL, "%s cannot be started: %s", c->name, err.text);
        if (++c->start_failures == MAX_START_FAILURES)
            give_up_on(c);
        else
            timer_start(c->restart, RESTART_MAX_MS);
    }
}

/* --- stage after stage --- */

static void tell_what_to_do(struct up *u)
{
    bool streams = opt_flag(&u->node->options, OPT_testStream);
    char text[256];

    snprintf(text, sizeof(text), "watch    http://127.0.0.1:%d/%s", HTTP_PORT + u->shift,
             streams ? "" : "   (empty until somebody publishes)");
    say(u, text);
    snprintf(
        text, sizeof(text),
        "publish  rtmp://127.0.0.1:%d/live/NAME   (OBS: server rtmp://127.0.0.1:%d/live, stream "
        "key NAME)",
        RTMP_PORT + u->shift, RTMP_PORT + u->shift);
    say(u, text);
    if (streams) {
        snprintf(text, sizeof(text),
                 "try      pkill -9 -f 'serviceAddr 127.0.0.1:%d'   (kills an orchestrator; the "
                 "picture goes on)",
                 ORCHESTRATOR_PORT + u->shift);
        say(u, text);
    }
    say(u, "stop     Ctrl-C");
}

static void begin_stage(struct up *u, enum stage stage)
{
    u->stage = stage;
    u->stage_until_ms = clock_mono_ms() + STAGE_MS;
    for (size_t i = 0; i < u->n; i++)
        if (u->children[i].stage == stage)
            start_child(&u->children[i]);
    if (stage == STAGE_ALL_RUN) {
        timer_stop(u->look);
        tell_what_to_do(u);
    }
}

static void on_answer(int status, const struct http_headers *h, struct blob *body,
                      const struct err *err, void *arg)
{
    struct child *c = arg;
    struct slice why = body ? slice_trim(blob_slice(body)) : slice_str(err ? err->text : "");

    (void)h;
    c->asking = NULL;
    c->ready = status == 200;
    snprintf(c->why_not, sizeof(c->why_not), SLICE_FMT, SLICE_ARG(why));
}

static void ask_whether_ready(struct child *c)
{
    char url[64];
    const struct http_call_conf conf = {.method = "GET",
                                        .url = url,
                                        .speak = HTTP_SPEAK_1,
                                        .timeout_ms = ANSWER_MS,
                                        .max_body = MAX_REASONS,
                                        .collect = true,
                                        .on_done = on_answer,
                                        .arg = c};

    snprintf(url, sizeof(url), "http://127.0.0.1:%d/readyz", c->admin_port);
    c->asking = http_call_start(c->up->client, &conf);
}

static void on_look(void *arg)
{
    struct up *u = arg;
    bool late = clock_mono_ms() > u->stage_until_ms, all = true;

    for (size_t i = 0; i < u->n; i++) {
        struct child *c = &u->children[i];
        char text[256];

        if (c->stage != u->stage || c->ready || c->given_up || !c->admin_port)
            continue;
        all = false;
        if (!c->asking)
            ask_whether_ready(c);
        if (late) {
            snprintf(text, sizeof(text), "%s is not ready yet: %s", c->name, c->why_not);
            say(u, text);
        }
    }
    if (all || late)
        begin_stage(u, u->stage + 1);
}

/* --- who they are --- */

static void add_arg(struct child *c, char *TAKES arg)
{
    for (size_t i = 0; i < MAX_ARGS - 1; i++)
        if (!c->args[i]) {
            c->args[i] = arg;
            return;
        }
    abort(); /* MAX_ARGS is too small for the lists below */
}

static void add_flag(struct child *c, const char *flag, char *TAKES value)
{
    add_arg(c, xstrdup(flag));
    add_arg(c, value);
}

static struct child *add(struct up *u, enum stage stage, const char *name, const char *colour)
{
    struct child *c = &u->children[u->n++];

    c->up = u;
    c->stage = stage;
    c->name = name;
    c->colour = colour;
    c->wait_ms = RESTART_MIN_MS;
    c->restart = timer_new(u->node->loop, on_restart, c);
    add_arg(c, xstrdup(u->program));
    return c;
}

/* A child that is a node: its role, its folder, and what was said to us for all. */
static struct child *add_node(struct up *u, enum stage stage, const char *name, const char *role,
                              const char *colour)
{
    struct child *c = add(u, stage, name, colour);

    c->role = role;
    add_arg(c, xstrdup(role));
    add_flag(c, "-dataDir", xasprintf("%s/%s", u->node->data_dir, name));
    add_flag(c, "-v", xstrdup(opt_text(&u->node->options, OPT_v)));
    return c;
}

static void add_port_flag(struct child *c, const char *flag, int port)
{
    size_t i = 0;

    while (c->ports[i])
        i++;
    c->ports[i] = port;
    add_flag(c, flag, xasprintf("127.0.0.1:%d", port));
}

static void add_orchestrators(struct up *u)
{
    static const struct {
        const char *name, *colour;
    } three[] = {{"orchestrator-A", "\033[36m"},
                 {"orchestrator-B", "\033[35m"},
                 {"orchestrator-C", "\033[34m"}};

    for (size_t i = 0; i < ARRAY_LEN(three); i++) {
        int port = ORCHESTRATOR_PORT + (int)i + u->shift;
        struct child *c = add_node(u, STAGE_ORCHESTRATORS, three[i].name, "orchestrator",
                                   three[i].colour);

        c->admin_port = port - ADMIN_BELOW;
        add_arg(c, xstrdup("-transcoder"));
        add_flag(c, "-serviceAddr", xasprintf("127.0.0.1:%d", port));
        /* An orchestrator listens everywhere by itself, as the reference does; this is a trial. */
        add_port_flag(c, "-httpAddr", port);
        add_port_flag(c, "-cliAddr", c->admin_port);
    }
}

static void add_gateway(struct up *u)
{
    const struct options *o = &u->node->options;
    struct child *c = add_node(u, STAGE_GATEWAY, "gateway", "gateway", "\033[32m");
    int port = ORCHESTRATOR_PORT + u->shift;

    c->admin_port = GATEWAY_ADMIN_PORT + u->shift;
    add_flag(c, "-orchAddr",
             xasprintf("127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", port, port + 1, port + 2));
    add_port_flag(c, "-rtmpAddr", RTMP_PORT + u->shift);
    add_port_flag(c, "-httpAddr", HTTP_PORT + u->shift);
    add_port_flag(c, "-cliAddr", c->admin_port);
    add_flag(c, "-transcodingOptions",
             xstrdup(opt_given(o, OPT_transcodingOptions)
                         ? opt_text(o, OPT_transcodingOptions)
                         : "P240p30fps16x9,P360p30fps16x9,P576p30fps16x9"));
}

static void add_test_stream(struct up *u)
{
    struct child *c = add(u, STAGE_STREAM, "test-stream", "\033[33m");

    c->role = "publish";
    add_arg(c, xstrdup("publish"));
    add_arg(c, xstrdup("-picture"));
    add_arg(c, xasprintf("rtmp://127.0.0.1:%d/live/test", RTMP_PORT + u->shift));
}

/* --- the role --- */

static void *read_options(struct node *n, struct err *err)
{
    struct up *u = xcalloc(1, sizeof(*u));

    (void)err; /* the option table checked all there is to check */
    u->node = n;
    u->program = process_sibling("leat");
    u->colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    u->shift = (int)opt_number(&n->options, OPT_portShift);
    u->client = http_client_new(n->loop);
    u->look = timer_new(n->loop, on_look, u);
    add_orchestrators(u);
    add_gateway(u);
    if (opt_flag(&n->options, OPT_testStream))
        add_test_stream(u);
    return u;
}

static bool is_taken(struct up *u, int port)
{
    char addr[32];
    const struct listen_conf conf = {.addr = addr};
    struct listener *l;
    struct err err;

    snprintf(addr, sizeof(addr), "127.0.0.1:%d", port);
    l = listener_open(u->node->loop, &conf, &err);
    if (l)
        listener_close(l);
    return !l && err.code == RC_EXISTS;
}

/* A child that finds its port taken could only die of it, again and again. */
static enum rc check_ports(struct up *u, struct err *err)
{
    struct buf taken;
    enum rc rc = RC_OK;

    buf_init(&taken, MAX_REASONS);
    for (size_t i = 0; i < u->n; i++)
        for (size_t k = 0; k < MAX_PORTS && u->children[i].ports[k]; k++)
            if (is_taken(u, u->children[i].ports[k]))
                buf_printf(&taken, "%s%d (%s)", taken.n ? ", " : "", u->children[i].ports[k],
                           u->children[i].name);
    if (taken.n)
        rc = err_set(err, RC_EXISTS,
                     "taken by another program: port %s. Is another `leat up`, ./demo or node "
                     "running? Stop it (ss -ltnp shows who listens where), or add a number to all "
                     "ports: leat up -portShift 100",
                     buf_cstr(&taken));
    buf_cleanup(&taken);
    return rc;
}

static enum rc start(struct node *n, struct err *err)
{
    struct up *u = n->running;
    enum rc rc = check_ports(u, err);

    if (rc != RC_OK)
        return rc;
    begin_stage(u, STAGE_ORCHESTRATORS);
    timer_repeat(u->look, LOOK_MS);
    return RC_OK;
}

static void on_give_up(void *arg)
{
    struct up *u = arg;

    say(u, "some did not stop in time: they are killed");
    node_stopped(u->node);
}

static void drain(struct node *n)
{
    struct up *u = n->running;

    timer_stop(u->look);
    u->give_up = timer_new(n->loop, on_give_up, u);
    timer_start(u->give_up, STOP_MS);
    for (size_t i = 0; i < u->n; i++) {
        timer_stop(u->children[i].restart);
        if (u->children[i].process && process_is_running(u->children[i].process))
            process_signal(u->children[i].process, SIGTERM);
    }
    finish_when_all_left(u);
}

static void stop(struct node *n)
{
    struct up *u = n->running;

    for (size_t i = 0; i < u->n; i++) {
        struct child *c = &u->children[i];

        process_free(c->process);
        timer_free(c->restart);
        for (size_t k = 0; k < MAX_ARGS; k++)
            free(c->args[k]);
    }
    http_client_free(u->client);
    timer_free(u->look);
    timer_free(u->give_up);
    free(u->program);
    free(u);
}

const struct role role_up = {
    .name = "up",
    .node_type = "dflt",
    .option_role = ROLE_U,
    .admin_port = 0,
    .summary = "run a whole network on this machine: 3 orchestrators with workers, a gateway",
    .read = read_options,
    .start = start,
    .drain = drain,
    .stop = stop,
};
