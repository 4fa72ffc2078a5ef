#include "net/health.h"

#include "base/blob.h"
#include "base/metric.h"

enum { MAX_METRICS_BYTES = 16 * 1024 * 1024 };

static struct metric media_bytes = METRIC_GAUGE(
    "leat_media_bytes", "media in memory: segments, renditions, frames", NULL);

void health_answer_ready(struct http_exchange *x, const struct buf *why)
{
    if (why->n)
        http_answer(x, 503, "text/plain; charset=utf-8", buf_slice(why));
    else
        http_answer(x, 200, "text/plain; charset=utf-8", SLICE_LIT("ready\n"));
}

void health_answer_metrics(struct http_exchange *x)
{
    struct buf text;

    metric_set(&media_bytes, (double)blob_total_bytes());
    buf_init(&text, MAX_METRICS_BYTES);
    metric_write_all(&text);
    http_answer(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_slice(&text));
    buf_cleanup(&text);
}
