#include "tests/unit/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/metric.h"

static struct buf out;

/* The whole page as text. */
static const char *page(void)
{
    buf_clear(&out);
    metric_write_all(&out);
    assert_true(buf_ok(&out));
    assert_true(slice_is_utf8(buf_slice(&out)));
    return buf_cstr(&out);
}

#define assert_on_page(text)                                                                       \
    do {                                                                                           \
        if (!strstr(page(), text))                                                                 \
            fail_msg("not on the page: %s\n%s", text, buf_cstr(&out));                             \
    } while (0)

static double value_of(const char *name)
{
    const char *at = strstr(page(), name);

    assert_non_null(at);
    return strtod(strchr(at, ' ') + 1, NULL);
}

static void counter_and_gauge(void **state)
{
    static struct metric segments = METRIC_COUNTER("t_segments_total", "source segments", "profile",
                                                   "seg_type");
    static struct metric sessions = METRIC_GAUGE("t_sessions", "now\ntranscoding \\ \"all\"");

    metric_add(&segments, 1, "source", "regular");
    metric_add(&segments, 2, "source", "regular");
    metric_add(&segments, 0.5, "720p", "regular");
    metric_set(&sessions, 3);
    metric_add(&sessions, -1);
    assert_on_page("# HELP t_segments_total source segments\n# TYPE t_segments_total counter\n"
                   "t_segments_total{profile=\"source\",seg_type=\"regular\"} 3\n"
                   "t_segments_total{profile=\"720p\",seg_type=\"regular\"} 0.5\n");
    assert_on_page("# HELP t_sessions now\\ntranscoding \\\\ \"all\"\n# TYPE t_sessions gauge\n"
                   "t_sessions 2\n");
}

static void histogram(void **state)
{
    static const double bounds[] = {0.25, 1, 5};
    static struct metric time = METRIC_HISTOGRAM("t_time_seconds", "time", bounds, "profiles");

    metric_observe(&time, 0.25, "a");
    metric_observe(&time, 0.5, "a");
    metric_observe(&time, 7, "a");
    assert_on_page("# TYPE t_time_seconds histogram\n"
                   "t_time_seconds_bucket{profiles=\"a\",le=\"0.25\"} 1\n"
                   "t_time_seconds_bucket{profiles=\"a\",le=\"1\"} 2\n"
                   "t_time_seconds_bucket{profiles=\"a\",le=\"5\"} 2\n"
                   "t_time_seconds_bucket{profiles=\"a\",le=\"+Inf\"} 3\n"
                   "t_time_seconds_sum{profiles=\"a\"} 7.75\n"
                   "t_time_seconds_count{profiles=\"a\"} 3\n");
}

static void appears_before_its_first_event(void **state)
{
    static const double bounds[] = {1};
    static struct metric plain = METRIC_COUNTER("t_plain_total", "plain");
    static struct metric labelled = METRIC_COUNTER("t_labelled_total", "labelled", "a");
    static struct metric times = METRIC_HISTOGRAM("t_times", "times", bounds);

    metric_declare(&plain);
    metric_declare(&plain);
    metric_declare(&labelled);
    metric_declare(&times);
    assert_on_page("# TYPE t_plain_total counter\nt_plain_total 0\n");
    assert_on_page("# TYPE t_labelled_total counter\n# ");
    assert_on_page("t_times_bucket{le=\"1\"} 0\nt_times_bucket{le=\"+Inf\"} 0\nt_times_sum 0\n"
                   "t_times_count 0\n");
}

static void labels_are_escaped(void **state)
{
    static const struct {
        const char *value, *shown;
    } cases[] = {
        {"a\"b", "a\\\"b"},
        {"a\\b", "a\\\\b"},
        {"a\nb", "a\\nb"},
        {"", ""},
        {"gr\xc3\xbcn", "gr\xc3\xbcn"},
        {"\xff", "\xef\xbf\xbd"},
        {"x} 1\ny 2", "x} 1\\ny 2"},
    };
    static struct metric m = METRIC_GAUGE("t_escaped", "escaped", "v");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char want[100];

        metric_set(&m, (double)i, cases[i].value);
        snprintf(want, sizeof(want), "t_escaped{v=\"%s\"} %zu\n", cases[i].shown, i);
        assert_on_page(want);
    }
    metric_set(&m, 9, (const char *)NULL);
    assert_on_page("t_escaped{v=\"\"} 9\n");
}

static void numbers_read_back_exactly(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-2, "-2"},
        {0.1, "0.1"},
        {1e14, "100000000000000"},
        {1e15, "1e+15"},
        {1795543851.123, "1795543851.123"},
        {0.1 + 0.2, "0.30000000000000004"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
        {NAN, "NaN"},
    };
    static struct metric m = METRIC_GAUGE("t_number", "number");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char want[100];

        metric_set(&m, cases[i].value);
        snprintf(want, sizeof(want), "\nt_number %s\n", cases[i].text);
        assert_on_page(want);
    }
}

static size_t lines_with(const char *start)
{
    size_t n = 0;

    for (const char *at = page(); (at = strstr(at, start)); at++)
        n++;
    return n;
}

static void strangers_cannot_grow_it(void **state)
{
    static struct metric m = METRIC_COUNTER("t_bounded_total", "bounded", "who", "what");
    char who[4000];

    for (int i = 0; i < 5000; i++) {
        snprintf(who, sizeof(who), "stranger %d", i);
        metric_add(&m, 1, who, "x");
    }
    assert_int_equal(lines_with("\nt_bounded_total{"), METRIC_MAX_LABEL_SETS + 1);
    assert_on_page("t_bounded_total{who=\"stranger 199\",what=\"x\"} 1\n");
    assert_on_page("t_bounded_total{who=\"other\",what=\"other\"} 4800\n");
    metric_add(&m, 1, "stranger 0", "x"); /* those who were first go on */
    assert_on_page("t_bounded_total{who=\"stranger 0\",what=\"x\"} 2\n");
    assert_null(strstr(page(), "stranger 200"));
}

static void long_label_values_are_cut(void **state)
{
    static struct metric m = METRIC_COUNTER("t_long_total", "long", "v");
    char value[4000];

    memset(value, 'y', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    metric_add(&m, 1, value);
    value[200] = 'z'; /* beyond the cut: the same set */
    metric_add(&m, 1, value);
    assert_int_equal(lines_with("\nt_long_total{"), 1);
    assert_true(value_of("\nt_long_total{") == 2);
}

static void process_values(void **state)
{
    FILE *f = fopen("/dev/null", "r");
    double with = value_of("\nprocess_open_fds ");

    assert_non_null(f);
    fclose(f);
    assert_true(value_of("\nprocess_open_fds ") == with - 1);
    assert_true(value_of("\nprocess_resident_memory_bytes ") > 100 * 1024);
    assert_true(value_of("\nprocess_cpu_seconds_total ") >= 0);
    assert_true(fabs(value_of("\nprocess_start_time_seconds ") - (double)clock_wall_ms() / 1000) <
                600);
}

/* Last: what is common cannot be taken back. */
static void common_labels_stand_on_every_line(void **state)
{
    static const char common[] = "{node_id=\"host-\\\"1\\\"\",node_type=\"bctr\"";
    struct slice rest, line;

    metric_common_label("node_id", "first");
    metric_common_label("node_id", "host-\"1\"");
    metric_common_label("node_type", "bctr");
    rest = slice_str(page());
    while (slice_split(&rest, '\n', &line) && line.n)
        if (line.p[0] != '#')
            assert_true(slice_has_prefix(slice_skip(line, slice_find(line, '{')), common));
    assert_on_page("t_segments_total{node_id=\"host-\\\"1\\\"\",node_type=\"bctr\","
                   "profile=\"source\"");
    assert_on_page("t_sessions{node_id=\"host-\\\"1\\\"\",node_type=\"bctr\"} 2\n");
}

static int set_up(void **state)
{
    buf_init(&out, 1 << 22);
    return 0;
}

static int tear_down(void **state)
{
    buf_cleanup(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_and_gauge),
        cmocka_unit_test(histogram),
        cmocka_unit_test(appears_before_its_first_event),
        cmocka_unit_test(labels_are_escaped),
        cmocka_unit_test(numbers_read_back_exactly),
        cmocka_unit_test(strangers_cannot_grow_it),
        cmocka_unit_test(long_label_values_are_cut),
        cmocka_unit_test(process_values),
        cmocka_unit_test(common_labels_stand_on_every_line),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
