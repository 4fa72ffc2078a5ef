#include "gateway/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/metrics.h"

static void on_deadline(void *arg);
static void on_overdue(void *arg);

struct job *job_new(const struct job_conf *conf)
{
    struct job *j = xcalloc(1, sizeof(*j));

    j->conf = *conf;
    segment_ref(conf->segment);
    j->made_ms = clock_mono_ms();
    log_tag_child(&j->log, conf->log, "segment=%lld", (long long)conf->segment->seq);
    j->deadline = timer_new(conf->loop, on_deadline, j);
    j->overdue = timer_new(conf->loop, on_overdue, j);
    /* From now, not from job_start: what waits too long for its turn is of no use any more. */
    timer_start(j->deadline, conf->deadline_ms);
    return j;
}

bool job_is_over(const struct job *j)
{
    return j->state == JOB_DONE || j->state == JOB_GIVEN_UP;
}

bool job_is_late(const struct job *j)
{
    int64_t age_ms = clock_mono_ms() - j->made_ms, expected_ms;

    expected_ms = routing_expected_ms(j->conf.routing, segment_duration_ms(j->conf.segment));
    return expected_ms && age_ms + JOB_LATE_FACTOR * expected_ms > j->conf.deadline_ms;
}

static void tell_end(void *arg)
{
    struct job *j = arg;

    j->conf.on_end(j, j->conf.arg);
}

static void end_attempt(struct job *j, struct attempt **slot, enum outcome outcome,
                        int64_t round_trip_ms, const char *why)
{
    struct attempt *a = *slot;

    *slot = NULL;
    routing_done(j->conf.routing, attempt_session(a), outcome, round_trip_ms,
                 segment_duration_ms(j->conf.segment), why);
    attempt_free(a);
}

static void cancel_attempts(struct job *j)
{
    for (size_t i = 0; i < JOB_MAX_PARALLEL; i++)
        if (j->attempts[i])
            end_attempt(j, &j->attempts[i], OUTCOME_CANCELLED, attempt_age_ms(j->attempts[i]), "");
}

/* Its elders may take long: meanwhile it keeps nothing that nobody will send. */
static void release_media(struct job *j)
{
    struct segment *bare = segment_without_media(j->conf.segment);

    segment_unref(&j->conf.segment);
    j->conf.segment = bare;
}

static void end(struct job *j, enum job_state state)
{
    j->state = state;
    timer_stop(j->deadline);
    timer_stop(j->overdue);
    cancel_attempts(j);
    release_media(j);
    loop_defer(j->conf.loop, &j->end, tell_end, j);
}

void job_give_up(struct job *j, enum rc rc, const char *why)
{
    if (job_is_over(j))
        return;
    err_set(&j->err, rc, "%s", why);
    log_peer(&j->log, "given up after %lld ms: %s",
             j->started_ms ? (long long)(clock_mono_ms() - j->started_ms) : 0LL, j->err.text);
    end(j, JOB_GIVEN_UP);
}

static void on_deadline(void *arg)
{
    struct job *j = arg;
    char why[ERR_TEXT_MAX];

    snprintf(why, sizeof(why), "no rendition within %d ms (%d attempts failed%s%.300s)",
             j->conf.deadline_ms, j->failures, j->err.text[0] ? "; last: " : "", j->err.text);
    metric_failed("LostSegment");
    job_give_up(j, RC_TIMEOUT, why);
}

static size_t attempts_running(const struct job *j)
{
    size_t n = 0;

    for (size_t i = 0; i < JOB_MAX_PARALLEL; i++)
        n += j->attempts[i] != NULL;
    return n;
}

/* --- results --- */

static void take_renditions(struct job *j, struct attempt_result *r)
{
    for (size_t i = 0; i < r->n; i++) {
        j->renditions[i] = r->renditions[i];
        r->renditions[i] = (struct rendition){0};
    }
    j->round_trip_ms = r->round_trip_ms;
    j->pixels = r->pixels;
}

static void on_failed(struct job *j, const struct err *why, const char *uri)
{
    char sentence[ERR_TEXT_MAX];

    j->failures++;
    err_set(&j->err, why->code, "%s: %s", uri, why->text);
    snprintf(sentence, sizeof(sentence), "orchestrator %.300s", j->err.text);
    log_peer(&j->log, "attempt %d of %d failed: %s", j->failures, j->conf.max_attempts, sentence);
    j->conf.on_trouble(j, sentence, j->conf.trouble_arg);
    if (j->failures >= j->conf.max_attempts) {
        metric_failed("MaxAttempts");
        if (!attempts_running(j))
            job_give_up(j, RC_LIMIT, "hit max transcode attempts");
        return;
    }
    metric_retry(j->failures + 1);
    if (!attempts_running(j))
        j->state = JOB_WAITING; /* until routing, which was told, pokes: in this turn of the loop */
}

static void count_done(const struct job *j, int64_t pixels)
{
    struct buf profiles;

    buf_init(&profiles, MAX_PROFILES * (PROFILE_NAME_MAX + 1));
    for (size_t i = 0; i < j->conf.n_profiles; i++)
        buf_printf(&profiles, "%s%s", i ? "," : "", j->conf.profiles[i].name);
    metric_transcoded(buf_cstr(&profiles), (double)(clock_mono_ms() - j->started_ms) / 1000,
                      (double)j->conf.segment->duration / TICKS_PER_SECOND, pixels);
    buf_cleanup(&profiles);
}

static void on_attempt_done(struct attempt *a, struct attempt_result *r, void *arg)
{
    struct job *j = arg;
    struct attempt **slot = j->attempts[0] == a ? &j->attempts[0] : &j->attempts[1];
    struct err why = r->err;
    char uri[256];

    snprintf(uri, sizeof(uri), "%s", attempt_session(a)->uri);
    if (r->rc == RC_OK) {
        take_renditions(j, r);
        snprintf(j->orchestrator, sizeof(j->orchestrator), "%s", uri);
        count_done(j, r->pixels);
        log_debug(&j->log, "transcoded by %s in %lld ms", uri, (long long)r->round_trip_ms);
        end_attempt(j, slot, OUTCOME_GOOD, r->round_trip_ms, "");
        end(j, JOB_DONE);
    } else if (r->rc == RC_UNSUPPORTED) {
        metric_failed("NonRetryable");
        end_attempt(j, slot, OUTCOME_BAD_INPUT, 0, "");
        job_give_up(j, RC_UNSUPPORTED, why.text);
    } else {
        end_attempt(j, slot, OUTCOME_FAILED, 0, why.text);
        on_failed(j, &why, uri);
    }
}

/* --- sending --- */

/* A second attempt starts when the first takes JOB_OVERDUE_FACTOR times the usual. */
static void watch(struct job *j)
{
    int64_t usual = routing_usual_ms(j->conf.routing);
    int64_t fallback = segment_duration_ms(j->conf.segment);
    int64_t in = usual ? JOB_OVERDUE_FACTOR * usual : 2 * fallback;

    timer_start(j->overdue, MAX(in, (int64_t)JOB_OVERDUE_MIN_MS));
}

static void send_to(struct job *j, struct session *s)
{
    struct attempt_conf conf = {.loop = j->conf.loop,
                                .client = j->conf.client,
                                .log = &j->log,
                                .manifest_id = j->conf.manifest_id,
                                .segment = j->conf.segment,
                                .profiles = j->conf.profiles,
                                .n_profiles = j->conf.n_profiles,
                                .need = j->conf.need,
                                .session = s,
                                .timeout_multiplier = j->conf.timeout_multiplier,
                                .on_done = on_attempt_done,
                                .arg = j};

    routing_sent(j->conf.routing, s, segment_duration_ms(j->conf.segment));
    if (j->n_tried < JOB_MAX_TRIED)
        j->tried[j->n_tried++] = s->id;
    j->attempts[j->attempts[0] ? 1 : 0] = attempt_start(&conf);
    j->state = JOB_SENT;
    watch(j);
}

static struct session *pick(struct job *j)
{
    int64_t duration_ms = segment_duration_ms(j->conf.segment);
    struct session *s = routing_pick(j->conf.routing, duration_ms, j->tried, j->n_tried);

    if (s || attempts_running(j))
        return s;
    /* All have been tried: whoever came back meanwhile may try again. */
    j->n_tried = 0;
    return routing_pick(j->conf.routing, duration_ms, NULL, 0);
}

static void send_somewhere(struct job *j)
{
    struct session *s = pick(j);
    struct err why;

    if (s) {
        send_to(j, s);
        return;
    }
    if (attempts_running(j) || !j->conf.impatient || !routing_is_hopeless(j->conf.routing, &why))
        return;
    metric_failed("NoOrchestrators");
    job_give_up(j, RC_UNAVAILABLE, why.text);
}

static void on_overdue(void *arg)
{
    struct job *j = arg;
    struct attempt *slow = j->attempts[0] ? j->attempts[0] : j->attempts[1];
    char sentence[ERR_TEXT_MAX];

    if (attempts_running(j) != 1 || !routing_take_hedge(j->conf.routing))
        return;
    snprintf(sentence, sizeof(sentence), "orchestrator %.300s is overdue after %lld ms",
             attempt_session(slow)->uri, (long long)attempt_age_ms(slow));
    log_peer(&j->log, "%s: the segment goes to the next one too", sentence);
    j->conf.on_trouble(j, sentence, j->conf.trouble_arg);
    send_somewhere(j);
}

void job_start(struct job *j)
{
    j->state = JOB_WAITING;
    j->started_ms = clock_mono_ms();
    send_somewhere(j);
}

void job_poke(struct job *j)
{
    if (j->state == JOB_WAITING)
        send_somewhere(j);
}

void job_free(struct job *j)
{
    if (!j)
        return;
    cancel_attempts(j);
    for (size_t i = 0; i < j->conf.n_profiles; i++) {
        blob_unref(&j->renditions[i].media);
        track_cleanup(&j->renditions[i].is.video);
        track_cleanup(&j->renditions[i].is.audio);
    }
    loop_defer_cancel(j->conf.loop, &j->end);
    timer_free(j->deadline);
    timer_free(j->overdue);
    segment_unref(&j->conf.segment);
    free(j);
}
