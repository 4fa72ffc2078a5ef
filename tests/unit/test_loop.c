#include "net_test.h"

#include <signal.h>

#include "net/loop.h"

/* --- deferred calls --- */

static int calls;
static struct deferred first, second;

static void count(void *arg)
{
    (void)arg;
    calls++;
}

static void test_deferred_runs_later_and_once(void **state)
{
    (void)state;
    calls = 0;
    loop_defer(loop, &first, count, NULL);
    loop_defer(loop, &first, count, NULL);
    assert_int_equal(calls, 0);
    RUN_UNTIL(calls > 0);
    run_for(5);
    assert_int_equal(calls, 1);
}

static void test_deferred_cancelled(void **state)
{
    (void)state;
    calls = 0;
    loop_defer(loop, &first, count, NULL);
    loop_defer(loop, &second, count, NULL);
    loop_defer_cancel(loop, &first);
    RUN_UNTIL(calls > 0);
    assert_int_equal(calls, 1);
}

static void cancel_second(void *arg)
{
    (void)arg;
    loop_defer_cancel(loop, &second);
    loop_defer(loop, &first, count, NULL); /* itself again, from inside */
}

static void test_deferred_cancels_its_neighbour(void **state)
{
    (void)state;
    calls = 0;
    loop_defer(loop, &first, cancel_second, NULL);
    loop_defer(loop, &second, count, NULL);
    RUN_UNTIL(calls > 0);
    run_for(5);
    assert_int_equal(calls, 1); /* the second never ran, the first ran again */
}

/* --- timers --- */

static void test_timer_fires_once_and_can_free_itself(void **state)
{
    bool fired = false;
    struct timer *t = timer_new(loop, on_test_wait, &fired);

    (void)state;
    assert_false(timer_is_armed(t));
    timer_start(t, 1);
    assert_true(timer_is_armed(t));
    RUN_UNTIL(fired);
    assert_false(timer_is_armed(t));
    timer_free(t);
    timer_free(NULL);
}

static void test_timer_repeats_until_stopped(void **state)
{
    struct timer *t = timer_new(loop, count, NULL);

    (void)state;
    calls = 0;
    timer_repeat(t, 1);
    RUN_UNTIL(calls >= 3);
    timer_stop(t);
    calls = 0;
    run_for(10);
    assert_int_equal(calls, 0);
    timer_free(t);
}

static void test_time_before_the_first_turn_is_not_waited(void **state)
{
    bool fired = false;
    struct timer *t = timer_new(loop, on_test_wait, &fired);

    (void)state;
    usleep(60 * 1000); /* start-up work */
    timer_start(t, 50);
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    assert_false(fired);
    timer_free(t);
}

/* --- signals, threads --- */

static int last_signal;

static void on_test_signal(int signum, void *arg)
{
    (void)arg;
    last_signal = signum;
}

static void test_signal_comes_from_the_loop(void **state)
{
    (void)state;
    last_signal = 0;
    loop_on_signal(loop, SIGUSR2, on_test_signal, NULL);
    kill(getpid(), SIGUSR2);
    assert_int_equal(last_signal, 0);
    RUN_UNTIL(last_signal == SIGUSR2);
}

struct job {
    int in, out, done;
    bool cancelled;
};

static void job_run(void *work)
{
    struct job *j = work;

    j->out = j->in * 2;
}

static void job_done(void *work, bool cancelled)
{
    struct job *j = work;

    j->done++;
    j->cancelled = cancelled;
}

static void test_thread_takes_a_job_and_returns_it(void **state)
{
    struct job j = {.in = 21};

    (void)state;
    threads_submit(loop, &j, job_run, job_done);
    assert_int_equal(j.done, 0);
    RUN_UNTIL(j.done);
    assert_int_equal(j.out, 42);
    assert_false(j.cancelled);
}

static void slow_run(void *work)
{
    (void)work;
    usleep(20 * 1000);
}

static void test_every_job_is_done_when_the_loop_ends(void **state)
{
    struct job jobs[32] = {0};
    struct loop *own = loop_new();
    int cancelled = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        threads_submit(own, &jobs[i], slow_run, job_done);
    loop_free(own);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        assert_int_equal(jobs[i].done, 1);
        cancelled += jobs[i].cancelled;
    }
    assert_true(cancelled > 0);
}

static void test_run_ends_when_nothing_is_left(void **state)
{
    struct loop *own = loop_new();

    (void)state;
    calls = 0;
    loop_defer(own, &first, count, NULL);
    loop_on_signal(own, SIGUSR2, on_test_signal, NULL);
    loop_run(own);
    assert_int_equal(calls, 1);
    loop_free(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_deferred_runs_later_and_once, setup_loop,
                                        teardown_loop),
        cmocka_unit_test_setup_teardown(test_deferred_cancelled, setup_loop, teardown_loop),
        cmocka_unit_test_setup_teardown(test_deferred_cancels_its_neighbour, setup_loop,
                                        teardown_loop),
        cmocka_unit_test_setup_teardown(test_timer_fires_once_and_can_free_itself, setup_loop,
                                        teardown_loop),
        cmocka_unit_test_setup_teardown(test_timer_repeats_until_stopped, setup_loop,
                                        teardown_loop),
        cmocka_unit_test_setup_teardown(test_time_before_the_first_turn_is_not_waited, setup_loop,
                                        teardown_loop),
        cmocka_unit_test_setup_teardown(test_signal_comes_from_the_loop, setup_loop, teardown_loop),
        cmocka_unit_test_setup_teardown(test_thread_takes_a_job_and_returns_it, setup_loop,
                                        teardown_loop),
        cmocka_unit_test(test_every_job_is_done_when_the_loop_ends),
        cmocka_unit_test(test_run_ends_when_nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
