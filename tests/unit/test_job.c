/* One segment until it is transcoded or given up. Attempts and routing are ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/job.h"

enum { MAX_ATTEMPTS = 8 };

struct attempt {
    struct attempt_conf conf;
};

static struct {
    struct loop *loop;
    struct segment *segment;
    struct session sessions[MAX_ATTEMPTS];
    int n_sessions; /* that may be picked, each once */
    struct attempt *attempts[MAX_ATTEMPTS];
    int sent, ended;
} w;

/* --- attempts and routing of the test --- */

struct attempt *attempt_start(const struct attempt_conf *conf)
{
    struct attempt *a = xcalloc(1, sizeof(*a));

    a->conf = *conf;
    w.attempts[w.sent++] = a;
    return a;
}

void attempt_free(struct attempt *a)
{
    free(a);
}

struct session *attempt_session(const struct attempt *a)
{
    return a->conf.session;
}

int64_t attempt_age_ms(const struct attempt *a)
{
    (void)a;
    return 1;
}

struct session *routing_pick(struct routing *r, int64_t duration_ms, const uint64_t *tried,
                             size_t n_tried)
{
    (void)r;
    (void)duration_ms;
    (void)tried;
    return (int)n_tried < w.n_sessions ? &w.sessions[n_tried] : NULL;
}

void routing_sent(struct routing *r, struct session *s, int64_t duration_ms)
{
    (void)r;
    (void)s;
    (void)duration_ms;
}

void routing_done(struct routing *r, struct session *s, enum outcome outcome, int64_t round_trip_ms,
                  int64_t duration_ms, const char *why)
{
    (void)r;
    (void)s;
    (void)outcome;
    (void)round_trip_ms;
    (void)duration_ms;
    (void)why;
}

bool routing_take_hedge(struct routing *r)
{
    (void)r;
    return false;
}

bool routing_is_hopeless(struct routing *r, struct err *why)
{
    (void)r;
    err_set(why, RC_UNAVAILABLE, "nobody is left");
    return true;
}

int64_t routing_expected_ms(const struct routing *r, int64_t duration_ms)
{
    (void)r;
    (void)duration_ms;
    return 0;
}

int64_t routing_usual_ms(const struct routing *r)
{
    (void)r;
    return 0;
}

/* --- the test's side --- */

static void on_end(struct job *j, void *arg)
{
    (void)j;
    (void)arg;
    w.ended++;
    loop_stop(w.loop);
}

static void on_trouble(struct job *j, const char *sentence, void *arg)
{
    (void)j;
    (void)arg;
    assert_non_null(strstr(sentence, "orchestrator "));
}

static struct job *begin(int sessions, bool impatient)
{
    static struct log_tag tag;
    struct job_conf conf = {.max_attempts = 3,
                            .deadline_ms = 60000,
                            .log = &tag,
                            .impatient = impatient,
                            .on_end = on_end,
                            .on_trouble = on_trouble};
    struct job *j;

    memset(&w, 0, sizeof(w));
    conf.loop = w.loop = loop_new();
    w.n_sessions = sessions;
    for (int i = 0; i < MAX_ATTEMPTS; i++)
        w.sessions[i] = (struct session){.id = (uint64_t)i + 1, .uri = (char *)"https://a"};
    conf.segment = w.segment = segment_new();
    w.segment->duration = 2 * TICKS_PER_SECOND;
    w.segment->media = blob_new(1000);
    j = job_new(&conf);
    segment_unref(&w.segment);
    job_start(j);
    return j;
}

static void end(struct job *j)
{
    job_free(j);
    loop_free(w.loop);
    assert_int_equal(blob_total_bytes(), 0);
}

static void fail_last(void)
{
    struct attempt_result r = {.rc = RC_UNAVAILABLE};
    struct attempt *a = w.attempts[w.sent - 1];

    err_set(&r.err, RC_UNAVAILABLE, "failed by the test");
    a->conf.on_done(a, &r, a->conf.arg);
}

/* routing_done() is heard by the stream, which pokes: that is the only way to the next one. */
static void a_failed_attempt_waits_for_the_poke(void **state)
{
    struct job *j = begin(2, false);

    (void)state;
    assert_int_equal(w.sent, 1);
    fail_last();
    assert_int_equal(j->state, JOB_WAITING);
    assert_int_equal(w.sent, 1);
    job_poke(j);
    assert_int_equal(j->state, JOB_SENT);
    assert_int_equal(w.sent, 2);
    job_poke(j); /* it is out: nothing to do */
    assert_int_equal(w.sent, 2);
    end(j);
}

static void attempts_are_counted(void **state)
{
    struct job *j = begin(MAX_ATTEMPTS, false);

    (void)state;
    for (int i = 0; i < 3; i++) {
        fail_last();
        job_poke(j);
    }
    assert_int_equal(j->state, JOB_GIVEN_UP);
    assert_int_equal(j->err.code, RC_LIMIT);
    assert_int_equal(w.sent, 3);
    loop_run(w.loop);
    assert_int_equal(w.ended, 1);
    end(j);
}

static void an_impatient_one_says_why(void **state)
{
    struct job *j = begin(1, true);

    (void)state;
    fail_last();
    w.n_sessions = 0;
    job_poke(j);
    assert_int_equal(j->state, JOB_GIVEN_UP);
    assert_string_equal(j->err.text, "nobody is left");
    end(j);
}

/* Fault: jobs that are over wait for a stuck elder and keep their segments' bytes meanwhile. */
static void what_is_over_keeps_no_media(void **state)
{
    struct job *j = begin(1, false);

    (void)state;
    assert_int_equal(blob_total_bytes(), 1000);
    job_give_up(j, RC_BUSY, "skipped");
    assert_int_equal(blob_total_bytes(), 0);
    assert_int_equal(j->conf.segment->duration, 2 * TICKS_PER_SECOND); /* its gap is listed */
    end(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_attempt_waits_for_the_poke),
        cmocka_unit_test(attempts_are_counted),
        cmocka_unit_test(an_impatient_one_says_why),
        cmocka_unit_test(what_is_over_keeps_no_media),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
