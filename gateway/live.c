#include "gateway/live.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/metrics.h"
#include "gateway/segmenter.h"
#include "gateway/viewers.h"

/* --- states --- */

static void on_air(struct live *l);
static void wait_for_return(struct live *l);
static void back_on_air(struct live *l);
static void finish(struct live *l);
static void forget(struct live *l);

static const struct move {
    enum live_state from;
    enum live_event on;
    enum live_state to;
    void (*act)(struct live *l);
} moves[] = {
    {LIVE_OPENING, LIVE_READY, LIVE_ON, on_air},
    {LIVE_OPENING, LIVE_TIME_UP, LIVE_ON, on_air}, /* the disk hangs: numbers begin anew */
    {LIVE_ON, LIVE_CUT, LIVE_WAITING, wait_for_return},
    {LIVE_ON, LIVE_GOODBYE, LIVE_ENDED, finish},
    {LIVE_ON, LIVE_TIME_UP, LIVE_ENDED, finish},
    {LIVE_WAITING, LIVE_RETURNED, LIVE_ON, back_on_air},
    {LIVE_WAITING, LIVE_TIME_UP, LIVE_ENDED, finish},
    {LIVE_WAITING, LIVE_GOODBYE, LIVE_ENDED, finish},
    {LIVE_ENDED, LIVE_TIME_UP, LIVE_ENDED, forget},
};

static const char *const state_names[] = {"opening", "live", "waiting", "ended"};
static const char *const event_names[] = {"ready", "cut", "returned", "goodbye", "time up"};

void live_event(struct live *l, enum live_event ev)
{
    for (size_t i = 0; i < ARRAY_LEN(moves); i++)
        if (moves[i].from == l->state && moves[i].on == ev) {
            log_debug(&l->log, "%s: %s -> %s", event_names[ev], state_names[l->state],
                      state_names[moves[i].to]);
            l->state = moves[i].to;
            moves[i].act(l); /* may free l */
            return;
        }
    log_debug(&l->log, "%s ignored while %s", event_names[ev], state_names[l->state]);
}

static void tell_waiters(void *arg)
{
    struct live *l = arg;
    struct live_waiter *w;

    while ((w = LIST_FIRST(&l->waiters, struct live_waiter, node))) {
        list_remove(&l->waiters, &w->node);
        w->fn(l, w->arg);
    }
}

static void on_timer(void *arg)
{
    struct live *l = arg;

    /* A push that is under way keeps its stream (video.md 9.3). */
    if (l->state == LIVE_ON && l->ingest == INGEST_PUSH && queue_length(l->queue))
        timer_start(l->timer, PUSH_IDLE_MS);
    else
        live_event(l, LIVE_TIME_UP);
}

void live_trouble(struct live *l, int64_t segment, const char *text)
{
    troubles_add(&l->troubles, segment, text);
}

/* --- what is handed to playback --- */

static void open_playback(struct live *l)
{
    struct playback_stream_conf conf = {.name = l->name,
                                        .target_duration_s = (double)SEGMENT_TARGET_TICKS /
                                                             TICKS_PER_SECOND,
                                        .first_msn = l->next_msn,
                                        .discontinuity_sequence = l->discontinuities};
    struct playback_rendition_conf source = {.name = "source", .container = l->container};

    l->out = playback_stream_open(l->g->playback, &conf);
    assert(l->out); /* one live per name, so no other stream of that name is on air */
    l->source_rendition = playback_rendition_add(l->out, &source);
    for (size_t i = 0; i < l->n_profiles; i++) {
        struct playback_rendition_conf r = {.name = l->profiles[i].name,
                                            .container = l->profiles[i].container,
                                            .bitrate = l->profiles[i].bitrate};

        l->renditions[i] = playback_rendition_add(l->out, &r);
    }
}

/* What never showed a segment leaves nothing behind. */
static void end_playback(struct live *l)
{
    if (l->segments)
        playback_stream_end(l->out);
    else
        playback_stream_close(l->out);
    l->out = NULL; /* playback forgets it by itself, before we do */
}

static void save_numbers(struct live *l)
{
    char text[64];

    snprintf(text, sizeof(text), "%" PRId64 " %" PRId64, l->next_msn, l->discontinuities);
    store_put(l->g->store, SPACE_NUMBERS, slice_str(l->name), slice_str(text), STORE_SOON, NULL,
              NULL);
}

static void list_segment(struct live *l, int rendition, const struct segment *s, struct blob *media,
                         const struct verified *is)
{
    struct playback_segment seg = {.msn = s->msn,
                                   .url_seq = s->seq,
                                   .duration = s->duration,
                                   .discontinuity = s->discontinuity,
                                   .continues = s->continues,
                                   .wall_ms = s->wall_ms,
                                   .media = media,
                                   .video = is ? &is->video : &s->video,
                                   .audio = is ? &is->audio : &s->audio,
                                   .fps = is ? is->fps : s->fps};
    struct err err;

    if (s->container != CONTAINER_TS)
        return; /* MP4 pushes are answered to their sender, not played */
    if (playback_segment_add(l->out, rendition, &seg, &err) != RC_OK)
        log_info(&l->log, "segment %" PRId64 " is not listed: %s", s->msn, err.text);
}

static void note_source(struct live *l, const struct segment *s)
{
    if (l->segments++ == 0)
        metric_stream_started();
    l->bytes_in += (int64_t)s->media->n;
    l->source_fps = s->fps;
    l->source_bps = (int64_t)s->media->n * 8 * TICKS_PER_SECOND / s->duration;
    metric_source_segment((double)s->duration / TICKS_PER_SECOND);
}

/* The source is on air before any orchestrator has seen it. */
static void list_source(struct live *l, struct segment *s)
{
    if (s->discontinuity)
        l->discontinuities++;
    note_source(l, s);
    list_segment(l, l->source_rendition, s, s->media, NULL);
    save_numbers(l);
    log_debug(&l->log, "segment=%" PRId64 " source of %zu bytes, %" PRId64 " ms", s->msn,
              s->media->n, s->duration / 90);
}

/* --- transcoding --- */

static void on_routing_change(void *arg)
{
    struct live *l = arg;

    queue_poke(l->queue);
}

static void start_routing(struct live *l)
{
    struct routing_conf conf = {.loop = l->g->loop,
                                .client = l->g->client,
                                .candidates = l->g->candidates,
                                .need = l->need,
                                .blocklist = l->g->conf.blocklist,
                                .first_wait_ms = l->g->conf.discovery_timeout_ms,
                                .extra_nodes = l->g->conf.extra_nodes,
                                .log = &l->log,
                                .on_change = on_routing_change,
                                .arg = l};

    if (l->n_profiles && l->g->conf.max_attempts > 0)
        l->routing = routing_new(&conf);
}

static void on_trouble(struct job *j, const char *sentence, void *arg)
{
    live_trouble(arg, j->conf.segment->msn, sentence);
}

/* Piece i of a joined group, under the number its source has. */
static void list_piece(struct live *l, int rendition, const struct segment *whole, size_t i,
                       struct blob *media, const struct verified *is)
{
    struct segment piece = *whole; /* borrows */

    piece.msn += (int64_t)i;
    piece.seq += (int64_t)i;
    piece.duration = group_piece_duration(whole, i);
    piece.discontinuity = whole->discontinuity && i == 0;
    piece.continues = i > 0;
    list_segment(l, rendition, &piece, media, is);
}

static void list_gaps(struct live *l, const struct segment *s)
{
    for (size_t i = 0; i < l->n_profiles; i++)
        for (size_t k = 0; k <= s->n_cuts; k++)
            list_piece(l, l->renditions[i], s, k, NULL, NULL);
}

static void list_rendition(struct live *l, size_t i, const struct segment *s,
                           const struct rendition *r)
{
    struct blob *media[GROUP_MAX_PIECES];
    struct err err;

    if (!s->n_cuts) {
        list_segment(l, l->renditions[i], s, r->media, &r->is);
        return;
    }
    if (group_cut(s, blob_slice(r->media), &r->is, media, &err) != RC_OK)
        live_trouble(l, s->msn, err.text);
    for (size_t k = 0; k <= s->n_cuts; k++) {
        list_piece(l, l->renditions[i], s, k, media[k], &r->is);
        blob_unref(&media[k]);
    }
}

static void list_renditions(struct live *l, struct job *j)
{
    const struct segment *s = j->conf.segment;

    for (size_t i = 0; i < l->n_profiles; i++) {
        l->bytes_out += (int64_t)j->renditions[i].media->n;
        list_rendition(l, i, s, &j->renditions[i]);
    }
    metric_rendition_listed((double)(clock_mono_ms() - s->closed_ms) / 1000);
    snprintf(l->done_by.orchestrator, sizeof(l->done_by.orchestrator), "%s", j->orchestrator);
    l->done_by.round_trip_ms = j->round_trip_ms;
    l->done_by.ratio = (double)j->round_trip_ms / segment_duration_ms(s);
}

/* --- the mean, over all streams that have results, of what was transcoded of each --- */

static int64_t share_done(const struct live *l)
{
    return (int64_t)__builtin_popcount(l->recent) * SHARE_ONE / l->n_recent;
}

static void leave_mean(struct live *l)
{
    if (!l->n_recent)
        return;
    l->g->share_done -= share_done(l);
    l->g->n_sharing--;
    l->n_recent = 0;
}

static void note_outcome(struct live *l, bool done)
{
    int n = MIN(l->n_recent + 1, (int)RECENT_SEGMENTS);

    if (l->state == LIVE_ENDED)
        return; /* it left the mean */
    leave_mean(l);
    l->recent = (l->recent << 1 | done) & ((1u << RECENT_SEGMENTS) - 1);
    l->n_recent = n;
    l->g->share_done += share_done(l);
    l->g->n_sharing++;
    metric_success_rate((double)l->g->share_done / SHARE_ONE / (double)l->g->n_sharing);
}

static void finish_when_empty(struct live *l);

static void on_result(struct job *j, void *arg)
{
    struct live *l = arg;

    note_outcome(l, j->state == JOB_DONE);
    if (j->state == JOB_DONE) {
        list_renditions(l, j);
    } else {
        list_gaps(l, j->conf.segment);
        live_trouble(l, j->conf.segment->msn, j->err.text);
    }
    finish_when_empty(l);
}

static int deadline_ms(const struct live *l, const struct segment *s)
{
    int duration = segment_duration_ms(s);

    /* A pusher waits for its answer as long as the reference's attempts may take; a live
     * rendition is of no use once its source has left the window, which counts pieces. */
    if (l->ingest == INGEST_PUSH)
        return l->g->conf.max_attempts * MAX(8000, 4 * duration) * l->timeout_multiplier;
    return MAX(8000, (HLS_WINDOW - 1) * duration / (int)(s->n_cuts + 1));
}

static void transcode(struct live *l, struct segment *s, const struct pushed *p)
{
    struct job_conf conf = {.loop = l->g->loop,
                            .client = l->g->client,
                            .routing = l->routing,
                            .log = &l->log,
                            .manifest_id = l->name,
                            .segment = s,
                            .profiles = l->profiles,
                            .n_profiles = l->n_profiles,
                            .need = &l->need,
                            .max_attempts = l->g->conf.max_attempts,
                            .deadline_ms = deadline_ms(l, s),
                            .timeout_multiplier = l->timeout_multiplier,
                            .impatient = l->ingest == INGEST_PUSH,
                            .on_trouble = on_trouble,
                            .trouble_arg = l};

    if (p) {
        conf.on_over = p->on_over;
        conf.over_arg = p->arg;
    }
    queue_put(l->queue, &conf);
}

/* --- RTMP: frames to segments --- */

/* Fixed by the first segment: what comes later has to fit, rounded to whole seconds. */
static void limit_to_target(struct live *l)
{
    segmenter_limit(l->segmenter,
                    playback_target_s(l->out) * TICKS_PER_SECOND + TICKS_PER_SECOND * 49 / 100);
}

static void transcode_when_whole(struct live *l, struct segment *s)
{
    struct segment *whole = group_take(&l->group, s);

    if (whole)
        transcode(l, whole, NULL);
    else if (!s->cut_short)
        live_trouble(l, s->msn, "not transcoded: its key frame is too far back, or was dropped");
    segment_unref(&whole);
}

static void on_segment(struct segment *TAKES s, void *arg)
{
    struct live *l = arg;

    s->msn = s->seq = l->next_msn++;
    s->discontinuity |= l->returned;
    l->returned = false;
    list_source(l, s);
    limit_to_target(l);
    if (l->routing && segment_has_video(s))
        transcode_when_whole(l, s);
    if (!s->cut_short)
        timer_start(l->timer, STALL_MS);
    segment_unref(&s);
}

static void on_timeline_track(enum track_kind kind, const struct track *t, void *arg)
{
    struct live *l = arg;

    track_cleanup(&l->tracks[kind]);
    l->tracks[kind] = track_ref(t);
    segmenter_track(l->segmenter, kind, t);
    viewers_track(&l->viewers, kind, t);
}

static void on_timeline_frame(const struct frame *f, void *arg)
{
    struct live *l = arg;

    l->last_dts = MAX(l->last_dts, f->dts + f->duration);
    segmenter_frame(l->segmenter, f);
    viewers_frame(&l->viewers, f);
}

static void start_timeline(struct live *l)
{
    const struct timeline_conf conf = {.in_rate = 1000, .in_bits = 32};
    const struct frame_sink sink = {
        .on_track = on_timeline_track, .on_frame = on_timeline_frame, .arg = l};

    timeline_free(l->timeline);
    l->timeline = timeline_new(&conf, l->last_dts, &sink);
}

static void start_segmenter(struct live *l)
{
    const struct segmenter_conf conf = {.target = SEGMENT_TARGET_TICKS,
                                        .hash = l->routing != NULL,
                                        .on_segment = on_segment,
                                        .arg = l};

    l->segmenter = segmenter_new(&conf);
}

static void on_publisher_track(enum track_kind kind, const struct track *t, void *arg)
{
    struct live *l = arg;

    timeline_track(l->timeline, kind, t);
}

static void on_publisher_frame(const struct frame *f, void *arg)
{
    struct live *l = arg;

    timeline_frame(l->timeline, f);
}

static void on_publisher_end(bool said_goodbye, const struct err *why, void *arg)
{
    struct live *l = arg;

    l->publisher = NULL;
    if (why) {
        log_peer(&l->log, "publisher was closed: %s", why->text);
        live_trouble(l, -1, why->text);
    } else {
        log_info(&l->log, said_goodbye ? "publisher said goodbye" : "publisher was cut off");
    }
    live_event(l, said_goodbye ? LIVE_GOODBYE : LIVE_CUT);
}

void live_publish(struct live *l, struct rtmp_session *s)
{
    const struct rtmp_session_events ev = {.on_track = on_publisher_track,
                                           .on_frame = on_publisher_frame,
                                           .on_end = on_publisher_end,
                                           .arg = l};

    if (l->publisher) {
        log_info(&l->log, "another publisher with the same key takes over");
        rtmp_session_close(l->publisher, "another publisher with the same key took over");
        l->publisher = NULL;
        live_event(l, LIVE_CUT);
    }
    snprintf(l->encoder, sizeof(l->encoder), "%s", rtmp_session_encoder(s));
    l->publisher = s;
    rtmp_accept(s, &ev);
    if (l->state == LIVE_WAITING)
        live_event(l, LIVE_RETURNED);
}

/* --- push --- */

/* What is pushed is not cut: its sender cut it, and takes the renditions back under its numbers. */
static void tell_if_too_long(struct live *l, const struct segment *s)
{
    int target_s = playback_target_s(l->out);
    char text[TROUBLE_TEXT_MAX];

    if (s->container != CONTAINER_TS)
        return; /* is not listed */
    if (l->told_too_long || (s->duration + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND <= target_s)
        return;
    l->told_too_long = true;
    snprintf(text, sizeof(text),
             "a segment of %d ms was pushed; the playlist's TARGETDURATION is %d s since the first "
             "one: some players stall. Push the longest first, or equally long ones",
             (int)segment_duration_ms(s), target_s);
    live_trouble(l, s->msn, text);
    log_peer(&l->log, "segment=%" PRId64 " %s", s->seq, text);
}

void live_push(struct live *l, const struct pushed *p)
{
    struct segment *s = p->segment;

    s->msn = l->next_msn++;
    s->discontinuity |= l->returned;
    l->returned = false;
    timer_start(l->timer, PUSH_IDLE_MS);
    l->quiet_since_ms = clock_mono_ms();
    list_source(l, s);
    tell_if_too_long(l, s);
    if (p->skip_transcode)
        for (size_t i = 0; i < l->n_profiles; i++)
            list_segment(l, l->renditions[i], s, s->media, NULL);
    else if (l->routing)
        transcode(l, s, p);
}

void live_add_viewer(struct live *l, struct rtmp_session *s)
{
    viewers_add(&l->viewers, s, l->tracks);
}

/* --- what the states do --- */

static void on_air(struct live *l)
{
    open_playback(l);
    log_info(&l->log, "on air by %s from number %" PRId64 "%s%s",
             l->ingest == INGEST_RTMP ? "RTMP" : "push", l->next_msn, l->encoder[0] ? ", " : "",
             l->encoder);
    timer_start(l->timer, l->ingest == INGEST_RTMP ? STALL_MS : PUSH_IDLE_MS);
    if (l->ingest == INGEST_RTMP && list_is_empty(&l->waiters))
        live_event(l, LIVE_CUT); /* its publisher left while the numbers were read */
    else
        loop_defer(l->g->loop, &l->ready, tell_waiters, l);
}

/* What came so far is a segment; what comes next does not continue it. */
static void flush(struct live *l)
{
    if (!l->timeline)
        return;
    timeline_flush(l->timeline);
    segmenter_flush(l->segmenter);
    l->returned = true;
}

static void wait_for_return(struct live *l)
{
    flush(l);
    l->quiet_since_ms = clock_mono_ms();
    /* Who never sent a segment has nothing to come back to, and keeps no name and no place. */
    timer_start(l->timer, l->segments ? l->g->conf.reconnect_grace_ms : 0);
    if (l->segments)
        log_info(&l->log, "waiting %d s for the publisher to return",
                 l->g->conf.reconnect_grace_ms / 1000);
}

static void back_on_air(struct live *l)
{
    l->reconnects++;
    start_timeline(l);
    timer_start(l->timer, STALL_MS);
    log_info(&l->log, "the publisher returned; goes on with number %" PRId64, l->next_msn);
}

static void finish_when_empty(struct live *l)
{
    if (!l->ending || queue_length(l->queue))
        return;
    l->ending = false;
    end_playback(l);
    routing_free(l->routing);
    l->routing = NULL;
}

static void finish(struct live *l)
{
    if (l->publisher) {
        live_trouble(l, -1, "no key frame for 20 s: the publisher was closed");
        log_peer(&l->log, "no key frame for %d s: the publisher is closed. Does it send any?",
                 STALL_MS / 1000);
        rtmp_session_close(l->publisher, "no key frame came for too long");
        l->publisher = NULL;
    }
    flush(l);
    leave_mean(l);
    viewers_end(&l->viewers);
    playback_rendition_end(l->out, l->source_rendition);
    l->ending = true;
    metric_stream_ended();
    metric_live_streams(gateway_count_live(l->g));
    log_info(&l->log, "ended after %" PRId64 " segments", l->segments);
    timer_start(l->timer, l->segments ? ENDED_SHOWN_MS : 0);
    finish_when_empty(l);
}

void live_let_go(struct live *l)
{
    queue_give_up_all(l->queue, "the gateway stops");
    routing_free(l->routing);
    l->routing = NULL;
}

static void forget(struct live *l)
{
    map_remove(l->g->lives, slice_str(l->name));
    live_free(l);
}

/* --- life --- */

void live_when_ready(struct live *l, struct live_waiter *w)
{
    list_push(&l->waiters, &w->node);
    if (l->state != LIVE_OPENING)
        loop_defer(l->g->loop, &l->ready, tell_waiters, l);
}

void live_stop_waiting(struct live *l, struct live_waiter *w)
{
    list_remove(&l->waiters, &w->node);
}

/* Numbers are saved within a second (STORE_SOON), so a crash may lose the last one: going on
 * NUMBERS_MARGIN further never uses a number twice. */
static void on_numbers(struct blob *value, const struct err *err, void *arg)
{
    struct live *l = arg;
    char text[64] = "";

    l->reading = false;
    if (err)
        log_peer(&l->log, "the last segment number could not be read: %s", err->text);
    if (value)
        snprintf(text, sizeof(text), "%.*s", (int)MIN(value->n, sizeof(text) - 1),
                 (const char *)value->p);
    if (l->state == LIVE_OPENING &&
        sscanf(text, "%" SCNd64 " %" SCNd64, &l->next_msn, &l->discontinuities) == 2) {
        l->next_msn += NUMBERS_MARGIN;
        l->returned = true;
    }
    if (l->dropped)
        live_free(l);
    else
        live_event(l, LIVE_READY); /* ignored when it came too late */
}

struct live *live_find(struct gateway *g, const char *name)
{
    struct live *l = map_get(g->lives, slice_str(name));

    return l && l->state != LIVE_ENDED ? l : NULL;
}

struct live *live_find_pushed(struct gateway *g, const char *pushed_as)
{
    size_t at = 0;
    void *value = live_find(g, pushed_as); /* most keep their name */

    if (value && strcmp(((struct live *)value)->pushed_as, pushed_as) == 0)
        return value;
    while (map_next(g->lives, &at, NULL, &value)) {
        struct live *l = value;

        if (l->state != LIVE_ENDED && strcmp(l->pushed_as, pushed_as) == 0)
            return l;
    }
    return NULL;
}

bool live_may_yield(const struct live *l)
{
    if (l->ingest == INGEST_RTMP)
        return l->state == LIVE_WAITING && list_is_empty(&l->waiters);
    return l->state == LIVE_ON && !queue_length(l->queue) && list_is_empty(&l->waiters) &&
           clock_mono_ms() - l->quiet_since_ms > PUSH_QUIET_MS;
}

static void replace_ended(struct gateway *g, const char *name)
{
    struct live *old = map_remove(g->lives, slice_str(name));

    live_free(old);
}

static void set_profiles(struct live *l, const struct stream_config *config,
                         enum container container)
{
    const struct profile *profiles = l->g->conf.profiles;
    size_t n = l->g->conf.n_profiles;

    if (config->has_profiles) {
        profiles = config->profiles;
        n = config->n_profiles;
    }
    l->container = container;
    memcpy(l->profiles, profiles, n * sizeof(*profiles));
    l->n_profiles = n;
    for (size_t i = 0; i < n; i++)
        l->profiles[i].container = container;
}

static void set_need(struct live *l)
{
    const struct caps_job job = {
        .pushed = l->ingest == INGEST_PUSH, .profiles = l->profiles, .n_profiles = l->n_profiles};

    caps_for_job(&l->need, &job);
    if (l->g->conf.min_version)
        snprintf(l->need.min_version, sizeof(l->need.min_version), "%s", l->g->conf.min_version);
}

/* What was asked for and is not done is said once, on the page and in the log. */
static void tell_left_out(struct live *l, const struct stream_config *config)
{
    char text[TROUBLE_TEXT_MAX];

    if (config->unknown_preset[0]) {
        snprintf(text, sizeof(text), "unknown presets are skipped: \"%s\"%s",
                 config->unknown_preset,
                 config->n_profiles ? "" : "; no rendition is left, the source alone plays");
        live_trouble(l, -1, text);
        log_peer(&l->log, "%s", text);
    }
    if (config->verification_freq) {
        snprintf(text, sizeof(text),
                 "verificationFreq %u: this version of leat does not compare "
                 "orchestrators' pictures",
                 config->verification_freq);
        live_trouble(l, -1, text);
        log_peer(&l->log, "%s", text);
    }
}

struct live *live_new(struct gateway *g, const struct live_conf *conf)
{
    struct live *l = xcalloc(1, sizeof(*l));

    replace_ended(g, conf->name->name);
    l->g = g;
    l->ingest = conf->ingest;
    snprintf(l->name, sizeof(l->name), "%s", conf->name->name);
    snprintf(l->key, sizeof(l->key), "%s", conf->name->key);
    if (conf->pushed_as)
        snprintf(l->pushed_as, sizeof(l->pushed_as), "%s", conf->pushed_as);
    l->timeout_multiplier = MAX(1, (int)conf->config->timeout_multiplier);
    log_tag(&l->log, "stream=%s", l->name);
    l->since_ms = clock_wall_ms();
    l->last_push_seq = -1;
    l->timer = timer_new(g->loop, on_timer, l);
    l->queue = queue_new(g->loop, on_result, l);
    list_init(&l->viewers);
    list_init(&l->waiters);
    set_profiles(l, conf->config, conf->container);
    tell_left_out(l, conf->config);
    set_need(l);
    start_routing(l);
    start_segmenter(l);
    l->last_dts = TICKS_PER_SECOND; /* room for the clock, which runs ahead of decoding */
    start_timeline(l);
    l->reading = true;
    timer_start(l->timer, NUMBERS_WAIT_MS);
    store_get(g->store, SPACE_NUMBERS, slice_str(l->name), on_numbers, l);
    map_put(g->lives, slice_str(l->name), l);
    metric_stream_created();
    metric_live_streams(gateway_count_live(g));
    return l;
}

static void abandon_waiters(struct live *l)
{
    LIST_EACH (&l->waiters, struct live_waiter, node, w) {
        list_remove(&l->waiters, &w->node);
        w->fn(NULL, w->arg);
    }
}

void live_free(struct live *l)
{
    if (!l)
        return;
    if (l->reading) { /* the store's answer still comes, to on_numbers */
        l->dropped = true;
        timer_stop(l->timer); /* the name may be another's by then */
        return;
    }
    abandon_waiters(l);
    loop_defer_cancel(l->g->loop, &l->ready);
    if (l->publisher)
        rtmp_session_close(l->publisher, "the gateway stops");
    viewers_end(&l->viewers);
    queue_free(l->queue);
    routing_free(l->routing);
    timeline_free(l->timeline);
    segmenter_free(l->segmenter);
    group_cleanup(&l->group);
    if (l->ending)
        end_playback(l);
    for (int k = 0; k < TRACK_KINDS; k++)
        track_cleanup(&l->tracks[k]);
    track_cleanup(&l->last_video);
    track_cleanup(&l->last_audio);
    timer_free(l->timer);
    troubles_cleanup(&l->troubles);
    free(l);
}
