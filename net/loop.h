/* net/loop.h: the one event loop of a process, its timers and deferred calls.
 *
 * One thread owns the loop and all state reached from it; nothing on it takes
 * longer than a millisecond. A callback never runs inside the call that registered
 * it.   Underneath: libuv; loop_uv() is for net/, store/ and codec/ only.
 */
#ifndef LEAT_NET_LOOP_H
#define LEAT_NET_LOOP_H

#include "base/base.h"

struct loop;
typedef struct uv_loop_s uv_loop_t;

struct loop *loop_new(void);
void loop_free(struct loop *l); /* everything on it must be closed; asserts otherwise */
void loop_run(struct loop *l);  /* until loop_stop or nothing is left to wait for */
void loop_stop(struct loop *l);
uv_loop_t *loop_uv(struct loop *l);
int64_t loop_now_ms(const struct loop *l); /* monotonic, of this turn */

/* Runs fn once from the loop, soon. `owner`-style cancellation: loop_defer_cancel. */
struct deferred {
    struct deferred *next, *prev;
    void (*fn)(void *arg);
    void *arg;
};
/* d lives in the caller's object (zero-initialised); a second call while queued is a no-op. */
void loop_defer(struct loop *l, struct deferred *d, void (*fn)(void *arg), void *arg);
void loop_defer_cancel(struct loop *l, struct deferred *d);

/* Timers live in heap objects of their own; the owner's _free calls timer_free. */
struct timer;
struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void timer_start(struct timer *t, int64_t in_ms); /* once; restarts when armed */
void timer_repeat(struct timer *t, int64_t every_ms);
void timer_stop(struct timer *t);
bool timer_is_armed(const struct timer *t);
void timer_free(struct timer *t); /* NULL is fine */

/* Signals: SIGTERM, SIGINT, SIGHUP, SIGUSR2. fn runs on the loop. */
void loop_on_signal(struct loop *l, int signum, void (*fn)(int signum, void *arg), void *arg);

/* A whole job on a helper thread, a whole result back on the loop.
 * run(work) sees nothing but *work; done(work, cancelled) runs on the loop exactly once. */
void threads_submit(struct loop *l, void *work, void (*run)(void *work),
                    void (*done)(void *work, bool cancelled));

#endif
