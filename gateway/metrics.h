/* gateway/metrics.h: the gateway's counters under the reference's names (operations.md 5). */
#ifndef LEAT_GATEWAY_METRICS_H
#define LEAT_GATEWAY_METRICS_H

#include "base/err.h"

void metrics_init(int max_sessions); /* makes all appear with 0 */
void metric_max_sessions(int n);
void metric_stream_created(void);
void metric_stream_started(void);
void metric_stream_ended(void);
void metric_live_streams(int n);
void metric_discovery_error(const struct err *why, const char *uri);
void metric_swap(void);
void metric_source_segment(double duration_s);
void metric_uploaded(const char *uri, double seconds);
void metric_downloaded(double seconds);
void metric_retry(int attempt); /* 2 for the second */
/* profiles: names with commas between */
void metric_transcoded(const char *profiles, double overall_s, double duration_s, int64_t pixels);
void metric_upload_failed(const char *error_code, const char *uri);
void metric_success_rate(double rate); /* 0 to 1 */
void metric_push_answered(double duration_s, double took_s);
void metric_pusher_left(bool answered);       /* the answer was on its way already */
void metric_failed(const char *error_code);   /* one of operations.md 5's codes */
void metric_rendition_listed(double after_s); /* after the source segment closed */

#endif
