#include "net/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

#include "net/net_int.h"

/* --- deferred calls: two rings, run before and after each poll --- */

static void ring_init(struct deferred *head)
{
    head->next = head->prev = head;
}

static bool ring_is_empty(const struct deferred *head)
{
    return head->next == head;
}

static void ring_unlink(struct deferred *d)
{
    d->prev->next = d->next;
    d->next->prev = d->prev;
    d->next = d->prev = NULL;
}

static void on_awake(uv_idle_t *h)
{
    (void)h; /* being active is its whole work: the poll does not sleep */
}

static void ring_add(struct loop *l, struct deferred *head, struct deferred *d,
                     void (*fn)(void *arg), void *arg)
{
    if (d->next)
        return;
    d->fn = fn;
    d->arg = arg;
    d->next = head;
    d->prev = head->prev;
    head->prev->next = d;
    head->prev = d;
    uv_idle_start(&l->awake, on_awake);
}

/* Calls that are added meanwhile wait for the next round. */
static void ring_run(struct deferred *head)
{
    struct deferred now;

    if (ring_is_empty(head))
        return;
    now = *head;
    now.next->prev = now.prev->next = &now;
    ring_init(head);
    while (!ring_is_empty(&now)) {
        struct deferred *d = now.next;

        ring_unlink(d);
        d->fn(d->arg);
    }
}

static void run_deferred(struct loop *l)
{
    ring_run(&l->soon);
    ring_run(&l->flush);
    if (ring_is_empty(&l->soon) && ring_is_empty(&l->flush))
        uv_idle_stop(&l->awake);
}

static void on_prepare(uv_prepare_t *h)
{
    run_deferred(h->data);
}

static void on_check(uv_check_t *h)
{
    run_deferred(h->data);
}

void loop_defer(struct loop *l, struct deferred *d, void (*fn)(void *arg), void *arg)
{
    ring_add(l, &l->soon, d, fn, arg);
}

void loop_flush(struct loop *l, struct deferred *d, void (*fn)(void *arg), void *arg)
{
    ring_add(l, &l->flush, d, fn, arg);
}

void loop_defer_cancel(struct loop *l, struct deferred *d)
{
    (void)l;
    if (d->next)
        ring_unlink(d);
}

/* --- the loop --- */

struct loop *loop_new(void)
{
    struct loop *l = xcalloc(1, sizeof(*l));

    signal(SIGPIPE, SIG_IGN); /* a vanished peer is an error of write, not of the process */
    if (uv_loop_init(&l->uv) != 0) {
        free(l);
        return NULL;
    }
    l->uv.data = l;
    ring_init(&l->soon);
    ring_init(&l->flush);
    list_init(&l->signals);
    list_init(&l->work);
    list_init(&l->paced);
    uv_prepare_init(&l->uv, &l->prepare);
    uv_check_init(&l->uv, &l->check);
    uv_idle_init(&l->uv, &l->awake);
    l->prepare.data = l->check.data = l->awake.data = l;
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_start(&l->check, on_check);
    uv_unref((uv_handle_t *)&l->prepare);
    uv_unref((uv_handle_t *)&l->check);
    return l;
}

void loop_run(struct loop *l)
{
    uv_update_time(&l->uv);
    l->running = true;
    uv_run(&l->uv, UV_RUN_DEFAULT);
    l->running = false;
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

uv_loop_t *loop_uv(struct loop *l)
{
    return &l->uv;
}

int64_t loop_now_ms(const struct loop *l)
{
    return (int64_t)uv_now(&l->uv);
}

/* --- timers --- */

struct timer {
    uv_timer_t uv;
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
};

static void on_timer(uv_timer_t *h)
{
    struct timer *t = h->data;

    t->fn(t->arg);
}

struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct timer *t = xcalloc(1, sizeof(*t));

    uv_timer_init(&l->uv, &t->uv);
    t->uv.data = t;
    t->loop = l;
    t->fn = fn;
    t->arg = arg;
    return t;
}

static void timer_arm(struct timer *t, int64_t in_ms, int64_t every_ms)
{
    if (!t->loop->running)
        uv_update_time(&t->loop->uv); /* start-up work must not count as time waited */
    uv_timer_start(&t->uv, on_timer, (uint64_t)MAX(in_ms, 0), (uint64_t)MAX(every_ms, 0));
}

void timer_start(struct timer *t, int64_t in_ms)
{
    timer_arm(t, in_ms, 0);
}

void timer_repeat(struct timer *t, int64_t every_ms)
{
    timer_arm(t, every_ms, every_ms);
}

void timer_stop(struct timer *t)
{
    uv_timer_stop(&t->uv);
}

bool timer_is_armed(const struct timer *t)
{
    return uv_is_active((const uv_handle_t *)&t->uv) != 0;
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h->data);
}

void timer_free(struct timer *t)
{
    if (t)
        uv_close((uv_handle_t *)&t->uv, on_timer_closed);
}

/* --- signals --- */

struct signal_watch {
    uv_signal_t uv;
    struct list_node node;
    void (*fn)(int signum, void *arg);
    void *arg;
};

static void on_signal(uv_signal_t *h, int signum)
{
    struct signal_watch *w = h->data;

    w->fn(signum, w->arg);
}

void loop_on_signal(struct loop *l, int signum, void (*fn)(int signum, void *arg), void *arg)
{
    struct signal_watch *w = xcalloc(1, sizeof(*w));

    uv_signal_init(&l->uv, &w->uv);
    w->uv.data = w;
    w->fn = fn;
    w->arg = arg;
    list_push(&l->signals, &w->node);
    uv_signal_start(&w->uv, on_signal, signum);
    uv_unref((uv_handle_t *)&w->uv); /* waiting for a signal alone is no reason to stay */
}

static void on_signal_closed(uv_handle_t *h)
{
    free(h->data);
}

/* --- helper threads --- */

struct work {
    uv_work_t uv;
    struct list_node node;
    struct loop *loop;
    void *work;
    void (*run)(void *work);
    void (*done)(void *work, bool cancelled);
};

static void work_run(uv_work_t *req)
{
    struct work *w = req->data;

    w->run(w->work);
}

static void work_done(uv_work_t *req, int status)
{
    struct work *w = req->data;
    void (*done)(void *work, bool cancelled) = w->done;
    void *arg = w->work;

    list_remove(&w->loop->work, &w->node);
    free(w);
    done(arg, status == UV_ECANCELED);
}

void threads_submit(struct loop *l, void *work, void (*run)(void *work),
                    void (*done)(void *work, bool cancelled))
{
    struct work *w = xcalloc(1, sizeof(*w));

    w->uv.data = w;
    w->loop = l;
    w->work = work;
    w->run = run;
    w->done = done;
    list_push(&l->work, &w->node);
    uv_queue_work(&l->uv, &w->uv, work_run, work_done);
}

/* --- the end --- */

enum { LAST_TURNS = 4 };

static void close_own_handles(struct loop *l)
{
    LIST_EACH (&l->signals, struct signal_watch, node, w) {
        list_remove(&l->signals, &w->node);
        uv_close((uv_handle_t *)&w->uv, on_signal_closed);
    }
    timer_free(l->tick);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->awake, NULL);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    LIST_EACH (&l->work, struct work, node, w)
        (void)uv_cancel((uv_req_t *)&w->uv); /* a job that already runs is waited for instead */
    while (!list_is_empty(&l->work) || l->lingering > 0)
        uv_run(&l->uv, UV_RUN_ONCE);
    /* last deferred calls, those that they defer, and memory of handles closed before */
    for (int turns = 0; turns < LAST_TURNS; turns++)
        uv_run(&l->uv, UV_RUN_NOWAIT);
    close_own_handles(l);
    uv_run(&l->uv, UV_RUN_NOWAIT);
    uv_run(&l->uv, UV_RUN_NOWAIT);
    assert(ring_is_empty(&l->soon) && ring_is_empty(&l->flush));
    int left = uv_loop_close(&l->uv);
    assert(left == 0 && "a handle on this loop is still open");
    (void)left;
    free(l);
}
