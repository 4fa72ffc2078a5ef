#include "base/metric.h"

#include <assert.h>
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

enum { LABEL_MAX = 128, COMMON_MAX = 4 };

struct metric_sample {
    char labels[METRIC_MAX_LABELS][LABEL_MAX];
    double value;           /* counter, gauge; sum of a histogram */
    uint64_t count;
    uint64_t *buckets;
};

static struct metric *first;
static struct { char name[32], value[LABEL_MAX]; } common[COMMON_MAX];
static size_t n_common;
static int64_t started_ms;

static size_t label_count(const struct metric *m)
{
    size_t n = 0;

    while (n < METRIC_MAX_LABELS && m->labels[n])
        n++;
    return n;
}

static void enlist(struct metric *m)
{
    if (m->listed)
        return;
    if (!started_ms)
        started_ms = clock_wall_ms();
    m->listed = true;
    m->next = first;
    first = m;
}

void metric_declare(struct metric *m)
{
    enlist(m);
    if (!label_count(m) && m->kind != METRIC_KIND_HISTOGRAM)
        metric_add(m, 0);
}

static bool has_labels(const struct metric_sample *s, const char *const *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strncmp(s->labels[i], values[i], LABEL_MAX - 1) != 0)
            return false;
    return true;
}

static struct metric_sample *find(struct metric *m, const char *const *values, size_t n)
{
    for (size_t i = 0; i < m->n_samples; i++)
        if (has_labels(&m->samples[i], values, n))
            return &m->samples[i];
    return NULL;
}

static struct metric_sample *sample_of(struct metric *m, const char **values, size_t n)
{
    struct metric_sample *s = find(m, values, n);

    if (s)
        return s;
    if (m->n_samples >= METRIC_MAX_LABEL_SETS) {
        /* A stranger's label values must not grow the process. */
        for (size_t i = 0; i < n; i++)
            values[i] = "other";
        s = find(m, values, n);
        if (s)
            return s;
    }
    m->samples = xrealloc(m->samples, (m->n_samples + 1) * sizeof(*m->samples));
    s = &m->samples[m->n_samples++];
    memset(s, 0, sizeof(*s));
    for (size_t i = 0; i < n; i++)
        snprintf(s->labels[i], LABEL_MAX, "%s", values[i]);
    if (m->kind == METRIC_KIND_HISTOGRAM)
        s->buckets = xcalloc(m->n_bounds, sizeof(*s->buckets));
    return s;
}

static struct metric_sample *sample_va(struct metric *m, va_list ap)
{
    const char *values[METRIC_MAX_LABELS];
    size_t n = label_count(m);

    enlist(m);
    for (size_t i = 0; i < n; i++)
        values[i] = va_arg(ap, const char *);
    return sample_of(m, values, n);
}

void metric_add(struct metric *m, double by, ...)
{
    va_list ap;

    assert(m->kind != METRIC_KIND_HISTOGRAM);
    va_start(ap, by);
    sample_va(m, ap)->value += by;
    va_end(ap);
}

void metric_set(struct metric *m, double to, ...)
{
    va_list ap;

    assert(m->kind == METRIC_KIND_GAUGE);
    va_start(ap, to);
    sample_va(m, ap)->value = to;
    va_end(ap);
}

void metric_observe(struct metric *m, double value, ...)
{
    struct metric_sample *s;
    va_list ap;

    assert(m->kind == METRIC_KIND_HISTOGRAM);
    va_start(ap, value);
    s = sample_va(m, ap);
    va_end(ap);
    s->value += value;
    s->count++;
    for (size_t i = 0; i < m->n_bounds; i++)
        s->buckets[i] += value <= m->bounds[i];
}

void metric_common_label(const char *name, const char *value)
{
    assert(n_common < COMMON_MAX);
    snprintf(common[n_common].name, sizeof(common[0].name), "%s", name);
    snprintf(common[n_common++].value, LABEL_MAX, "%s", value);
}

/* --- text format 0.0.4 --- */

static void write_label(struct buf *out, const char *name, const char *value, bool *comma)
{
    buf_printf(out, "%s%s=\"", *comma ? "," : "{", name);
    *comma = true;
    for (; *value; value++) {
        if (*value == '\n')
            buf_str(out, "\\n");
        else if (*value == '"' || *value == '\\')
            buf_printf(out, "\\%c", *value);
        else
            buf_u8(out, (uint8_t)*value);
    }
    buf_u8(out, '"');
}

static void write_labels(struct buf *out, const struct metric *m, const struct metric_sample *s,
                         const char *le)
{
    bool comma = false;

    for (size_t i = 0; i < n_common; i++)
        write_label(out, common[i].name, common[i].value, &comma);
    for (size_t i = 0; i < label_count(m); i++)
        write_label(out, m->labels[i], s->labels[i], &comma);
    if (le)
        write_label(out, "le", le, &comma);
    if (comma)
        buf_u8(out, '}');
}

static void write_value(struct buf *out, const struct metric *m, const struct metric_sample *s,
                        const char *suffix, const char *le, double value)
{
    buf_printf(out, "%s%s", m->name, suffix);
    write_labels(out, m, s, le);
    if (value == floor(value) && fabs(value) < 1e15)
        buf_printf(out, " %.0f\n", value);
    else
        buf_printf(out, " %.9g\n", value);
}

static void write_histogram(struct buf *out, const struct metric *m, const struct metric_sample *s)
{
    char le[32];

    for (size_t i = 0; i < m->n_bounds; i++) {
        snprintf(le, sizeof(le), "%g", m->bounds[i]);
        write_value(out, m, s, "_bucket", le, (double)s->buckets[i]);
    }
    write_value(out, m, s, "_bucket", "+Inf", (double)s->count);
    write_value(out, m, s, "_sum", NULL, s->value);
    write_value(out, m, s, "_count", NULL, (double)s->count);
}

static void write_head(struct buf *out, const char *name, const char *help, enum metric_kind kind)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kinds[kind]);
}

static void write_process_value(struct buf *out, const char *name, const char *help,
                                enum metric_kind kind, double value)
{
    const struct metric m = {.kind = kind, .name = name};
    const struct metric_sample none = {.value = 0};

    write_head(out, name, help, kind);
    write_value(out, &m, &none, "", NULL, value);
}

static double open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    if (!dir)
        return NAN;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 3; /* ".", ".." and the folder itself */
}

static double resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long size, resident = 0;

    if (f && fscanf(f, "%ld %ld", &size, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void write_process(struct buf *out)
{
    struct rusage u;
    double cpu;

    getrusage(RUSAGE_SELF, &u);
    cpu = (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
          ((double)u.ru_utime.tv_usec + (double)u.ru_stime.tv_usec) / 1e6;
    write_process_value(out, "process_cpu_seconds_total", "user and system CPU time",
                        METRIC_KIND_COUNTER, cpu);
    write_process_value(out, "process_resident_memory_bytes", "resident memory", METRIC_KIND_GAUGE,
                        resident_bytes());
    write_process_value(out, "process_open_fds", "open file descriptors", METRIC_KIND_GAUGE,
                        open_descriptors());
    write_process_value(out, "process_start_time_seconds", "start, Unix time", METRIC_KIND_GAUGE,
                        (double)started_ms / 1000);
}

void metric_write_all(struct buf *out)
{
    for (const struct metric *m = first; m; m = m->next) {
        write_head(out, m->name, m->help, m->kind);
        for (size_t i = 0; i < m->n_samples; i++) {
            if (m->kind == METRIC_KIND_HISTOGRAM)
                write_histogram(out, m, &m->samples[i]);
            else
                write_value(out, m, &m->samples[i], "", NULL, m->samples[i].value);
        }
    }
    write_process(out);
}
