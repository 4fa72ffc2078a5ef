#include "codec/program/template.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/slice.h"
#include "codec/packet.h"
#include "codec/program/sandbox.h"
#include "codec/program/session.h"
#include "codec/program/warm.h"

enum { CONTROL_FD = 3, SESSION_FD = 3 };

struct template
{
    struct sandbox *sandbox;
    int deaths_fd; /* signalfd of SIGCHLD */
    pid_t pid;     /* ours: a child checks that its parent still lives */
    bool must_restart;
};

/* ---- control messages ---- */

/* carry_fd: sent along, -1 for none. False: the client is gone. */
static bool send_packet(struct buf *b, int carry_fd)
{
    struct iovec iov = {b->p, b->n};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } room = {{0}};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (carry_fd >= 0) {
        m.msg_control = room.bytes;
        m.msg_controllen = sizeof(room.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &carry_fd, sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(CONTROL_FD, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    buf_cleanup(b);
    return n >= 0;
}

/* *fd: a descriptor that came along, or -1. Empty: the client is gone. */
static struct slice receive_packet(uint8_t packet[PACKET_MAX], int *fd)
{
    ssize_t n;

    do
        n = packet_receive(CONTROL_FD, 0, packet, fd);
    while (n < 0 && errno == EINTR);
    return n > 0 ? slice_of(packet, (size_t)n) : slice_of(NULL, 0);
}

static bool send_ready(void)
{
    struct buf b;

    buf_init(&b, PACKET_MAX);
    msg_ready_encode(&b);
    return send_packet(&b, -1);
}

static bool send_opened(uint32_t session, int pid, int pidfd)
{
    struct buf b;

    buf_init(&b, PACKET_MAX);
    msg_opened_encode(&b, &(struct msg_opened){session, pid});
    return send_packet(&b, pidfd);
}

static bool send_died(int pid, int status)
{
    struct buf b;

    buf_init(&b, PACKET_MAX);
    msg_died_encode(&b, &(struct msg_died){pid, status});
    return send_packet(&b, -1);
}

/* ---- children ---- */

static NORETURN void be_child(const struct template *t, const struct msg_open *open, int fd)
{
    char name[16];
    sigset_t none;
    struct err err;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != t->pid)
        _exit(0); /* the template died before we could ask to be told */
    snprintf(name, sizeof(name), "codec %.9s", open->id);
    prctl(PR_SET_NAME, name);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    sandbox_close_descriptors(fd);
    if (sandbox_enter(t->sandbox, (size_t)open->memory_limit_bytes, &err) != RC_OK)
        _exit(1);
    session_serve(SESSION_FD);
}

static bool open_session(const struct template *t, const struct msg_open *open, int fd)
{
    pid_t pid = fd < 0 ? -1 : fork();
    int fork_error = fd < 0 ? EBADF : errno;

    if (pid == 0)
        be_child(t, open, fd);
    if (fd >= 0)
        close(fd);
    if (pid < 0)
        return send_opened(open->session, -fork_error, -1);
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    bool sent = send_opened(open->session, pid, pidfd);
    if (pidfd >= 0)
        close(pidfd);
    return sent;
}

static bool is_our_child(pid_t pid)
{
    siginfo_t info;

    return pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static rlim_t cpu_seconds_used(pid_t pid)
{
    clockid_t clock;
    struct timespec used = {0};

    if (clock_getcpuclockid(pid, &clock) == 0)
        (void)clock_gettime(clock, &used); /* it may just have died: then 0 does no harm */
    return (rlim_t)used.tv_sec;
}

/* The child may use this much more; then SIGXCPU ends it, which it can neither catch nor
 * lift. A child that was taken over cannot burn the machine between two jobs. */
static void set_budget(const struct msg_budget *m)
{
    if (!is_our_child(m->pid))
        return;
    struct rlimit limit = {cpu_seconds_used(m->pid) + m->cpu_s, RLIM_INFINITY};
    (void)prlimit(m->pid, RLIMIT_CPU, &limit, NULL); /* its death is reported in any case */
}

static bool reap(struct template *t)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (!send_died(pid, status))
            return false;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            t->must_restart = true;
    }
    return true;
}

/* ---- the loop ---- */

static bool handle_packet(struct template *t, struct slice packet, int fd)
{
    struct msg_head head;
    struct msg_open open;
    struct msg_budget budget;
    struct slice body = slice_skip(packet, MSG_HEAD_BYTES);

    if (msg_head_decode(slice_sub(packet, 0, MSG_HEAD_BYTES), &head, NULL) != RC_OK ||
        head.body_bytes != body.n)
        return false;
    if (head.kind == MSG_OPEN && msg_open_decode(body, &open, NULL) == RC_OK)
        return open_session(t, &open, fd);
    if (head.kind == MSG_BUDGET && msg_budget_decode(body, &budget, NULL) == RC_OK) {
        set_budget(&budget);
        return true;
    }
    return false;
}

static bool serve_control(struct template *t)
{
    uint8_t bytes[PACKET_MAX];
    int fd;
    struct slice packet = receive_packet(bytes, &fd);

    return packet.n && handle_packet(t, packet, fd);
}

static bool serve_deaths(struct template *t)
{
    struct signalfd_siginfo info;

    if (read(t->deaths_fd, &info, sizeof(info)) < 0 && errno != EAGAIN)
        return false;
    return reap(t);
}

/* False: the client is gone or talks nonsense. */
static bool serve_one(struct template *t)
{
    struct pollfd fds[] = {{CONTROL_FD, POLLIN, 0}, {t->deaths_fd, POLLIN, 0}};

    if (poll(fds, ARRAY_LEN(fds), -1) < 0)
        return errno == EINTR;
    if (fds[1].revents)
        return serve_deaths(t);
    return !fds[0].revents || serve_control(t);
}

static NORETURN void restart(void)
{
    char *argv[] = {(char *)"leat-codec", (char *)"template", NULL};

    execve("/proc/self/exe", argv, environ);
    perror("leat-codec: executing itself anew");
    _exit(1);
}

/* The environment may hold secrets of whoever started us; children decode strangers'
 * bytes and need none of it. Overwritten, since a child's memory is a copy of ours. */
static void wipe_environment(void)
{
#ifndef __SANITIZE_ADDRESS__ /* its options are there */
    for (char **e = environ; *e; e++)
        memset(*e, 0, strlen(*e));
    clearenv();
#endif
}

static enum rc prepare(struct template *t, struct err *err)
{
    sigset_t deaths;

    wipe_environment();
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&deaths);
    sigaddset(&deaths, SIGCHLD);
    sigprocmask(SIG_SETMASK, &deaths, NULL);
    t->pid = getpid();
    t->deaths_fd = signalfd(-1, &deaths, SFD_CLOEXEC | SFD_NONBLOCK);
    if (t->deaths_fd < 0)
        return err_errno(err, RC_INTERNAL, errno, "signalfd");
    t->sandbox = sandbox_new(err);
    return t->sandbox ? warm_up(err) : RC_INTERNAL;
}

int template_main(void)
{
    struct template t = {0};
    struct err err;

    if (prepare(&t, &err) != RC_OK) {
        fprintf(stderr, "leat-codec: %s\n", err.text);
        return 1;
    }
    /* children that died while we were executing anew are waiting already */
    bool served = send_ready() && reap(&t);
    while (served && !t.must_restart)
        served = serve_one(&t);
    if (t.must_restart)
        restart();
    sandbox_free(t.sandbox);
    return 0;
}
