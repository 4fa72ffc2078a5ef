#include "gateway/metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/metric.h"

static const double latency_bounds[] = {0, .5, .75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10};
static const double transcode_bounds[] = {0,   .25, .5,  .75, 1,   1.25, 1.5, 2,
                                          2.5, 3,   3.5, 4,   4.5, 5,    10};
static const double score_bounds[] = {0, .5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10, 15, 20, 40};
static const double duration_bounds[] = {0, .5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10, 15, 20};
static const double ratio_bounds[] = {.5, 1, 2, 3, 5, 10, 50, 100};
/* The reference's own bounds for these are out of order; these are what it meant. */
static const double transfer_bounds[] = {0, .01, .02, .05, .1, .15, .2, .5, 1, 5, 10};

static struct metric created = METRIC_COUNTER("livepeer_stream_created_total",
                                              "streams a publisher began", NULL);
static struct metric started = METRIC_COUNTER("livepeer_stream_started_total",
                                              "streams whose first segment was cut", NULL);
static struct metric ended = METRIC_COUNTER("livepeer_stream_ended_total", "streams ended", NULL);
static struct metric limit = METRIC_GAUGE("livepeer_max_sessions_total", "streams taken at once",
                                          NULL);
static struct metric current = METRIC_GAUGE("livepeer_current_sessions_total", "streams live now",
                                            NULL);
static struct metric swaps = METRIC_COUNTER("livepeer_orchestrator_swaps",
                                            "changes of orchestrator in mid-stream", NULL);
static struct metric discovery_errors = METRIC_COUNTER("livepeer_discovery_errors_total",
                                                       "orchestrators that could not be used",
                                                       "error_code", "orchestrator_uri");
static struct metric appeared = METRIC_COUNTER("livepeer_segment_source_appeared_total",
                                               "source segments", "profile", "seg_type");
static struct metric emerged = METRIC_COUNTER("livepeer_segment_source_emerged_total",
                                              "source segments to transcode", NULL);
static struct metric duration = METRIC_HISTOGRAM(
    "livepeer_source_segment_duration_seconds", "length of source segments", duration_bounds, NULL);
static struct metric raw = METRIC_COUNTER("livepeer_segment_source_emerged_unprocessed_total",
                                          "source segments, whatever becomes of them", NULL);
static struct metric upload_failed = METRIC_COUNTER("livepeer_segment_source_upload_failed_total",
                                                    "segments that an orchestrator did not take",
                                                    "error_code", "orchestrator_uri");
static struct metric uploaded = METRIC_COUNTER("livepeer_segment_source_uploaded_total",
                                               "segments sent", "orchestrator_uri");
static struct metric upload_time = METRIC_HISTOGRAM(
    "livepeer_upload_time_seconds", "time to send a segment", transfer_bounds, "orchestrator_uri");
static struct metric downloaded = METRIC_COUNTER("livepeer_segment_transcoded_downloaded_total",
                                                 "renditions fetched", NULL);
static struct metric download_time = METRIC_HISTOGRAM(
    "livepeer_download_time_seconds", "time to fetch all renditions", transfer_bounds, NULL);
static struct metric retried = METRIC_COUNTER("livepeer_transcode_retried",
                                              "further attempts at a segment", "try");
static struct metric transcoded = METRIC_COUNTER("livepeer_segment_transcoded_total",
                                                 "segments transcoded", "profiles");
static struct metric untouched = METRIC_COUNTER("livepeer_segment_transcoded_unprocessed_total",
                                                "segments that came back transcoded", "profiles");
static struct metric complete = METRIC_COUNTER("livepeer_segment_transcoded_all_appeared_total",
                                               "segments of which all renditions are here",
                                               "profiles");
static struct metric overall = METRIC_HISTOGRAM("livepeer_transcode_overall_latency_seconds",
                                                "source segment to all renditions", latency_bounds,
                                                "profiles");
static struct metric transcode_time = METRIC_HISTOGRAM(
    "livepeer_transcode_time_seconds", "round trip of a segment", transcode_bounds, "profiles");
static struct metric score = METRIC_HISTOGRAM(
    "livepeer_transcode_score", "segment length over round trip", score_bounds, "profiles");
static struct metric failed = METRIC_COUNTER("livepeer_segment_transcode_failed_total",
                                             "segments or attempts that failed", "error_code");
static struct metric pixels = METRIC_COUNTER("livepeer_mil_pixels_processed",
                                             "million pixels transcoded", NULL);
static struct metric success = METRIC_GAUGE(
    "livepeer_success_rate",
    "of the last 30 segments of each stream, how many were transcoded; mean", NULL);
static struct metric left_early = METRIC_COUNTER(
    "livepeer_http_client_timeout_1", "pushers that left while their segment was worked on", NULL);
static struct metric left_late = METRIC_COUNTER(
    "livepeer_http_client_timeout_2", "pushers that left before their answer was sent", NULL);
static struct metric push_ratio = METRIC_HISTOGRAM(
    "livepeer_http_client_segment_transcoded_realtime_ratio",
    "segment length over the time from its push to its answer", ratio_bounds, NULL);
/* The same in steps: faster than so many times real time, the rest is slow. */
static struct metric push_3x = METRIC_COUNTER("livepeer_http_client_segment_transcoded_realtime_3x",
                                              "pushes with a ratio above 3", NULL);
static struct metric push_2x = METRIC_COUNTER("livepeer_http_client_segment_transcoded_realtime_2x",
                                              "pushes with a ratio above 2", NULL);
static struct metric push_1x = METRIC_COUNTER("livepeer_http_client_segment_transcoded_realtime_1x",
                                              "pushes with a ratio above 1", NULL);
static struct metric push_half = METRIC_COUNTER(
    "livepeer_http_client_segment_transcoded_realtime_half", "pushes with a ratio above .5", NULL);
static struct metric push_slow = METRIC_COUNTER(
    "livepeer_http_client_segment_transcoded_realtime_slow", "pushes with a lower ratio", NULL);
static struct metric listed = METRIC_HISTOGRAM("leat_rendition_listed_seconds",
                                               "source segment closed to rendition on air",
                                               latency_bounds, NULL);

static struct metric *const all[] = {
    &created,    &started,          &ended,          &limit,         &current,
    &swaps,      &discovery_errors, &appeared,       &emerged,       &duration,
    &uploaded,   &upload_time,      &downloaded,     &download_time, &retried,
    &transcoded, &overall,          &transcode_time, &score,         &failed,
    &pixels,     &listed,           &success,        &raw,           &upload_failed,
    &untouched,  &complete,         &left_early,     &left_late,     &push_ratio,
    &push_3x,    &push_2x,          &push_1x,        &push_half,     &push_slow,
};

void metrics_init(int max_sessions)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        metric_declare(all[i]);
    metric_max_sessions(max_sessions);
}

void metric_max_sessions(int n)
{
    metric_set(&limit, n);
}

void metric_stream_created(void)
{
    metric_add(&created, 1);
}

void metric_stream_started(void)
{
    metric_add(&started, 1);
}

void metric_stream_ended(void)
{
    metric_add(&ended, 1);
}

void metric_live_streams(int n)
{
    metric_set(&current, n);
}

/* Codes, not free text: the reference's label sets grow without bound. */
void metric_discovery_error(const struct err *why, const char *uri)
{
    const char *code = strstr(why->text, "OrchestratorCapped") ? "OrchestratorCapped"
                       : why->code == RC_TIMEOUT               ? "DeadlineExceeded"
                                                               : rc_name(why->code);

    metric_add(&discovery_errors, 1, code, uri);
}

void metric_swap(void)
{
    metric_add(&swaps, 1);
}

void metric_source_segment(double duration_s)
{
    metric_add(&appeared, 1, "source", "regular");
    metric_add(&emerged, 1);
    metric_add(&raw, 1);
    metric_observe(&duration, duration_s);
}

void metric_uploaded(const char *uri, double seconds)
{
    metric_add(&uploaded, 1, uri);
    metric_observe(&upload_time, seconds, uri);
}

void metric_upload_failed(const char *error_code, const char *uri)
{
    metric_add(&upload_failed, 1, error_code, uri);
}

void metric_downloaded(double seconds)
{
    metric_add(&downloaded, 1);
    metric_observe(&download_time, seconds);
}

void metric_retry(int attempt)
{
    char text[16];

    if (attempt > 10)
        snprintf(text, sizeof(text), ">10");
    else
        snprintf(text, sizeof(text), "%d", attempt);
    metric_add(&retried, 1, text);
}

void metric_transcoded(const char *profiles, double overall_s, double duration_s, int64_t n_pixels)
{
    metric_add(&transcoded, 1, profiles);
    metric_add(&untouched, 1, profiles);
    metric_add(&complete, 1, profiles);
    metric_observe(&overall, overall_s, profiles);
    metric_observe(&transcode_time, overall_s, profiles);
    if (overall_s > 0)
        metric_observe(&score, duration_s / overall_s, profiles);
    metric_add(&pixels, (double)n_pixels / 1e6);
}

void metric_failed(const char *error_code)
{
    metric_add(&failed, 1, error_code);
}

void metric_success_rate(double rate)
{
    metric_set(&success, rate);
}

void metric_push_answered(double duration_s, double took_s)
{
    double ratio = duration_s / MAX(took_s, .001);

    metric_observe(&push_ratio, ratio);
    metric_add(ratio > 3    ? &push_3x
               : ratio > 2  ? &push_2x
               : ratio > 1  ? &push_1x
               : ratio > .5 ? &push_half
                            : &push_slow,
               1);
}

void metric_pusher_left(bool answered)
{
    metric_add(answered ? &left_late : &left_early, 1);
}

void metric_rendition_listed(double after_s)
{
    metric_observe(&listed, after_s);
}
