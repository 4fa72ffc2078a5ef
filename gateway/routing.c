#include "gateway/routing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "gateway/metrics.h"

/* A candidate that failed lately (video.md 8.4): held back until `round` has passed `penalty`. */
struct suspension {
    int64_t penalty;
    char why[SUSPENSION_WHY_MAX]; /* of its last failure */
    int64_t since_ms;
};

struct routing {
    struct routing_conf conf;
    struct list sessions;    /* one per URI, in the order their answers came */
    struct map *suspensions; /* uri -> struct suspension */
    struct session *last;    /* last used; stays with the stream while it is good */
    int64_t round;           /* refreshes so far */
    bool round_open;         /* answers of this round are still awaited */
    struct timer *round_timer, *retry_timer;
    int64_t retry_ms;
    int64_t usual_ms;
    int hedge_credit; /* in good answers: HEDGE_EARNED_PER_CHANCE buy one chance */
    struct deferred change;
};

static void drop(struct routing *r, struct session *s)
{
    list_remove(&r->sessions, &s->node);
    if (r->last == s)
        r->last = NULL;
    session_free(s);
}

static void drop_unlisted(struct routing *r)
{
    LIST_EACH (&r->sessions, struct session, node, s)
        if (s->unlisted && !s->in_flight) {
            free(map_remove(r->suspensions, slice_str(s->uri)));
            drop(r, s);
        }
}

static void tell_change(void *arg)
{
    struct routing *r = arg;

    drop_unlisted(r);
    r->conf.on_change(r->conf.arg);
}

static void changed(struct routing *r)
{
    loop_defer(r->conf.loop, &r->change, tell_change, r);
}

static bool is_usable(const struct session *s)
{
    return s->state == SESSION_OPEN && !s->held && !s->unlisted && session_token_lasts(s, 0);
}

static size_t count_usable(struct routing *r)
{
    size_t n = 0;

    LIST_EACH (&r->sessions, struct session, node, s)
        n += is_usable(s);
    return n;
}

static size_t count_asking(struct routing *r)
{
    size_t n = 0;

    LIST_EACH (&r->sessions, struct session, node, s)
        n += s->state == SESSION_ASKING;
    return n;
}

static struct session *find(struct routing *r, const char *uri)
{
    LIST_EACH (&r->sessions, struct session, node, s)
        if (strcmp(s->uri, uri) == 0)
            return s;
    return NULL;
}

static void retry_later(struct routing *r)
{
    if (timer_is_armed(r->retry_timer))
        return;
    timer_start(r->retry_timer, r->retry_ms);
    r->retry_ms = MIN(r->retry_ms * 2, (int64_t)ROUTING_RETRY_MAX_MS);
}

/* --- suspension, video.md 8.4 --- */

static int64_t penalty_of(struct routing *r, const char *uri)
{
    struct suspension *s = map_get(r->suspensions, slice_str(uri));

    if (!s)
        return 0;
    if (s->penalty >= r->round)
        return s->penalty;
    map_remove(r->suspensions, slice_str(uri));
    free(s);
    return 0;
}

static void suspend(struct routing *r, const char *uri, const char *why)
{
    struct suspension *s = map_get(r->suspensions, slice_str(uri));
    size_t pool = candidates_count(r->conf.candidates), asked = MIN(pool, (size_t)ROUTING_ENOUGH);

    if (!s) {
        s = xcalloc(1, sizeof(*s));
        s->penalty = r->round;
        map_put(r->suspensions, slice_str(uri), s);
    }
    snprintf(s->why, sizeof(s->why), "%s", why);
    s->since_ms = clock_mono_ms();
    s->penalty += (int64_t)((MAX(pool, (size_t)1) + MAX(asked, (size_t)1) - 1) /
                            MAX(asked, (size_t)1));
}

/* Rounds pass: who was held back long enough is not any more. */
static void forgive(struct routing *r)
{
    LIST_EACH (&r->sessions, struct session, node, s)
        s->held = s->held && penalty_of(r, s->uri) > 0;
}

/* With nobody else to turn to, the least suspended ones that answered well are used. */
static void release_held(struct routing *r)
{
    struct session *best = NULL;

    LIST_EACH (&r->sessions, struct session, node, s)
        if (s->state == SESSION_OPEN && s->held && !s->unlisted &&
            (!best || penalty_of(r, s->uri) < penalty_of(r, best->uri)))
            best = s;
    if (best)
        best->held = false;
}

/* --- asking the candidates, video.md 7.3 --- */

static void end_round(void *arg)
{
    struct routing *r = arg;

    r->round_open = count_asking(r) > 0;
    forgive(r);
    if (count_usable(r) == 0)
        release_held(r);
    if (r->round_open)
        timer_start(r->round_timer, ROUTING_ROUND_MS);
    if (count_usable(r) < MIN(candidates_count(r->conf.candidates), (size_t)ROUTING_ENOUGH))
        retry_later(r);
    changed(r);
}

static void on_session_change(struct session *s, void *arg);

/* What is known about an orchestrator outlasts its session. */
static void replace(struct routing *r, struct session *old, struct session *by)
{
    by->segments = old->segments;
    by->failures = old->failures;
    snprintf(by->told, sizeof(by->told), "%s", old->told);
    memcpy(by->nodes, old->nodes, sizeof(by->nodes)); /* they may live while it is dead */
    by->n_nodes = old->n_nodes;
    drop(r, old);
}

static void ask(struct routing *r, const char *uri, bool trusted)
{
    struct session_conf conf = {.loop = r->conf.loop,
                                .client = r->conf.client,
                                .need = &r->conf.need,
                                .blocklist = r->conf.blocklist,
                                .on_change = on_session_change,
                                .arg = r};
    struct session *old = find(r, uri), *s;

    if (old && old->state == SESSION_OPEN && !session_token_lasts(old, 0))
        session_renew(old); /* the wall clock jumped past its token */
    if (old && (old->state != SESSION_FAILED || old->in_flight))
        return;
    if (!old && r->sessions.n >= MAX_POOL)
        return;
    s = session_new(&conf, uri, trusted);
    if (old)
        replace(r, old, s);
    list_push(&r->sessions, &s->node);
}

/* The first answers name further instances of the same operator; one level only. */
static void ask_nodes(struct routing *r, const struct session *parent)
{
    size_t most = MIN(parent->n_nodes, (size_t)MAX(r->conf.extra_nodes, 0));

    for (size_t i = 0; i < most; i++)
        if (!find(r, parent->nodes[i]))
            ask(r, parent->nodes[i], parent->trusted);
}

static bool is_candidate(struct routing *r, const char *uri)
{
    for (size_t i = 0; i < candidates_count(r->conf.candidates); i++)
        if (strcmp(candidates_at(r->conf.candidates, i)->uri, uri) == 0)
            return true;
    return false;
}

static void on_opened(struct routing *r, struct session *s)
{
    s->held = penalty_of(r, s->uri) > 0;
    s->told[0] = '\0';
    r->retry_ms = ROUTING_RETRY_MIN_MS;
    /* Answers stand in the order they came: the quickest is the first choice. */
    list_remove(&r->sessions, &s->node);
    list_push(&r->sessions, &s->node);
    log_info(r->conf.log, "orchestrator %s is ready after %lld ms%s", s->uri,
             (long long)s->latency_ms, s->held ? ", held back because it failed lately" : "");
    if (is_candidate(r, s->uri))
        ask_nodes(r, s);
}

/* It is asked again every few seconds: the log hears of a reason once, until it changes. */
static void on_refused(struct routing *r, struct session *s)
{
    static struct log_limit limit; /* of the process: many streams meet the same candidates */

    metric_discovery_error(&s->why, s->uri);
    if (strcmp(s->told, s->why.text) == 0)
        return;
    snprintf(s->told, sizeof(s->told), "%s", s->why.text);
    if (log_allowed(&limit, REFUSALS_LOGGED_A_MINUTE))
        log_peer(r->conf.log, "orchestrator %s cannot be used: %s", s->uri, s->why.text);
}

static void on_session_change(struct session *s, void *arg)
{
    struct routing *r = arg;

    if (s->state == SESSION_OPEN)
        on_opened(r, s);
    else
        on_refused(r, s);
    if (count_asking(r) == 0)
        end_round(r);
    else
        changed(r);
}

static bool is_named_by_a_candidate(struct routing *r, const char *uri)
{
    LIST_EACH (&r->sessions, struct session, node, s)
        for (size_t i = 0; i < s->n_nodes; i++)
            if (strcmp(s->nodes[i], uri) == 0 && is_candidate(r, s->uri))
                return true;
    return false;
}

/* Who left the list takes nothing new, and makes room for who came. */
static void look_who_left(struct routing *r)
{
    LIST_EACH (&r->sessions, struct session, node, s)
        s->unlisted = !is_candidate(r, s->uri) && !is_named_by_a_candidate(r, s->uri);
    drop_unlisted(r);
}

void routing_refresh(struct routing *r)
{
    look_who_left(r);
    r->round++;
    r->round_open = true;
    for (size_t i = 0; i < candidates_count(r->conf.candidates); i++) {
        const struct candidate *c = candidates_at(r->conf.candidates, i);

        ask(r, c->uri, c->trusted);
    }
    timer_start(r->round_timer, r->conf.first_wait_ms);
}

static void on_retry(void *arg)
{
    routing_refresh(arg);
}

struct routing *routing_new(const struct routing_conf *conf)
{
    struct routing *r = xcalloc(1, sizeof(*r));

    r->conf = *conf;
    r->retry_ms = ROUTING_RETRY_MIN_MS;
    r->hedge_credit = HEDGE_CHANCES * HEDGE_EARNED_PER_CHANCE;
    list_init(&r->sessions);
    r->suspensions = map_new();
    r->round_timer = timer_new(conf->loop, end_round, r);
    r->retry_timer = timer_new(conf->loop, on_retry, r);
    routing_refresh(r);
    return r;
}

void routing_free(struct routing *r)
{
    size_t at = 0;
    struct slice key;
    void *value;

    if (!r)
        return;
    LIST_EACH (&r->sessions, struct session, node, s) {
        list_remove(&r->sessions, &s->node);
        session_free(s);
    }
    while (map_next(r->suspensions, &at, &key, &value))
        free(value);
    map_free(r->suspensions);
    loop_defer_cancel(r->conf.loop, &r->change);
    timer_free(r->round_timer);
    timer_free(r->retry_timer);
    free(r);
}

/* --- choosing, video.md 8.2 --- */

static bool is_among(const struct session *s, const uint64_t *tried, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tried[i] == s->id)
            return true;
    return false;
}

/* A busy one gets another only if it is known to keep up with the stream: it transcodes a stream's
 * segments one after the other, so what waits there is late before its turn, and lost to others. */
static bool may_be_reused(const struct session *s)
{
    int64_t longest = s->oldest_duration_ms;

    if (s->score <= 0 || s->score > 1.0)
        return false;
    return !s->in_flight ||
           clock_mono_ms() - s->oldest_sent_ms < (longest <= 1000 ? 1500 : longest);
}

/* Known ones by score, unknown ones in the order they answered; an unknown one is tried
 * before a known one that is slower than the stream. */
static struct session *best_idle(struct routing *r, const uint64_t *tried, size_t n)
{
    struct session *known = NULL, *unknown = NULL;

    LIST_EACH (&r->sessions, struct session, node, s) {
        if (!is_usable(s) || s->in_flight || is_among(s, tried, n))
            continue;
        if (s->score <= 0)
            unknown = unknown ? unknown : s;
        else if (!known || s->score < known->score)
            known = s;
    }
    if (!known || (known->score > 1.0 && unknown))
        return unknown;
    return known;
}

static struct session *least_busy(struct routing *r, const uint64_t *tried, size_t n)
{
    struct session *best = NULL;

    LIST_EACH (&r->sessions, struct session, node, s)
        if (is_usable(s) && !is_among(s, tried, n) && may_be_reused(s) &&
            (!best || s->in_flight < best->in_flight))
            best = s;
    return best;
}

struct session *routing_pick(struct routing *r, int64_t duration_ms, const uint64_t *tried,
                             size_t n_tried)
{
    struct session *last = r->last, *found;
    size_t pool = candidates_count(r->conf.candidates);

    (void)duration_ms; /* for policies that predict; the reference's does not */
    if (count_usable(r) < MIN((size_t)ROUTING_ENOUGH, (pool + 1) / 2))
        retry_later(r);
    if (!count_usable(r))
        release_held(r);
    if (last && (!is_usable(last) || is_among(last, tried, n_tried)))
        last = NULL;
    if (last && may_be_reused(last))
        return last;
    found = best_idle(r, tried, n_tried);
    /* The reference gives up here; a busy orchestrator is better than a lost segment. */
    return found ? found : least_busy(r, tried, n_tried);
}

void routing_sent(struct routing *r, struct session *s, int64_t duration_ms)
{
    if (r->last && r->last != s)
        metric_swap();
    r->last = s;
    if (s->in_flight++ == 0) {
        s->oldest_sent_ms = clock_mono_ms();
        s->oldest_duration_ms = duration_ms;
    }
}

static void leave_pool(struct routing *r, struct session *s, const char *why)
{
    err_set(&s->why, RC_UNAVAILABLE, "%s", why);
    s->state = SESSION_FAILED;
    s->failures++;
    if (r->last == s)
        r->last = NULL;
    suspend(r, s->uri, why);
    retry_later(r);
}

static void note_round_trip(struct routing *r, struct session *s, int64_t ms, int64_t duration_ms)
{
    s->score = (double)ms / (double)MAX(duration_ms, (int64_t)1500);
    r->usual_ms = r->usual_ms ? (3 * r->usual_ms + ms) / 4 : ms;
}

void routing_done(struct routing *r, struct session *s, enum outcome outcome, int64_t round_trip_ms,
                  int64_t duration_ms, const char *why)
{
    s->in_flight--;
    s->oldest_sent_ms = clock_mono_ms(); /* the next in flight is at most this old */
    switch (outcome) {
    case OUTCOME_GOOD:
        s->segments++;
        r->hedge_credit = MIN(r->hedge_credit + 1, HEDGE_CHANCES * HEDGE_EARNED_PER_CHANCE);
        note_round_trip(r, s, MAX(round_trip_ms, (int64_t)1), duration_ms);
        break;
    case OUTCOME_BAD_INPUT:
        break;
    case OUTCOME_CANCELLED:
        /* Somebody else was faster: at least so slow is it now. */
        s->score = MAX(s->score, (double)round_trip_ms / (double)MAX(duration_ms, (int64_t)1500));
        if (r->last == s)
            r->last = NULL;
        break;
    case OUTCOME_FAILED:
        if (s->state == SESSION_OPEN)
            leave_pool(r, s, why);
        break;
    }
    changed(r);
}

/* --- telling --- */

bool routing_is_hopeless(struct routing *r, struct err *why)
{
    struct buf text;

    if (!count_usable(r))
        release_held(r);
    if (count_usable(r) || count_asking(r))
        return false;
    buf_init(&text, ERR_TEXT_MAX);
    if (candidates_count(r->conf.candidates) == 0)
        buf_str(&text, "no orchestrator is known: give -orchAddr or -orchWebhookUrl");
    LIST_EACH (&r->sessions, struct session, node, s)
        buf_printf(&text, "%s%s: %s", text.n ? "; " : "", s->uri, s->why.text);
    err_set(why, RC_UNAVAILABLE, "%s", buf_cstr(&text));
    buf_cleanup(&text);
    return true;
}

bool routing_take_hedge(struct routing *r)
{
    if (r->hedge_credit < HEDGE_EARNED_PER_CHANCE)
        return false;
    r->hedge_credit -= HEDGE_EARNED_PER_CHANCE;
    return true;
}

int64_t routing_usual_ms(const struct routing *r)
{
    return r->usual_ms;
}

int64_t routing_expected_ms(const struct routing *r, int64_t duration_ms)
{
    double best = -1;

    LIST_EACH (&r->sessions, struct session, node, s)
        if (is_usable(s) && (best < 0 || s->score < best))
            best = s->score;
    return MAX(r->usual_ms, (int64_t)(MAX(best, 0.0) * (double)duration_ms));
}

static const char *state_name(const struct session *s)
{
    switch (s->state) {
    case SESSION_ASKING:
        return "asking";
    case SESSION_OPEN:
        return s->held ? "suspended" : "ready";
    case SESSION_FAILED:
        break;
    }
    return "failed";
}

/* Why it is not used, and what must happen before it is. */
static const char *reason_of(struct routing *r, const struct session *s, char *text, size_t size)
{
    const struct suspension *held = map_get(r->suspensions, slice_str(s->uri));

    if (s->state == SESSION_FAILED)
        return s->why.text;
    if (s->state != SESSION_OPEN || !s->held)
        return "";
    if (held && held->penalty >= r->round)
        snprintf(text, size,
                 "%s (%lld s ago); it answers, and is used again when nobody else is left or after "
                 "%lld more rounds of asking",
                 held->why, (long long)(clock_mono_ms() - held->since_ms) / 1000,
                 (long long)(held->penalty + 1 - r->round));
    else
        snprintf(text, size, "failed lately; it is used again after this round of asking");
    return text;
}

void routing_each(struct routing *r,
                  void (*fn)(const char *uri, const char *state, const char *reason,
                             const struct session *s, void *arg),
                  void *arg)
{
    char text[ERR_TEXT_MAX];

    LIST_EACH (&r->sessions, struct session, node, s)
        fn(s->uri, state_name(s), reason_of(r, s, text, sizeof(text)), s, arg);
}
