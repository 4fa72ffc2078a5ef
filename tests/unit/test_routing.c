/* Which orchestrator is asked, chosen, held back and asked again. Sessions and candidates are
 * ours; the loop is real, so that what is deferred comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "gateway/routing.h"

enum { MAX_ASKED = 64 };

static struct {
    struct candidate list[8];
    size_t n;
    struct session *asked[MAX_ASKED]; /* newest last; NULL once freed */
    int n_asked, changes;
    struct loop *loop;
    struct routing *r;
} w;

/* --- candidates and sessions of the test --- */

size_t candidates_count(const struct candidates *c)
{
    (void)c;
    return w.n;
}

const struct candidate *candidates_at(const struct candidates *c, size_t i)
{
    (void)c;
    return &w.list[i];
}

struct session *session_new(const struct session_conf *conf, const char *uri, bool trusted)
{
    struct session *s = xcalloc(1, sizeof(*s));

    s->id = (uint64_t)w.n_asked + 1;
    s->conf = *conf;
    s->uri = xstrdup(uri);
    s->trusted = trusted;
    s->state = SESSION_ASKING;
    w.asked[w.n_asked++] = s;
    return s;
}

void session_free(struct session *s)
{
    for (int i = 0; i < w.n_asked; i++)
        if (w.asked[i] == s)
            w.asked[i] = NULL;
    free(s->uri);
    free(s);
}

bool session_token_lasts(const struct session *s, int64_t ms)
{
    (void)ms;
    return s->token.expiration >= 0; /* -1: expired */
}

void session_renew(struct session *s)
{
    (void)s; /* no test here lets a token run out */
}

static void on_change(void *arg)
{
    (void)arg;
    w.changes++;
    loop_stop(w.loop);
}

/* Until on_change has come. */
static void turn(void)
{
    loop_run(w.loop);
}

static void stop_when_asked(void *arg)
{
    int before = *(int *)arg;

    if (w.n_asked > before)
        loop_stop(w.loop);
}

/* Until the retry timer, half a second and more, has asked again. */
static void wait_until_asked(int before)
{
    struct timer *look = timer_new(w.loop, stop_when_asked, &before);

    timer_repeat(look, 10);
    while (w.n_asked == before)
        loop_run(w.loop);
    timer_free(look);
}

static struct session *session_of(const char *uri)
{
    for (int i = w.n_asked; i > 0; i--)
        if (w.asked[i - 1] && strcmp(w.asked[i - 1]->uri, uri) == 0)
            return w.asked[i - 1];
    return NULL;
}

static struct session *answers(const char *uri, bool good)
{
    struct session *s = session_of(uri);

    s->state = good ? SESSION_OPEN : SESSION_FAILED;
    if (!good)
        err_set(&s->why, RC_UNAVAILABLE, "refused by the test");
    s->conf.on_change(s, s->conf.arg);
    turn();
    return s;
}

static void done(struct session *s, enum outcome outcome, int64_t ms)
{
    routing_done(w.r, s, outcome, ms, 2000, "failed by the test");
    turn();
}

static void begin(const char *const *uris)
{
    static struct log_tag tag;
    struct routing_conf conf = {
        .first_wait_ms = 60000, .extra_nodes = 8, .log = &tag, .on_change = on_change};

    memset(&w, 0, sizeof(w));
    for (; uris[w.n]; w.n++)
        w.list[w.n] = (struct candidate){.uri = (char *)uris[w.n], .trusted = true};
    conf.loop = w.loop = loop_new();
    w.r = routing_new(&conf);
}

static void end(void)
{
    routing_free(w.r);
    for (int i = 0; i < w.n_asked; i++)
        assert_null(w.asked[i]);
    loop_free(w.loop);
}

static const char *const three[] = {"https://a", "https://b", "https://c", NULL};
static const char *const one[] = {"https://a", NULL};

static void all_are_asked_at_once_and_the_first_answer_is_used(void **state)
{
    (void)state;
    begin(three);
    assert_int_equal(w.n_asked, 3);
    assert_null(routing_pick(w.r, 2000, NULL, 0));
    answers("https://b", true);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), session_of("https://b"));
    end();
}

static void a_good_one_is_kept(void **state)
{
    struct session *b, *a;

    (void)state;
    begin(three);
    b = answers("https://b", true);
    a = answers("https://a", true);
    answers("https://c", true);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), b);
        routing_sent(w.r, b, 2000);
        done(b, OUTCOME_GOOD, 500);
    }
    assert_int_equal(routing_usual_ms(w.r), 500);
    /* slower than the stream: another one, who is unknown yet, is tried */
    routing_sent(w.r, b, 2000);
    done(b, OUTCOME_GOOD, 3000);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), a);
    end();
}

/* Fault: the dead orchestrator stays chosen while a healthy one idles. */
static void a_failed_one_leaves_and_is_asked_again(void **state)
{
    struct session *a, *b;
    uint64_t tried[1];
    int before;

    (void)state;
    begin(three);
    a = answers("https://a", true);
    b = answers("https://b", true);
    answers("https://c", false);
    routing_sent(w.r, a, 2000);
    tried[0] = a->id;
    before = w.n_asked;
    done(a, OUTCOME_FAILED, 0);
    assert_ptr_equal(routing_pick(w.r, 2000, tried, 1), b);
    wait_until_asked(before);
    assert_non_null(session_of("https://a"));
    answers("https://a", true); /* back, but held: b works */
    assert_true(session_of("https://a")->held);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), b);
    end();
}

/* Fault: with one orchestrator, its one failure silences the stream for rounds. */
static void each(const char *uri, const char *state, const char *reason, const struct session *s,
                 void *arg)
{
    char *text = arg;
    size_t n = strlen(text);

    snprintf(text + n, 1000 - n, "%s %s %lld: %s\n", uri, state, (long long)s->failures, reason);
}

/* Fault: the page says `suspended` and nobody knows why, or until when. */
static void a_suspended_one_has_a_reason(void **state)
{
    char text[1000] = "";
    struct session *a;
    int before;

    (void)state;
    begin(three);
    a = answers("https://a", true);
    answers("https://b", true);
    answers("https://c", false);
    routing_sent(w.r, a, 2000);
    before = w.n_asked;
    done(a, OUTCOME_FAILED, 0);
    wait_until_asked(before);
    answers("https://a", true);
    routing_each(w.r, each, text);
    assert_non_null(strstr(text, "https://a suspended 1: failed by the test (0 s ago); it answers, "
                                 "and is used again when nobody else is left or after 1 more "
                                 "rounds of asking\n"));
    assert_non_null(strstr(text, "https://b ready 0: \n"));
    end();
}

static int refusals_logged;

static void on_log(enum log_level level, const char *tag, const char *text, void *arg)
{
    (void)tag;
    (void)arg;
    refusals_logged += level == LOG_PEER && strstr(text, "https://a cannot be used") != NULL;
}

/* Fault: a dead candidate writes a line every few seconds for as long as the stream runs. */
static void a_reason_is_logged_once_until_it_changes(void **state)
{
    (void)state;
    refusals_logged = 0;
    log_set_hook(on_log, NULL);
    begin(one);
    for (int i = 0; i < 5; i++) {
        answers("https://a", false);
        routing_refresh(w.r);
    }
    assert_int_equal(refusals_logged, 1);
    answers("https://a", true);
    routing_sent(w.r, session_of("https://a"), 2000);
    done(session_of("https://a"), OUTCOME_FAILED, 0);
    routing_refresh(w.r);
    answers("https://a", false); /* it worked meanwhile: this is news */
    assert_int_equal(refusals_logged, 2);
    log_set_hook(NULL, NULL);
    end();
}

/* Fault: the webhook's list changes for weeks, and all who were ever on it keep a session. */
static void who_left_the_list_is_dropped_when_idle(void **state)
{
    struct session *a, *b;

    (void)state;
    begin(three);
    a = answers("https://a", true);
    b = answers("https://b", true);
    answers("https://c", false);
    routing_sent(w.r, a, 2000);
    w.list[0] = (struct candidate){.uri = "https://d"};
    w.n = 2; /* d and b: a and c left */
    routing_refresh(w.r);
    assert_null(session_of("https://c"));
    assert_ptr_equal(session_of("https://a"), a); /* a segment is there */
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), b);
    done(a, OUTCOME_GOOD, 100);
    assert_null(session_of("https://a"));
    assert_non_null(session_of("https://d"));
    end();
}

static void who_is_named_by_a_candidate_stays(void **state)
{
    struct session *a;

    (void)state;
    begin(one);
    a = w.asked[0];
    snprintf(a->nodes[0], sizeof(a->nodes[0]), "https://a2");
    a->n_nodes = 1;
    answers("https://a", true);
    answers("https://a2", true);
    routing_sent(w.r, a, 2000);
    done(a, OUTCOME_FAILED, 0);
    for (int i = 0; i < 2; i++) { /* it is asked again, and what it named is not forgotten */
        routing_refresh(w.r);
        assert_non_null(session_of("https://a2"));
        answers("https://a", false);
    }
    w.n = 0;
    routing_refresh(w.r);
    assert_null(session_of("https://a"));
    assert_null(session_of("https://a2"));
    end();
}

static void the_only_one_is_used_although_it_failed(void **state)
{
    struct session *a;
    int before;

    (void)state;
    begin(one);
    a = answers("https://a", true);
    routing_sent(w.r, a, 2000);
    before = w.n_asked;
    done(a, OUTCOME_FAILED, 0);
    assert_null(routing_pick(w.r, 2000, NULL, 0));
    wait_until_asked(before);
    answers("https://a", true);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), session_of("https://a"));
    end();
}

static void not_the_same_one_twice_for_a_segment(void **state)
{
    struct session *a, *b;
    uint64_t tried[2];

    (void)state;
    begin(three);
    a = answers("https://a", true);
    b = answers("https://b", true);
    tried[0] = a->id;
    tried[1] = b->id;
    assert_ptr_equal(routing_pick(w.r, 2000, tried, 1), b);
    assert_null(routing_pick(w.r, 2000, tried, 2));
    end();
}

/* The reference gives up when all are busy; a busy one that keeps up is better than a lost
 * segment. */
static void busy_is_better_than_lost(void **state)
{
    struct session *a;

    (void)state;
    begin(one);
    a = answers("https://a", true);
    routing_sent(w.r, a, 2000);
    assert_null(routing_pick(w.r, 2000, NULL, 0)); /* nothing is known of it yet */
    done(a, OUTCOME_GOOD, 400);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), a);
        routing_sent(w.r, a, 2000);
    }
    for (int i = 0; i < 3; i++)
        done(a, OUTCOME_GOOD, 400);
    assert_int_equal(a->in_flight, 0);
    end();
}

/* Fault: segments wait in line at one that is slower than the stream, until all are late. */
static void a_slow_one_gets_one_at_a_time(void **state)
{
    struct session *a, *b;

    (void)state;
    begin(three);
    a = answers("https://a", true);
    routing_sent(w.r, a, 2000);
    done(a, OUTCOME_GOOD, 3000);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), a);
    assert_int_equal(routing_expected_ms(w.r, 4000), 6000);
    routing_sent(w.r, a, 2000);
    assert_null(routing_pick(w.r, 2000, NULL, 0));
    b = answers("https://b", true);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), b);
    routing_sent(w.r, b, 2000);
    done(a, OUTCOME_GOOD, 1000);
    done(b, OUTCOME_GOOD, 3000);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), a);
    routing_sent(w.r, a, 2000);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), a); /* it keeps up */
    routing_sent(w.r, a, 2000);
    done(a, OUTCOME_GOOD, 1000);
    done(a, OUTCOME_GOOD, 1000);
    end();
}

/* Fault: a frozen one is sent the next segment again. */
static void one_that_was_overtaken_is_not_the_first_choice(void **state)
{
    struct session *a, *b;

    (void)state;
    begin(three);
    a = answers("https://a", true);
    b = answers("https://b", true);
    routing_sent(w.r, a, 2000);
    routing_sent(w.r, b, 2000);
    done(a, OUTCOME_CANCELLED, 2500);
    done(b, OUTCOME_GOOD, 300);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), b);
    assert_true(a->score > 1);
    end();
}

static void an_expired_token_is_not_used(void **state)
{
    (void)state;
    begin(one);
    answers("https://a", true)->token.expiration = -1;
    assert_null(routing_pick(w.r, 2000, NULL, 0));
    end();
}

static void hopeless_says_every_reason(void **state)
{
    struct err why;

    (void)state;
    begin(three);
    answers("https://a", false);
    assert_false(routing_is_hopeless(w.r, &why)); /* two may still answer */
    answers("https://b", false);
    answers("https://c", false);
    assert_true(routing_is_hopeless(w.r, &why));
    assert_string_equal(why.text, "https://a: refused by the test; https://b: refused by the test; "
                                  "https://c: refused by the test");
    end();
    begin((const char *const[]){NULL});
    assert_true(routing_is_hopeless(w.r, &why));
    assert_string_equal(why.text, "no orchestrator is known: give -orchAddr or -orchWebhookUrl");
    end();
}

static void a_segments_own_fault_blames_nobody(void **state)
{
    struct session *a;

    (void)state;
    begin(one);
    a = answers("https://a", true);
    routing_sent(w.r, a, 2000);
    done(a, OUTCOME_BAD_INPUT, 0);
    assert_int_equal(a->state, SESSION_OPEN);
    assert_ptr_equal(routing_pick(w.r, 2000, NULL, 0), a);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_asked_at_once_and_the_first_answer_is_used),
        cmocka_unit_test(a_good_one_is_kept),
        cmocka_unit_test(a_failed_one_leaves_and_is_asked_again),
        cmocka_unit_test(a_suspended_one_has_a_reason),
        cmocka_unit_test(a_reason_is_logged_once_until_it_changes),
        cmocka_unit_test(who_left_the_list_is_dropped_when_idle),
        cmocka_unit_test(who_is_named_by_a_candidate_stays),
        cmocka_unit_test(the_only_one_is_used_although_it_failed),
        cmocka_unit_test(not_the_same_one_twice_for_a_segment),
        cmocka_unit_test(busy_is_better_than_lost),
        cmocka_unit_test(a_slow_one_gets_one_at_a_time),
        cmocka_unit_test(one_that_was_overtaken_is_not_the_first_choice),
        cmocka_unit_test(an_expired_token_is_not_used),
        cmocka_unit_test(hopeless_says_every_reason),
        cmocka_unit_test(a_segments_own_fault_blames_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
