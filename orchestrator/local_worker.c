#include "orchestrator/local_worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/process.h"

enum { MAX_ARGS = 24, BACKOFF_MIN_MS = 200, BACKOFF_MAX_MS = 10000, HEALTHY_MS = 10000 };

struct local_worker {
    struct loop *loop;
    char *args[MAX_ARGS];
    char *secret_variable;
    struct process *process;
    struct timer *again;
    int64_t started_ms, wait_ms;
    char trouble[200];
};

static void start(struct local_worker *w);

static void on_again(void *arg)
{
    start(arg);
}

static void on_exit_worker(int status, int signum, void *arg)
{
    struct local_worker *w = arg;

    if (clock_mono_ms() - w->started_ms > HEALTHY_MS)
        w->wait_ms = BACKOFF_MIN_MS;
    snprintf(w->trouble, sizeof(w->trouble), "the local worker ended with %s %d",
             signum ? "signal" : "status", signum ? signum : status);
    log_peer(NULL, "%s; it starts again in %lld ms", w->trouble, (long long)w->wait_ms);
    timer_start(w->again, w->wait_ms);
    w->wait_ms = MIN(2 * w->wait_ms, (int64_t)BACKOFF_MAX_MS);
}

static void start(struct local_worker *w)
{
    const char *const env[] = {w->secret_variable, NULL};
    const struct process_conf conf = {.argv = (const char *const *)w->args,
                                      .env_add = env,
                                      .pass_fd = -1,
                                      .on_exit = on_exit_worker,
                                      .arg = w};
    struct err err;

    process_free(w->process);
    w->started_ms = clock_mono_ms();
    w->process = process_start(w->loop, &conf, &err);
    if (w->process) {
        w->trouble[0] = '\0';
        return;
    }
    snprintf(w->trouble, sizeof(w->trouble), "the local worker cannot be started: %.150s",
             err.text);
    log_peer(NULL, "%s", w->trouble);
    timer_start(w->again, BACKOFF_MAX_MS);
}

struct local_worker *local_worker_start(struct loop *l, const struct local_worker_conf *conf)
{
    struct local_worker *w = xcalloc(1, sizeof(*w));
    size_t n = 0;

    w->loop = l;
    w->wait_ms = BACKOFF_MIN_MS;
    w->again = timer_new(l, on_again, w);
    w->secret_variable = xasprintf("LP_ORCHSECRET=%s", conf->secret);
    w->args[n++] = conf->program ? xstrdup(conf->program) : process_sibling("leat");
    w->args[n++] = xstrdup("transcoder");
    w->args[n++] = xstrdup("-orchAddr");
    w->args[n++] = xasprintf("unix:%s", conf->socket);
    w->args[n++] = xstrdup("-maxSessions");
    w->args[n++] = xasprintf("%d", conf->capacity);
    w->args[n++] = xstrdup("-cliAddr");
    w->args[n++] = xstrdup("127.0.0.1:0"); /* many may run on one machine */
    w->args[n++] = xstrdup("-dataDir");
    w->args[n++] = xstrdup(conf->data_dir);
    if (log_level_get() == LOG_DEBUG) {
        w->args[n++] = xstrdup("-v");
        w->args[n++] = xstrdup("6");
    }
    for (size_t i = 0; conf->args && conf->args[i] && n < MAX_ARGS - 1; i++)
        w->args[n++] = xstrdup(conf->args[i]);
    start(w);
    return w;
}

const char *local_worker_trouble(const struct local_worker *w)
{
    return w->trouble;
}

/* State T of proc(5): SIGSTOP. A debugger's stop is t. */
static bool is_stopped(int pid)
{
    char path[64], line[512] = "";
    const char *state;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (!f)
        return false;
    (void)!fgets(line, sizeof(line), f); /* nothing read: an empty line, not stopped */
    fclose(f);
    state = strrchr(line, ')'); /* the name before it may hold anything */
    return state && state[1] == ' ' && state[2] == 'T';
}

void local_worker_is_silent(struct local_worker *w, bool dead)
{
    if (!w->process || !process_is_running(w->process))
        return;
    if (!dead && !is_stopped(process_pid(w->process)))
        return;
    log_peer(NULL, "the local worker (process %d) %s: it is ended and started again",
             process_pid(w->process), dead ? "does not answer" : "was stopped by somebody");
    process_signal(w->process, SIGKILL);
}

void local_worker_stop(struct local_worker *w)
{
    if (!w)
        return;
    process_free(w->process);
    timer_free(w->again);
    for (size_t i = 0; i < MAX_ARGS; i++)
        free(w->args[i]);
    free(w->secret_variable);
    free(w);
}
