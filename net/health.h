/* net/health.h: the answers every role gives about itself: /readyz with reasons, /metrics. */
#ifndef LEAT_NET_HEALTH_H
#define LEAT_NET_HEALTH_H

#include "base/buf.h"
#include "net/http_server.h"

enum { HEALTH_WHY_MAX = 64 * 1024 };

/* why: one reason a line why the node cannot take work; empty: 200 "ready", else 503. */
void health_answer_ready(struct http_exchange *x, const struct buf *why);

/* Everything in base/metric.h, and the media held by all blobs. */
void health_answer_metrics(struct http_exchange *x);

#endif
