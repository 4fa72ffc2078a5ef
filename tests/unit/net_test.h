/* What the tests of net/ share: a loop with a watchdog, and a plain peer that collects what
 * it reads. */
#ifndef LEAT_TESTS_NET_TEST_H
#define LEAT_TESTS_NET_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/net_int.h"

enum { WATCHDOG_MS = 20000 }; /* only a broken build ever waits for it */

static struct loop *loop;
static struct timer *watchdog;
static bool watchdog_bit;

static inline void on_watchdog(void *arg)
{
    (void)arg;
    watchdog_bit = true;
}

static inline int setup_loop(void **state)
{
    (void)state;
    loop = loop_new();
    watchdog = timer_new(loop, on_watchdog, NULL);
    watchdog_bit = false;
    return 0;
}

static inline void count_open(uv_handle_t *h, void *arg)
{
    bool is_own = h->type == UV_PREPARE || h->type == UV_CHECK || h->type == UV_IDLE ||
                  h->type == UV_SIGNAL || h->type == UV_ASYNC;

    *(int *)arg += !is_own && !uv_is_closing(h);
}

/* Streams that still say good-bye get a moment. What stays open then is the test's defect, or
 * the sign of one that failed in its middle: loop_free would abort and swallow its words. */
static inline int teardown_loop(void **state)
{
    int open = 1;

    (void)state;
    timer_start(watchdog, 3000);
    while (open && !watchdog_bit) {
        uv_run(loop_uv(loop), UV_RUN_NOWAIT);
        open = 0;
        uv_walk(loop_uv(loop), count_open, &open);
        open -= 1 + (loop->tick != NULL); /* the watchdog, and what the loop closes itself */
    }
    timer_free(watchdog);
    if (open) {
        print_error("%d handles left open\n", open);
        return -1;
    }
    loop_free(loop);
    return 0;
}

/* Runs the loop until the condition holds; fails the test when it never does. */
#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        timer_start(watchdog, WATCHDOG_MS);                                                        \
        while (!(condition) && !watchdog_bit)                                                      \
            uv_run(loop_uv(loop), UV_RUN_ONCE);                                                    \
        timer_stop(watchdog);                                                                      \
        if (watchdog_bit)                                                                          \
            fail_msg("never came true: %s", #condition);                                           \
    } while (0)

static inline void on_test_wait(void *arg)
{
    *(bool *)arg = true;
}

/* Lets the loop turn for a while; only to show that something does NOT happen. */
static inline void run_for(int ms)
{
    bool over = false;
    struct timer *t = timer_new(loop, on_test_wait, &over);

    timer_start(t, ms);
    RUN_UNTIL(over);
    timer_free(t);
}

/* --- a peer --- */

struct peer {
    struct connecting *connecting;
    struct stream *stream;
    struct buf in;
    bool connected, ended, failed;
    enum rc why;
    int drains;
};

static inline void peer_on_data(struct slice bytes, void *arg)
{
    struct peer *p = arg;

    buf_add_slice(&p->in, bytes);
}

static inline void peer_on_drain(void *arg)
{
    struct peer *p = arg;

    p->drains++;
}

static inline void peer_on_end(const struct err *why, void *arg)
{
    struct peer *p = arg;

    p->ended = true;
    p->why = why ? why->code : RC_OK;
}

static inline void peer_adopt(struct peer *p, struct stream *s)
{
    static const struct stream_events events = {peer_on_data, peer_on_drain, peer_on_end};

    p->stream = s;
    p->connected = true;
    stream_set_events(s, &events, p);
}

static inline void peer_on_done(struct stream *s, const struct err *why, void *arg)
{
    struct peer *p = arg;

    p->connecting = NULL;
    if (s) {
        peer_adopt(p, s);
        return;
    }
    p->failed = true;
    p->why = why->code;
}

static inline void peer_init(struct peer *p)
{
    *p = (struct peer){0};
    buf_init(&p->in, (size_t)1 << 30);
}

static inline void peer_connect_with(struct peer *p, struct connect_conf conf)
{
    peer_init(p);
    conf.on_done = peer_on_done;
    conf.arg = p;
    p->connecting = stream_connect(loop, &conf);
}

static inline void peer_connect(struct peer *p, uint16_t port)
{
    peer_connect_with(p, (struct connect_conf){.host = "127.0.0.1", .port = port});
    RUN_UNTIL(p->connected || p->failed);
    assert_true(p->connected);
}

static inline void peer_send(struct peer *p, const char *text)
{
    stream_write(p->stream, slice_str(text));
}

static inline bool peer_has(struct peer *p, const char *text)
{
    return strstr(buf_cstr(&p->in), text) != NULL;
}

static inline void peer_close(struct peer *p)
{
    stream_close(p->stream);
    p->stream = NULL;
    buf_cleanup(&p->in);
}

/* A socket without our code around it. */
static inline int raw_connect(uint16_t port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

/* A folder of the test's own below /tmp, removed by remove_dir. */
static inline char *make_dir(void)
{
    char *dir = xstrdup("/tmp/leat-test-XXXXXX");

    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline void remove_dir(char *dir)
{
    char *command = xasprintf("rm -rf '%s'", dir);

    assert_int_equal(system(command), 0);
    free(command);
    free(dir);
}

#endif
