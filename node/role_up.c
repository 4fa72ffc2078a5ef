/* leat up: a whole network on this machine: three orchestrators with a worker each and a
 * gateway, as child processes that are restarted when they die, their logs woven into one. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/process.h"
#include "node/role.h"

enum {
    MAX_CHILDREN = 5,
    MAX_ARGS = 16,
    RESTART_MIN_MS = 500,
    RESTART_MAX_MS = 10000,
    STOP_MS = 10000,
    HEALTHY_MS = 10000
};

struct up;

struct child {
    struct up *up;
    const char *name, *colour;
    char *args[MAX_ARGS];
    struct process *process;
    struct timer *restart;
    int64_t started_ms, wait_ms;
    int restarts;
};

struct up {
    struct node *node;
    char *program;
    struct child children[MAX_CHILDREN];
    size_t n;
    struct timer *give_up;
    bool colour;
};

static void start_child(struct child *c);

/* --- their logs --- */

/* "2026-11-24T18:10:51.123Z info gateway stream=... text" keeps its time and text; the name of
 * the child replaces the component. */
static void on_line(struct slice line, bool is_stderr, void *arg)
{
    struct child *c = arg;
    const char *on = c->up->colour ? c->colour : "", *off = c->up->colour ? "\033[0m" : "";
    struct slice clock = slice_sub(line, 11, 12), rest = slice_skip(line, 25);

    if (!is_stderr || line.n < 26 || line.p[10] != 'T') {
        clock = SLICE_LIT("            ");
        rest = line;
    }
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

static void on_exit_child(int status, int signum, void *arg)
{
    struct child *c = arg;
    char text[160];

    if (c->up->node->stopping) {
        finish_when_all_left(c->up);
        return;
    }
    if (clock_mono_ms() - c->started_ms > HEALTHY_MS)
        c->wait_ms = RESTART_MIN_MS;
    c->restarts++;
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
        timer_start(c->restart, RESTART_MAX_MS);
    }
}

static void add_arg(struct child *c, char *TAKES arg)
{
    for (size_t i = 0; i < MAX_ARGS - 1; i++)
        if (!c->args[i]) {
            c->args[i] = arg;
            return;
        }
    abort(); /* MAX_ARGS is too small for the lists below */
}

static struct child *add(struct up *u, const char *name, const char *colour)
{
    struct child *c = &u->children[u->n++];

    c->up = u;
    c->name = name;
    c->colour = colour;
    c->wait_ms = RESTART_MIN_MS;
    c->restart = timer_new(u->node->loop, on_restart, c);
    add_arg(c, xstrdup(u->program));
    return c;
}

static void add_flag(struct child *c, const char *flag, char *TAKES value)
{
    add_arg(c, xstrdup(flag));
    add_arg(c, value);
}

static void add_orchestrators(struct up *u)
{
    static const struct {
        const char *name, *colour;
        int port;
    } three[] = {{"orchestrator-A", "\033[36m", 8935},
                 {"orchestrator-B", "\033[35m", 8936},
                 {"orchestrator-C", "\033[34m", 8937}};

    for (size_t i = 0; i < ARRAY_LEN(three); i++) {
        struct child *c = add(u, three[i].name, three[i].colour);

        add_arg(c, xstrdup("orchestrator"));
        add_arg(c, xstrdup("-transcoder"));
        add_flag(c, "-serviceAddr", xasprintf("127.0.0.1:%d", three[i].port));
        /* An orchestrator listens everywhere by itself, as the reference does; this is a trial. */
        add_flag(c, "-httpAddr", xasprintf("127.0.0.1:%d", three[i].port));
        add_flag(c, "-cliAddr", xasprintf("127.0.0.1:%d", three[i].port - 1000));
        add_flag(c, "-dataDir", xasprintf("%s/%s", u->node->data_dir, three[i].name));
    }
}

static void add_gateway(struct up *u)
{
    struct child *c = add(u, "gateway", "\033[32m");

    add_arg(c, xstrdup("gateway"));
    add_flag(c, "-orchAddr", xstrdup("127.0.0.1:8935,127.0.0.1:8936,127.0.0.1:8937"));
    add_flag(c, "-dataDir", xasprintf("%s/gateway", u->node->data_dir));
    add_flag(c, "-transcodingOptions",
             xstrdup(opt_given(&u->node->options, OPT_transcodingOptions)
                         ? opt_text(&u->node->options, OPT_transcodingOptions)
                         : "P240p30fps16x9,P360p30fps16x9,P576p30fps16x9"));
}

static void add_test_stream(struct up *u)
{
    struct child *c = add(u, "test-stream", "\033[33m");

    add_arg(c, xstrdup("publish"));
    add_arg(c, xstrdup("-picture"));
    add_arg(c, xstrdup("rtmp://127.0.0.1:1935/live/test"));
}

static void *read_options(struct node *n, struct err *err)
{
    struct up *u = xcalloc(1, sizeof(*u));

    u->node = n;
    u->program = process_sibling("leat");
    u->colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    (void)err; /* the option table checked all there is to check */
    add_orchestrators(u);
    add_gateway(u);
    if (opt_flag(&n->options, OPT_testStream))
        add_test_stream(u);
    return u;
}

static enum rc start(struct node *n, struct err *err)
{
    struct up *u = n->running;

    (void)err; /* children that cannot start are tried again, with the reason in the log */
    for (size_t i = 0; i < u->n; i++)
        start_child(&u->children[i]);
    say(u, "watch    http://127.0.0.1:9935/");
    say(u, "publish  rtmp://127.0.0.1:1935/live/NAME   (OBS: server rtmp://127.0.0.1:1935/live, "
           "stream key NAME)");
    say(u, "stop     Ctrl-C");
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
