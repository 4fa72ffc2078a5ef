#include "gateway/metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/metric.h"

static const double latency_bounds[] = {0, .5, .75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10};
static const double transcode_bounds[] = {0,   .25, .5,  .75, 1,   1.25, 1.5, 2,
                                          2.5, 3,   3.5, 4,   4.5, 5,    10};
static const double score_bounds[] = {0, .5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10, 15, 20, 40};
static const double duration_bounds[] = {0, .5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10, 15, 20};
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
                                                 "segments transcoded", NULL);
static struct metric overall = METRIC_HISTOGRAM("livepeer_transcode_overall_latency_seconds",
                                                "source segment to all renditions", latency_bounds,
                                                NULL);
static struct metric transcode_time = METRIC_HISTOGRAM(
    "livepeer_transcode_time_seconds", "round trip of a segment", transcode_bounds, NULL);
static struct metric score = METRIC_HISTOGRAM("livepeer_transcode_score",
                                              "segment length over round trip", score_bounds, NULL);
static struct metric failed = METRIC_COUNTER("livepeer_segment_transcode_failed_total",
                                             "segments or attempts that failed", "error_code");
static struct metric pixels = METRIC_COUNTER("livepeer_mil_pixels_processed",
                                             "million pixels transcoded", NULL);
static struct metric listed = METRIC_HISTOGRAM("leat_rendition_listed_seconds",
                                               "source segment closed to rendition on air",
                                               latency_bounds, NULL);

static struct metric *const all[] = {
    &created,    &started,          &ended,          &limit,         &current,
    &swaps,      &discovery_errors, &appeared,       &emerged,       &duration,
    &uploaded,   &upload_time,      &downloaded,     &download_time, &retried,
    &transcoded, &overall,          &transcode_time, &score,         &failed,
    &pixels,     &listed,
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
    metric_observe(&duration, duration_s);
}

void metric_uploaded(const char *uri, double seconds)
{
    metric_add(&uploaded, 1, uri);
    metric_observe(&upload_time, seconds, uri);
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

void metric_transcoded(double overall_s, double duration_s, int64_t n_pixels)
{
    metric_add(&transcoded, 1);
    metric_observe(&overall, overall_s);
    metric_observe(&transcode_time, overall_s);
    if (overall_s > 0)
        metric_observe(&score, duration_s / overall_s);
    metric_add(&pixels, (double)n_pixels / 1e6);
}

void metric_failed(const char *error_code)
{
    metric_add(&failed, 1, error_code);
}

void metric_rendition_listed(double after_s)
{
    metric_observe(&listed, after_s);
}
