/* Segments go out several at once and come back in order, each told once. The jobs are ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/queue.h"

enum { MAX_TOLD = 64 };

struct world {
    struct queue *queue;
    struct job *jobs[MAX_TOLD]; /* by the order they were put in; NULL once freed */
    int n;
    char told[256], over[256], gave_up[ERR_TEXT_MAX];
};

static struct world *world;

/* --- jobs that end when the test says so --- */

struct job *job_new(const struct job_conf *conf)
{
    struct job *j = xcalloc(1, sizeof(*j));

    j->conf = *conf;
    segment_ref(conf->segment);
    world->jobs[world->n++] = j;
    return j;
}

void job_start(struct job *j)
{
    j->state = JOB_SENT;
    j->started_ms = 1;
}

void job_poke(struct job *j)
{
    j->failures++; /* counts pokes */
}

bool job_is_late(const struct job *j)
{
    return j->pixels < 0; /* the test's sign */
}

bool job_is_over(const struct job *j)
{
    return j->state == JOB_DONE || j->state == JOB_GIVEN_UP;
}

void job_give_up(struct job *j, enum rc rc, const char *why)
{
    if (job_is_over(j))
        return;
    err_set(&j->err, rc, "%s", why);
    snprintf(world->gave_up, sizeof(world->gave_up), "%s", why);
    j->state = JOB_GIVEN_UP; /* the real one tells on_end from the loop */
}

void job_free(struct job *j)
{
    for (int i = 0; i < world->n; i++)
        if (world->jobs[i] == j)
            world->jobs[i] = NULL;
    segment_unref(&j->conf.segment);
    blob_unref(&j->renditions[0].media);
    free(j);
}

/* --- the test's side --- */

static void note(char *text, size_t size, const struct job *j)
{
    size_t n = strlen(text);

    snprintf(text + n, size - n, "%lld%s ", (long long)j->conf.segment->msn,
             j->state == JOB_DONE ? "" : "!");
}

static void on_result(struct job *j, void *arg)
{
    struct world *w = arg;

    note(w->told, sizeof(w->told), j);
}

static void on_over(struct job *j, void *arg)
{
    struct world *w = arg;

    note(w->over, sizeof(w->over), j);
}

static void put(struct world *w, size_t bytes)
{
    struct segment *s = segment_new();
    struct job_conf conf = {.segment = s, .on_over = on_over, .over_arg = w};

    s->msn = w->n;
    s->media = blob_new(bytes);
    queue_put(w->queue, &conf);
    segment_unref(&s);
}

static void finish(struct world *w, int i, enum job_state state)
{
    struct job *j = w->jobs[i];

    if (!job_is_over(j))
        j->state = state;
    j->conf.on_end(j, j->conf.arg);
}

static int setup(void **state)
{
    world = xcalloc(1, sizeof(*world));
    world->queue = queue_new(NULL, on_result, world);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return blob_total_bytes() == 0 ? 0 : -1;
}

static void in_order_whoever_is_first(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 4; i++)
        put(w, 10);
    finish(w, 2, JOB_DONE);
    finish(w, 1, JOB_GIVEN_UP);
    assert_string_equal(w->told, "");      /* 0 is still out */
    assert_string_equal(w->over, "2 1! "); /* who waits for an answer is told at once */
    finish(w, 0, JOB_DONE);
    assert_string_equal(w->told, "0 1! 2 ");
    finish(w, 3, JOB_DONE);
    assert_string_equal(w->told, "0 1! 2 3 ");
    assert_int_equal(queue_length(w->queue), 0);
    assert_int_equal(queue_in_flight(w->queue), 0);
    queue_free(w->queue);
}

static void so_many_at_once(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < QUEUE_MAX_IN_FLIGHT + 2; i++)
        put(w, 10);
    assert_int_equal(queue_in_flight(w->queue), QUEUE_MAX_IN_FLIGHT);
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT]->state, JOB_QUEUED);
    finish(w, 1, JOB_DONE);
    assert_int_equal(queue_in_flight(w->queue), QUEUE_MAX_IN_FLIGHT);
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT]->state, JOB_SENT);
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT + 1]->state, JOB_QUEUED);
    queue_free(w->queue);
}

/* Fault: orchestrators are gone and segments pile up until the process has no memory. */
static void bytes_have_a_limit(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < QUEUE_MAX_IN_FLIGHT; i++)
        put(w, QUEUE_MAX_BYTES / QUEUE_MAX_IN_FLIGHT / 2);
    put(w, QUEUE_MAX_BYTES / 4);
    put(w, QUEUE_MAX_BYTES / 4);
    assert_string_equal(w->gave_up, "");
    put(w, 100);
    assert_non_null(strstr(w->gave_up, "the queue to the orchestrators is full"));
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT]->state, JOB_GIVEN_UP); /* the oldest unsent */
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT + 1]->state, JOB_QUEUED);
    finish(w, QUEUE_MAX_IN_FLIGHT, JOB_GIVEN_UP);
    assert_int_equal(queue_in_flight(w->queue), QUEUE_MAX_IN_FLIGHT); /* it never was in flight */
    for (int i = 0; i < QUEUE_MAX_IN_FLIGHT; i++)
        finish(w, i, JOB_DONE);
    assert_string_equal(w->told, "0 1 2 3 4! ");
    queue_free(w->queue);
}

/* Fault: what was skipped is not counted as gone until its elders come, so more is skipped. */
static void no_more_is_skipped_than_needed(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < QUEUE_MAX_IN_FLIGHT; i++)
        put(w, 1);
    put(w, QUEUE_MAX_BYTES / 2);
    put(w, QUEUE_MAX_BYTES / 2 - 100);
    put(w, 200);
    put(w, 200);
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT]->state, JOB_GIVEN_UP);
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT + 1]->state, JOB_QUEUED);
    put(w, QUEUE_MAX_BYTES - 1000); /* needs the room of several */
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT + 1]->state, JOB_GIVEN_UP);
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT + 2]->state, JOB_QUEUED);
    queue_free(w->queue);
}

/* Fault: behind a segment that is stuck, the renditions of all later ones pile up. */
static void renditions_that_wait_have_a_limit(void **state)
{
    struct world *w = *state;
    int n = 0;

    put(w, 1);
    while (!w->gave_up[0] && n < MAX_TOLD - 1) {
        put(w, 1);
        n++;
        w->jobs[n]->renditions[0].media = blob_new(QUEUE_MAX_BYTES / 8);
        finish(w, n, JOB_DONE);
    }
    assert_int_equal(n, 9);
    assert_non_null(strstr(w->gave_up, "renditions of later segments"));
    assert_int_equal(w->jobs[0]->state, JOB_GIVEN_UP);
    finish(w, 0, JOB_GIVEN_UP);
    assert_string_equal(w->told, "0! 1 2 3 4 5 6 7 8 9 ");
    queue_free(w->queue);
}

/* Fault: a push that had its answer was answered again, from freed memory, when its stream was
 * closed while an elder was still out. */
static void freed_with_some_out(void **state)
{
    struct world *w = *state;

    put(w, 10);
    put(w, 10);
    put(w, 10);
    finish(w, 1, JOB_DONE);
    queue_free(w->queue);
    assert_string_equal(w->over, "1 0! 2! "); /* each once */
    assert_string_equal(w->told, "");
    for (int i = 0; i < w->n; i++)
        assert_null(w->jobs[i]);
}

/* Fault: orchestrators that are too slow are sent each segment in its turn, so all come too late.
 */
static void late_ones_make_room_for_the_youngest(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < QUEUE_MAX_IN_FLIGHT + 2; i++)
        put(w, 10);
    for (int i = 0; i < w->n; i++)
        w->jobs[i]->pixels = -1;
    w->jobs[1]->state = JOB_WAITING; /* for an orchestrator that is free */
    queue_poke(w->queue);
    assert_int_equal(w->jobs[0]->state, JOB_SENT); /* somebody works on it */
    assert_int_equal(w->jobs[1]->state, JOB_GIVEN_UP);
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT]->state, JOB_GIVEN_UP);
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT + 1]->state, JOB_QUEUED); /* late, but the last */
    assert_non_null(strstr(w->gave_up, "slower than the stream"));
    finish(w, 1, JOB_GIVEN_UP);
    assert_int_equal(w->jobs[QUEUE_MAX_IN_FLIGHT + 1]->state, JOB_SENT);
    queue_free(w->queue);
}

static void poke_reaches_all(void **state)
{
    struct world *w = *state;

    put(w, 10);
    put(w, 10);
    queue_poke(w->queue);
    assert_int_equal(w->jobs[0]->failures, 1);
    assert_int_equal(w->jobs[1]->failures, 1);
    queue_give_up_all(w->queue, "enough");
    assert_int_equal(w->jobs[1]->state, JOB_GIVEN_UP);
    queue_free(w->queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_order_whoever_is_first, setup, teardown),
        cmocka_unit_test_setup_teardown(so_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_have_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_is_skipped_than_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(renditions_that_wait_have_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(freed_with_some_out, setup, teardown),
        cmocka_unit_test_setup_teardown(late_ones_make_room_for_the_youngest, setup, teardown),
        cmocka_unit_test_setup_teardown(poke_reaches_all, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
