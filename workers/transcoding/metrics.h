/* workers/transcoding/metrics.h: the worker's counters, under the reference's names where it has
 * them (operations.md 5). */
#ifndef LEAT_WORKERS_TRANSCODING_METRICS_H
#define LEAT_WORKERS_TRANSCODING_METRICS_H

#include "base/base.h"

void worker_metrics_init(void);
void worker_metric_transcoded(double took_s); /* from the first byte in to the last byte out */
void worker_metric_posted(double took_s);     /* from the notification to the post's answer */
void worker_metric_ended(bool ok);

#endif
