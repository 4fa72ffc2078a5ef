#include "net/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/net_int.h"

extern char **environ;

enum {
    LINE_MAX_BYTES = 4096,
    LAST_WORDS_MS = 1000, /* how long a grandchild may keep our end of the pipe open */
    HANDLES = 3           /* two pipes and the child itself */
};

struct pipe_end {
    uv_pipe_t uv;
    struct process *process;
    bool is_stderr, open;
    size_t n;
    uint8_t line[LINE_MAX_BYTES];
};

struct process {
    struct loop *loop;
    pid_t pid;
    bool running, freed;
    int status, signum;
    uv_poll_t exit_watch; /* on the child's pidfd */
    int pidfd;
    struct pipe_end out, err;
    struct timer *last_words;
    int handles;              /* libuv's, not closed yet */
    struct process_conf conf; /* callbacks only; argv and env are gone after the start */
};

/* --- the child's side of fork: nothing here may allocate or lock --- */

struct child_plan {
    char *const *argv;
    char **env;
    int out, err; /* -1: inherit */
    int pass_fd;
    int report; /* errno goes here when exec fails; closed by a good one */
    pid_t parent;
};

static void child_reset_signals(void)
{
    sigset_t none;

    for (int n = 1; n < NSIG; n++)
        signal(n, SIG_DFL); /* fails for two of them, which have no other disposition anyway */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool child_move(int from, int to)
{
    if (from == to)
        return fcntl(to, F_SETFD, 0) == 0;
    return dup2(from, to) == to;
}

static void child_close_from(int first)
{
    if (syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    for (int fd = first; fd < 65536; fd++) /* kernels before 5.11 */
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static bool child_set_descriptors(const struct child_plan *p)
{
    int null = open("/dev/null", O_RDONLY);

    if (null < 0 || !child_move(null, 0))
        return false;
    if (p->out >= 0 && (!child_move(p->out, 1) || !child_move(p->err, 2)))
        return false;
    if (p->pass_fd >= 0 && !child_move(p->pass_fd, 3))
        return false;
    child_close_from(p->pass_fd >= 0 ? 4 : 3);
    return true;
}

NORETURN static void child_run(const struct child_plan *p)
{
    int why;

    child_reset_signals();
    (void)setpgid(0, 0); /* Ctrl-C is for the parent: it asks its children to stop in order */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == p->parent && child_set_descriptors(p))
        execve(p->argv[0], p->argv, p->env);
    why = errno;
    while (write(p->report, &why, sizeof(why)) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* --- starting --- */

static char **environment(const char *const *add)
{
    size_t n = 0, extra = 0, used = 0;
    char **env;

    while (environ[n])
        n++;
    while (add && add[extra])
        extra++;
    env = xcalloc(n + extra + 1, sizeof(*env));
    for (size_t i = 0; i < extra; i++) /* first: getenv finds ours before the inherited one */
        env[used++] = (char *)add[i];
    for (size_t i = 0; i < n; i++)
        env[used++] = environ[i];
    return env;
}

/* Descriptors of a plan lie above the numbers that the child hands out, so that moving one
 * never overwrites another. */
static int raise_fd(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);

    close(fd);
    return high;
}

static bool pipe_pair(int fds[2])
{
    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    fds[1] = raise_fd(fds[1]);
    if (fds[1] >= 0)
        return true;
    close(fds[0]);
    return false;
}

/* The child's errno, or 0 when it runs its program. */
static int fork_and_exec(struct child_plan *plan, pid_t *pid)
{
    int report[2], why = 0;
    ssize_t n;

    if (!pipe_pair(report))
        return errno;
    plan->report = report[1];
    plan->parent = getpid();
    *pid = fork();
    if (*pid == 0)
        child_run(plan);
    why = *pid < 0 ? errno : 0;
    close(report[1]);
    do
        n = *pid < 0 ? 0 : read(report[0], &why, sizeof(why)); /* ends with exec or _exit */
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (why && *pid > 0)
        waitpid(*pid, NULL, 0);
    return why;
}

static enum rc spawn(struct process *p, const struct process_conf *conf, int out_fd, int err_fd,
                     struct err *err)
{
    char **env = environment(conf->env_add);
    int high = conf->pass_fd >= 0 ? fcntl(conf->pass_fd, F_DUPFD_CLOEXEC, 10) : -1;
    struct child_plan plan = {.argv = (char *const *)conf->argv,
                              .env = env,
                              .out = out_fd,
                              .err = err_fd,
                              .pass_fd = high};
    int why = conf->pass_fd >= 0 && high < 0 ? errno : fork_and_exec(&plan, &p->pid);

    free(env);
    if (high >= 0)
        close(high);
    return why ? err_errno(err, why == ENOENT ? RC_NOT_FOUND : RC_IO, why, "start %s",
                           conf->argv[0])
               : RC_OK;
}

/* --- the end --- */

static void on_handle_closed(uv_handle_t *h)
{
    struct process *p = h->data;

    if (--p->handles > 0 || !p->freed)
        return;
    if (p->pidfd >= 0)
        close(p->pidfd);
    free(p);
}

static void close_handle(struct process *p, uv_handle_t *h)
{
    if (!uv_is_closing(h)) {
        h->data = p;
        uv_close(h, on_handle_closed);
    }
}

static void end_pipe(struct pipe_end *e)
{
    e->open = false;
    close_handle(e->process, (uv_handle_t *)&e->uv);
}

static void tell_exit(struct process *p)
{
    void (*on_exit)(int status, int signum, void *arg) = p->conf.on_exit;

    timer_free(p->last_words);
    p->last_words = NULL;
    p->conf.on_exit = NULL;
    if (on_exit && !p->freed)
        on_exit(p->status, p->signum, p->conf.arg);
}

static void on_last_words_over(void *arg)
{
    struct process *p = arg;

    end_pipe(&p->out);
    end_pipe(&p->err);
    tell_exit(p);
}

static void maybe_ended(struct process *p)
{
    if (p->running || p->freed)
        return;
    if (!p->out.open && !p->err.open)
        tell_exit(p);
    else if (!p->last_words) {
        p->last_words = timer_new(p->loop, on_last_words_over, p);
        timer_start(p->last_words, LAST_WORDS_MS);
    }
}

static void on_child_exit(uv_poll_t *h, int status, int events)
{
    struct process *p = CONTAINER_OF(h, struct process, exit_watch);
    int how;

    (void)status, (void)events;
    if (waitpid(p->pid, &how, WNOHANG) != p->pid)
        return;
    p->running = false;
    p->status = WIFEXITED(how) ? WEXITSTATUS(how) : -1;
    p->signum = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
    close_handle(p, (uv_handle_t *)&p->exit_watch);
    if (p->freed)
        p->loop->lingering--;
    else
        maybe_ended(p);
}

/* --- lines --- */

static bool emit_line(struct pipe_end *e)
{
    struct process *p = e->process;
    struct slice line = slice_of(e->line, e->n);

    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    e->n = 0;
    p->conf.on_line(line, e->is_stderr, p->conf.arg);
    return !p->freed;
}

static void take_bytes(struct pipe_end *e, struct slice bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        bool full = e->n == LINE_MAX_BYTES;

        if (bytes.p[i] != '\n' && !full)
            e->line[e->n++] = bytes.p[i];
        else if (bytes.p[i] == '\n' && !emit_line(e))
            return;
        /* else: the rest of an overlong line is cut off */
    }
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *out)
{
    struct loop *l = h->loop->data;

    (void)hint;
    *out = uv_buf_init((char *)l->read_buf, sizeof(l->read_buf));
}

static void on_pipe_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
    struct pipe_end *e = CONTAINER_OF((uv_pipe_t *)h, struct pipe_end, uv);
    struct process *p = e->process;

    if (n > 0 && p->conf.on_stdout && !e->is_stderr)
        p->conf.on_stdout(slice_of(b->base, (size_t)n), p->conf.arg);
    else if (n > 0)
        take_bytes(e, slice_of(b->base, (size_t)n));
    if (n >= 0 || p->freed)
        return;
    if (e->n && !emit_line(e))
        return;
    end_pipe(e);
    maybe_ended(p);
}

static void open_pipe(struct process *p, struct pipe_end *e, int fd, bool is_stderr)
{
    e->process = p;
    e->is_stderr = is_stderr;
    uv_pipe_init(&p->loop->uv, &e->uv, 0);
    p->handles++;
    if (fd < 0) {
        end_pipe(e);
        return;
    }
    e->open = uv_pipe_open(&e->uv, fd) == 0 &&
              uv_read_start((uv_stream_t *)&e->uv, on_alloc, on_pipe_read) == 0;
    assert(e->open); /* our own pipe: nothing outside can break this */
}

/* --- the interface --- */

static bool watch_exit(struct process *p, struct err *err)
{
    p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (p->pidfd >= 0 && uv_poll_init(&p->loop->uv, &p->exit_watch, p->pidfd) == 0) {
        p->handles++;
        uv_poll_start(&p->exit_watch, UV_READABLE, on_child_exit);
        return true;
    }
    (void)err_errno(err, RC_IO, errno, "watch child %d", (int)p->pid);
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
    if (p->pidfd >= 0)
        close(p->pidfd);
    return false;
}

static void close_pair(const int fds[2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

struct process *process_start(struct loop *l, const struct process_conf *conf, struct err *err)
{
    struct process *p = xcalloc(1, sizeof(*p));
    int out[2] = {-1, -1}, errs[2] = {-1, -1};

    p->loop = l;
    p->pidfd = -1;
    p->conf = *conf;
    if (conf->on_line && (!pipe_pair(out) || !pipe_pair(errs))) {
        (void)err_errno(err, RC_IO, errno, "start %s", conf->argv[0]);
        goto fail;
    }
    if (spawn(p, conf, out[1], errs[1], err) != RC_OK || !watch_exit(p, err))
        goto fail;
    p->running = true;
    open_pipe(p, &p->out, out[0], false);
    open_pipe(p, &p->err, errs[0], true);
    out[0] = errs[0] = -1;
    close_pair(out);
    close_pair(errs);
    return p;
fail:
    close_pair(out);
    close_pair(errs);
    free(p);
    return NULL;
}

int process_pid(const struct process *p)
{
    return (int)p->pid;
}

void process_signal(struct process *p, int signum)
{
    if (p->running)
        kill(p->pid, signum); /* not reaped yet, so the number is still its own */
}

bool process_is_running(const struct process *p)
{
    return p->running;
}

void process_free(struct process *p)
{
    if (!p)
        return;
    p->freed = true;
    timer_free(p->last_words);
    p->last_words = NULL;
    if (p->running) {
        kill(p->pid, SIGKILL);
        p->loop->lingering++; /* on_child_exit closes the last handle */
    }
    end_pipe(&p->out);
    end_pipe(&p->err);
    if (p->handles == 0) {
        close(p->pidfd);
        free(p);
    }
}

char *process_sibling(const char *name)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (n < 0)
        return xstrdup(name);
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (!slash)
        return xstrdup(name);
    return xasprintf("%.*s/%s", (int)(slash - self), self, name);
}
