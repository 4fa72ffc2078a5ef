/* What leat-codec decides without a codec: sizes, cadence, what a packet holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codec/program/cadence.h"
#include "codec/program/nal.h"
#include "codec/program/size.h"
#include "codec/program/turn.h"

/* Expected values: FFmpeg 5.1's scale filter with the expression of video.md 12.2. */
static void a_rendition_keeps_the_sources_shape(void **state)
{
    static const struct {
        struct size source, asked, made;
    } cases[] = {
        {{1280, 720}, {426, 240}, {426, 240}},
        {{1280, 720}, {640, 360}, {640, 360}},
        {{640, 480}, {640, 360}, {640, 480}},  /* the smaller side asked does not count */
        {{720, 1280}, {426, 240}, {240, 426}}, /* portrait stays portrait */
        {{374, 666}, {640, 360}, {360, 640}},
        {{1920, 800}, {1280, 720}, {1280, 534}},
        {{1279, 719}, {427, 240}, {426, 240}}, /* odd is made even */
        {{1000, 1000}, {256, 144}, {256, 256}},
        {{1280, 720}, {100, 40}, {146, 82}},       /* too small for a codec */
        {{1280, 720}, {9000, 5000}, {4096, 2304}}, /* too large */
        {{3200, 100}, {640, 360}, {1600, 50}},     /* the short side would vanish */
        {{100, 3200}, {640, 360}, {146, 4672}},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct size made;
        assert_int_equal(size_fit(cases[i].source, cases[i].asked, &made, NULL), RC_OK);
        assert_int_equal(made.width, cases[i].made.width);
        assert_int_equal(made.height, cases[i].made.height);
    }
}

static void a_shape_no_codec_takes_is_refused(void **state)
{
    struct size made;

    assert_int_equal(size_fit((struct size){16000, 16}, (struct size){640, 360}, &made, NULL),
                     RC_UNSUPPORTED);
    assert_int_equal(size_fit((struct size){0, 16}, (struct size){640, 360}, &made, NULL),
                     RC_BAD_INPUT);
}

/* A stranger writes the matrix: whatever it holds, the answer is one of the four. */
static void any_matrix_gives_a_turn(void **state)
{
    enum { ONE = 65536 };
    static const struct {
        int32_t a, b, c, d; /* of a b u, c d v, x y w */
        enum turn turn;
    } cases[] = {
        {ONE, 0, 0, ONE, TURN_NONE},
        {0, ONE, -ONE, 0, TURN_RIGHT},
        {-ONE, 0, 0, -ONE, TURN_AROUND},
        {0, -ONE, ONE, 0, TURN_LEFT},
        {ONE / 10, ONE, -ONE, ONE / 10, TURN_RIGHT}, /* almost */
        {2 * ONE, 0, 0, ONE, TURN_NONE},             /* stretched */
        {-ONE, 0, 0, ONE, TURN_NONE},                /* mirrored */
        {0, 0, 0, 0, TURN_NONE},
        {1, 0, 0, 1, TURN_NONE},
        {INT32_MIN, 0, 0, INT32_MIN, TURN_AROUND},
        {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, TURN_NONE},
        {INT32_MAX, INT32_MIN, INT32_MAX, INT32_MAX, TURN_LEFT},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const int32_t matrix[9] = {
            [0] = cases[i].a, [1] = cases[i].b, [3] = cases[i].c, [4] = cases[i].d};
        if (turn_of_matrix(matrix) != cases[i].turn)
            fail_msg("case %zu: %d", i, (int)turn_of_matrix(matrix));
    }
}

enum { MAX_TIMES = 600 };

/* n frames at num/den a second, rounded to a clock of `tick` 1/90000 s. */
static struct cadence frames_at(int n, int num, int den, int tick)
{
    int64_t times[MAX_TIMES];

    for (int i = 0; i < n; i++)
        times[i] = (int64_t)i * CLOCK_HZ * den / num / tick * tick + 900000;
    return cadence_measure(times, (size_t)n, 3000);
}

static void the_same_rate_passes_one_to_one(void **state)
{
    static const struct {
        int n, num, den, tick;
        struct rate asked;
        bool passes;
    } cases[] = {
        {60, 30, 1, 1, {30, 1}, true},
        {60, 30, 1, 90, {30, 1}, true},      /* whole milliseconds, as in FLV */
        {60, 30000, 1001, 1, {30, 1}, true}, /* 0.1 % apart */
        {60, 30, 1, 1, {30000, 1001}, true},
        {300, 30000, 1001, 1, {30, 1}, true},
        {60, 25, 1, 1, {30, 1}, false},
        {120, 60, 1, 1, {30, 1}, false},
        {300, 296, 10, 1, {30, 1}, false}, /* 29.6 */
        {60, 25, 1, 1, {0, 1}, true},      /* as the source */
        {1, 25, 1, 1, {30, 1}, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cadence c = frames_at(cases[i].n, cases[i].num, cases[i].den, cases[i].tick);
        assert_int_equal(cadence_passes(&c, cases[i].asked), cases[i].passes);
    }
}

static void an_uneven_source_is_laid_on_the_grid(void **state)
{
    /* 30 a second on average, but four frames at once and then a pause */
    int64_t times[60];

    for (int i = 0; i < 60; i++)
        times[i] = (i / 4) * 12000 + (i % 4) * 100;
    struct cadence c = cadence_measure(times, 60, 3000);
    assert_false(c.regular);
    assert_false(cadence_passes(&c, (struct rate){30, 1}));
}

static void times_out_of_order_are_measured_in_order(void **state)
{
    int64_t times[] = {0, 9000, 3000, 6000}; /* decoding order of B-frames */
    struct cadence c = cadence_measure(times, 4, 3000);

    assert_true(c.regular);
    assert_int_equal(c.first, 0);
    assert_int_equal(c.last, 9000);
    assert_int_equal(c.end, 12000);
    assert_int_equal(cadence_rate(&c).num, 30000);
    assert_int_equal(cadence_rate(&c).den, 1000);
}

static void the_grid_starts_at_the_first_frame(void **state)
{
    struct cadence c = frames_at(50, 25, 1, 1); /* 2 s */
    struct rate thirty = {30, 1};

    assert_int_equal(grid_ticks(&c, thirty), 60);
    assert_int_equal(grid_time_of(&c, thirty, 0), 900000);
    assert_int_equal(grid_time_of(&c, thirty, 59), 900000 + 59 * 3000);
    assert_int_equal(grid_tick_of(&c, thirty, 900000), 0);
    assert_int_equal(grid_tick_of(&c, thirty, 899000), 0);
    assert_int_equal(grid_tick_of(&c, thirty, 900000 + 3600), 1);
    assert_int_equal(grid_tick_of(&c, thirty, 900000 + 7200), 2);
    assert_int_equal(grid_tick_of(&c, thirty, 900000 + 5 * 3600), 6);
}

static void hostile_times_do_not_overflow(void **state)
{
    int64_t far = INT64_C(1) << 50;
    int64_t times[] = {-far, far, 0};
    struct cadence c = cadence_measure(times, 3, 3000);
    struct rate fast = {UINT32_MAX, 1};

    (void)cadence_passes(&c, fast);
    assert_true(cadence_rate(&c).num >= 1000);
    assert_int_equal(cadence_measure(times, 0, 3000).frames, 0);
}

static void a_packet_tells_its_pictures(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        struct nal_summary sum;
    } cases[] = {
        {"\0\0\0\1\x09\xf0\0\0\1\x67\x42\0\0\1\x68\xce\0\0\1\x65\x88\x80", 24, {true, 1, true}},
        {"\0\0\1\x41\x9a\x02\0\0\1\x41\x0c\x01", 12, {true, 1, false}},        /* two slices */
        {"\0\0\1\x41\x9a\x02\0\0\1\x41\x9a\x01", 12, {true, 2, false}},        /* two pictures */
        {"\0\0\1\x41\x9a\x02\0\0\1\x06\x01\x01", 12, {true, 1, false}},        /* SEI behind it */
        {"\0\0\1\x06\x06\x01\xc4\x80\0\0\1\x41\x9a\x02", 14, {true, 1, true}}, /* recovery point */
        {"\x47\0\0\1\x65\x88", 6, {false, 1, true}},
        {"", 0, {false, 0, false}},
        {"\0\0\1", 3, {false, 0, false}},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct nal_summary sum = nal_summarize(slice_of(cases[i].bytes, cases[i].n));
        assert_int_equal(sum.annex_b, cases[i].sum.annex_b);
        assert_int_equal(sum.pictures, cases[i].sum.pictures);
        assert_int_equal(sum.key, cases[i].sum.key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rendition_keeps_the_sources_shape),
        cmocka_unit_test(a_shape_no_codec_takes_is_refused),
        cmocka_unit_test(any_matrix_gives_a_turn),
        cmocka_unit_test(the_same_rate_passes_one_to_one),
        cmocka_unit_test(an_uneven_source_is_laid_on_the_grid),
        cmocka_unit_test(times_out_of_order_are_measured_in_order),
        cmocka_unit_test(the_grid_starts_at_the_first_frame),
        cmocka_unit_test(hostile_times_do_not_overflow),
        cmocka_unit_test(a_packet_tells_its_pictures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
