/* base/metric.h: counters, gauges and histograms in the Prometheus text format.
 *
 * A metric is declared once, statically, with name, unit and help; label sets are
 * bounded (METRIC_MAX_LABEL_SETS, the rest is counted under "other"; values are cut at
 * 127 bytes), so a stranger cannot grow them. Names of the reference: operations.md 5, with their
 * prefix "livepeer_".
 *
 *     static struct metric segments = METRIC_COUNTER("livepeer_segment_source_appeared_total",
 *                                                    "source segments cut", "profile");
 *     metric_add(&segments, 1, "source");
 *
 * Threads: the loop thread only.
 */
#ifndef LEAT_BASE_METRIC_H
#define LEAT_BASE_METRIC_H

#include "base/buf.h"

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE, METRIC_KIND_HISTOGRAM };
enum { METRIC_MAX_LABEL_SETS = 200, METRIC_MAX_LABELS = 4, METRIC_MAX_BOUNDS = 24 };

struct metric_sample;

struct metric {
    enum metric_kind kind;
    const char *name, *help;
    const char *labels[METRIC_MAX_LABELS]; /* names; NULL ends */
    const double *bounds;                  /* histogram, ascending */
    size_t n_bounds;
    struct metric_sample *samples; /* private */
    size_t n_samples;
    struct metric *next;
    bool listed;
};

/* clang-format off */
#define METRIC_COUNTER(nm, hp, ...)                                                                \
    {.kind = METRIC_KIND_COUNTER, .name = nm, .help = hp, .labels = {__VA_ARGS__}}
#define METRIC_GAUGE(nm, hp, ...)                                                                  \
    {.kind = METRIC_KIND_GAUGE, .name = nm, .help = hp, .labels = {__VA_ARGS__}}
#define METRIC_HISTOGRAM(nm, hp, bnds, ...)                                                        \
    {.kind = METRIC_KIND_HISTOGRAM, .name = nm, .help = hp, .bounds = bnds,                        \
     .n_bounds = ARRAY_LEN(bnds), .labels = {__VA_ARGS__}}
/* clang-format on */

/* Label values follow in the declared order, as many as there are label names. */
void metric_add(struct metric *m, double by, ...);
void metric_set(struct metric *m, double to, ...);
void metric_observe(struct metric *m, double value, ...);

/* Makes a metric appear before its first event: with value 0, or, when it has labels, with
 * name and help only. */
void metric_declare(struct metric *m);

/* Labels that every line carries: metric_common_label("node_id", "host"). At most 4; the same
 * name again changes its value. */
void metric_common_label(const char *name, const char *value);

/* All metrics plus process_* (CPU, resident memory, open descriptors, start time). */
void metric_write_all(struct buf *out);

#endif
