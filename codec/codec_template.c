#include "codec/codec_template.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "codec/packet.h"
#include "net/process.h"

enum {
    FIRST_RESTART_MS = 100,
    SLOWEST_RESTART_MS = 10000,
    PACKETS_A_TURN = 32 /* read in one turn of the loop */
};

/* A packet that waits until the socket takes it. */
struct packet {
    struct list_node node;
    struct buf bytes;
    int fd; /* sent along; -1: none */
};

/* The control socket; it lives until libuv has let go of it. */
struct control {
    uv_poll_t poll;
    int fd;
};

struct codec_template {
    struct loop *loop;
    char *program;
    struct codec_template_events events;
    void *arg;
    struct process *process;
    struct control *control; /* NULL while it does not run */
    struct list waiting;     /* struct packet */
    struct timer *restart;
    int64_t restart_ms;
    struct log_tag log;
};

/* ---- packets out ---- */

static void packet_free(struct packet *p)
{
    if (p->fd >= 0)
        close(p->fd);
    buf_cleanup(&p->bytes);
    free(p);
}

static void forget_packets(struct codec_template *t)
{
    LIST_EACH (&t->waiting, struct packet, node, p) {
        list_remove(&t->waiting, &p->node);
        packet_free(p);
    }
}

/* 0, or errno. */
static int send_packet(int fd, const struct packet *p)
{
    struct iovec iov = {p->bytes.p, p->bytes.n};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } room = {{0}};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (p->fd >= 0) {
        m.msg_control = room.bytes;
        m.msg_controllen = sizeof(room.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &p->fd, sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? errno : 0;
}

static void watch(struct codec_template *t);

static void flush(struct codec_template *t)
{
    LIST_EACH (&t->waiting, struct packet, node, p) {
        int e = send_packet(t->control->fd, p);

        if (e == EINTR || e == EAGAIN)
            break;
        /* any other error: it is gone, and on_exit tells */
        list_remove(&t->waiting, &p->node);
        packet_free(p);
    }
    watch(t);
}

static struct packet *packet_new(struct codec_template *t, int fd)
{
    struct packet *p = xcalloc(1, sizeof(*p));

    buf_init(&p->bytes, PACKET_MAX);
    p->fd = fd;
    list_push(&t->waiting, &p->node);
    return p;
}

void codec_template_open(struct codec_template *t, const struct msg_open *m, int TAKES session_fd)
{
    msg_open_encode(&packet_new(t, session_fd)->bytes, m);
    if (t->control)
        flush(t);
}

void codec_template_budget(struct codec_template *t, const struct msg_budget *m)
{
    if (!t->control)
        return; /* the child it is for died with the template */
    msg_budget_encode(&packet_new(t, -1)->bytes, m);
    flush(t);
}

/* ---- packets in ---- */

static void on_ready(struct codec_template *t)
{
    t->restart_ms = FIRST_RESTART_MS;
    t->events.on_ready(t->arg);
}

static void handle_packet(struct codec_template *t, struct slice packet, int TAKES fd)
{
    struct msg_head head;
    struct msg_opened opened;
    struct msg_died died;
    struct slice body = slice_skip(packet, MSG_HEAD_BYTES);

    if (msg_head_decode(slice_sub(packet, 0, MSG_HEAD_BYTES), &head, NULL) != RC_OK)
        head.kind = MSG_DONE; /* not of this conversation */
    if (head.kind == MSG_OPENED && msg_opened_decode(body, &opened, NULL) == RC_OK) {
        t->events.on_opened(&opened, fd, t->arg);
        return;
    }
    if (fd >= 0)
        close(fd);
    if (head.kind == MSG_READY)
        on_ready(t);
    else if (head.kind == MSG_DIED && msg_died_decode(body, &died, NULL) == RC_OK)
        t->events.on_died(&died, t->arg);
    else
        log_bug(&t->log, "leat-codec's template sent a message that is none");
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct codec_template *t = h->data;
    struct control *c = t->control;
    uint8_t bytes[PACKET_MAX];

    for (int i = 0; i < PACKETS_A_TURN && t->control == c; i++) {
        int fd;
        ssize_t n = packet_receive(c->fd, MSG_DONTWAIT, bytes, &fd);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            uv_poll_stop(&c->poll); /* the end: on_exit tells */
            return;
        }
        if (n < 0)
            break;
        handle_packet(t, slice_of(bytes, (size_t)n), fd);
    }
    if (t->control == c)
        flush(t);
}

static void watch(struct codec_template *t)
{
    int events = UV_READABLE | (list_is_empty(&t->waiting) ? 0 : UV_WRITABLE);

    uv_poll_start(&t->control->poll, events, on_poll);
}

/* ---- the process ---- */

static void on_control_closed(uv_handle_t *h)
{
    free(CONTAINER_OF((uv_poll_t *)h, struct control, poll));
}

static void control_close(struct codec_template *t)
{
    if (!t->control)
        return;
    uv_poll_stop(&t->control->poll);
    close(t->control->fd);
    uv_close((uv_handle_t *)&t->control->poll, on_control_closed);
    t->control = NULL;
}

static void control_open(struct codec_template *t, int fd)
{
    t->control = xcalloc(1, sizeof(*t->control));
    t->control->fd = fd;
    uv_poll_init(loop_uv(t->loop), &t->control->poll, fd);
    t->control->poll.data = t;
    watch(t);
}

static void on_exit_of_process(int status, int signum, void *arg)
{
    struct codec_template *t = arg;

    log_bug(&t->log, "leat-codec's template ended (status %d, signal %d), again in %lld ms", status,
            signum, (long long)t->restart_ms);
    control_close(t);
    forget_packets(t);
    timer_start(t->restart, t->restart_ms);
    t->restart_ms = MIN(2 * t->restart_ms, SLOWEST_RESTART_MS);
    t->events.on_gone(t->arg);
}

static enum rc start(struct codec_template *t, struct err *err)
{
    const char *argv[] = {t->program, "template", NULL};
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return err_errno(err, RC_IO, errno, "socket pair for leat-codec");
    struct process_conf conf = {
        .argv = argv, .pass_fd = pair[1], .on_exit = on_exit_of_process, .arg = t};
    process_free(t->process);
    t->process = process_start(t->loop, &conf, err);
    close(pair[1]);
    if (!t->process) {
        close(pair[0]);
        return err ? err->code : RC_IO;
    }
    control_open(t, pair[0]);
    if (!list_is_empty(&t->waiting))
        flush(t);
    return RC_OK;
}

static void on_restart(void *arg)
{
    struct codec_template *t = arg;
    struct err err;

    if (start(t, &err) == RC_OK)
        return;
    log_bug(&t->log, "leat-codec cannot be started again: %s", err.text);
    timer_start(t->restart, t->restart_ms);
    t->restart_ms = MIN(2 * t->restart_ms, SLOWEST_RESTART_MS);
}

struct codec_template *codec_template_start(struct loop *l, const char *program,
                                            const struct codec_template_events *events, void *arg,
                                            struct err *err)
{
    struct codec_template *t = xcalloc(1, sizeof(*t));

    t->loop = l;
    t->program = xstrdup(program);
    t->events = *events;
    t->arg = arg;
    t->restart_ms = FIRST_RESTART_MS;
    t->restart = timer_new(l, on_restart, t);
    list_init(&t->waiting);
    log_tag(&t->log, "codec");
    if (start(t, err) == RC_OK)
        return t;
    codec_template_stop(t);
    return NULL;
}

void codec_template_stop(struct codec_template *t)
{
    if (!t)
        return;
    control_close(t);
    forget_packets(t);
    process_free(t->process);
    timer_free(t->restart);
    free(t->program);
    free(t);
}
