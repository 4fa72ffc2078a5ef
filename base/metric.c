#include "base/metric.h"

#include <assert.h>
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/base_int.h"
#include "base/clock.h"

enum { LABEL_MAX = 128, COMMON_MAX = 4 };

struct metric_sample {
    char labels[METRIC_MAX_LABELS][LABEL_MAX];
    double value; /* counter, gauge; sum of a histogram */
    uint64_t count;
    uint64_t *buckets;
};

static struct metric *first, **last = &first;
static struct {
    char name[32], value[LABEL_MAX];
} common[COMMON_MAX];
static size_t n_common;

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
    assert(m->n_bounds <= METRIC_MAX_BOUNDS);
    m->listed = true;
    *last = m;
    last = &m->next;
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

void metric_declare(struct metric *m)
{
    enlist(m);
    if (!label_count(m))
        (void)sample_of(m, NULL, 0); /* with labels nothing is known yet but name and help */
}

static struct metric_sample *sample_va(struct metric *m, va_list ap)
{
    const char *values[METRIC_MAX_LABELS];
    size_t n = label_count(m);

    enlist(m);
    for (size_t i = 0; i < n; i++)
        values[i] = va_arg(ap, const char *);
    for (size_t i = 0; i < n; i++)
        values[i] = values[i] ? values[i] : "";
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
    size_t i = 0;

    while (i < n_common && strcmp(common[i].name, name) != 0)
        i++;
    assert(i < COMMON_MAX);
    n_common = MAX(n_common, i + 1);
    snprintf(common[i].name, sizeof(common[0].name), "%s", name);
    snprintf(common[i].value, LABEL_MAX, "%s", value);
}

/* --- text format 0.0.4 --- */

/* Line ends and backslashes, in labels quotes too; what is no UTF-8 becomes U+FFFD. */
static void write_escaped(struct buf *out, const char *text, bool in_label)
{
    struct slice s = slice_str(text);

    while (s.n) {
        size_t n = utf8_sequence(s);

        if (s.p[0] == '\n')
            buf_str(out, "\\n");
        else if (s.p[0] == '\\' || (s.p[0] == '"' && in_label))
            buf_printf(out, "\\%c", s.p[0]);
        else if (n)
            buf_add(out, s.p, n);
        else
            buf_str(out, "\xef\xbf\xbd");
        s = slice_skip(s, MAX(n, (size_t)1));
    }
}

static void write_label(struct buf *out, const char *name, const char *value, bool *comma)
{
    buf_printf(out, "%s%s=\"", *comma ? "," : "{", name);
    *comma = true;
    write_escaped(out, value, true);
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

/* The shorter of two forms that reads back as the same number. */
static void write_number(struct buf *out, double value)
{
    char text[40];

    snprintf(text, sizeof(text), "%.15g", value);
    if (isnan(value))
        buf_str(out, "NaN");
    else if (isinf(value))
        buf_str(out, value > 0 ? "+Inf" : "-Inf");
    else if (value == floor(value) && fabs(value) < 1e15)
        buf_printf(out, "%.0f", value);
    else if (strtod(text, NULL) == value)
        buf_str(out, text);
    else
        buf_printf(out, "%.17g", value);
}

static void write_value(struct buf *out, const struct metric *m, const struct metric_sample *s,
                        const char *suffix, const char *le, double value)
{
    buf_printf(out, "%s%s", m->name, suffix);
    write_labels(out, m, s, le);
    buf_u8(out, ' ');
    write_number(out, value);
    buf_u8(out, '\n');
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

    buf_printf(out, "# HELP %s ", name);
    write_escaped(out, help, false);
    buf_printf(out, "\n# TYPE %s %s\n", name, kinds[kind]);
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

/* Start of the process in seconds after boot: field 22 of /proc/self/stat, in clock ticks. */
static bool start_after_boot(double *seconds)
{
    char text[1024] = "";
    struct slice rest, field;
    uint64_t ticks = 0;
    FILE *f = fopen("/proc/self/stat", "r");
    char *name_end;

    if (!f)
        return false;
    (void)!fread(text, 1, sizeof(text) - 1, f); /* too little fails below */
    fclose(f);
    name_end = strrchr(text, ')'); /* the name before it may hold anything; field 3 follows */
    if (!name_end)
        return false;
    rest = slice_str(name_end + 2);
    for (int i = 3; i <= 22; i++)
        if (!slice_split(&rest, ' ', &field))
            return false;
    *seconds = slice_u64(field, UINT64_MAX, &ticks) ? (double)ticks : NAN;
    *seconds /= (double)sysconf(_SC_CLK_TCK);
    return true;
}

/* Unix time. Worked out once, so that a jump of the wall clock does not look like a restart. */
static double start_seconds(void)
{
    static double known;
    struct timespec boot;
    double after_boot;

    if (known > 0)
        return known;
    if (!start_after_boot(&after_boot))
        return NAN;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    known = (double)clock_wall_ms() / 1000 - (double)boot.tv_sec - (double)boot.tv_nsec / 1e9 +
            after_boot;
    return known;
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
                        start_seconds());
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
