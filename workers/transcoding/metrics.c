#include "workers/transcoding/metrics.h"

#include "base/metric.h"

static const double bounds[] = {.05, .1, .25, .5, .75, 1, 1.5, 2, 3, 4, 5, 10};

static struct metric done = METRIC_COUNTER("livepeer_segment_transcoded_total",
                                           "segments transcoded and posted", NULL);
static struct metric failed = METRIC_COUNTER("livepeer_segment_transcode_failed_total",
                                             "segments not transcoded", NULL);
static struct metric codec_time = METRIC_HISTOGRAM("livepeer_transcode_time_seconds",
                                                   "time in the codec", bounds, NULL);
static struct metric whole_time = METRIC_HISTOGRAM(
    "livepeer_upload_time_seconds", "from the orchestrator's notification until it has the results",
    bounds, NULL);

void worker_metrics_init(void)
{
    struct metric *const all[] = {&done, &failed, &codec_time, &whole_time};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        metric_declare(all[i]);
}

void worker_metric_transcoded(double took_s)
{
    metric_observe(&codec_time, took_s);
}

void worker_metric_posted(double took_s)
{
    metric_observe(&whole_time, took_s);
}

void worker_metric_ended(bool ok)
{
    metric_add(ok ? &done : &failed, 1);
}
