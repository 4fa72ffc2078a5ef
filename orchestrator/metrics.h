/* orchestrator/metrics.h: the orchestrator's counters under the reference's names
 * (operations.md 5). */
#ifndef LEAT_ORCHESTRATOR_METRICS_H
#define LEAT_ORCHESTRATOR_METRICS_H

#include "base/base.h"

void orchestrator_metrics_init(void);
void metric_sessions(int64_t now, int64_t most);
void metric_workers(int64_t n, int64_t capacity, int64_t load);
void metric_segment_came(double took_s); /* from its request to its last byte */
void metric_segment_done(double took_s, double duration_s, int64_t pixels);
void metric_segment_failed(const char *error_code);

#endif
