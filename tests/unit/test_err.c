/* err and clock: what people read. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/rand.h"

static void sets_and_wraps(void **state)
{
    struct err e;

    assert_int_equal(err_set(&e, RC_STALE, "quote expired %d ms ago", 310), RC_STALE);
    assert_string_equal(e.text, "quote expired 310 ms ago");
    assert_int_equal(err_wrap(&e, RC_DENIED, "orchestrator %s", "a:8935"), RC_DENIED);
    assert_int_equal(e.code, RC_DENIED);
    assert_string_equal(e.text, "orchestrator a:8935: quote expired 310 ms ago");
    assert_int_equal(err_errno(&e, RC_IO, ENOENT, "%s", "cert.pem"), RC_IO);
    assert_string_equal(e.text, "cert.pem: No such file or directory");
}

static void nobody_has_to_listen(void **state)
{
    assert_int_equal(err_set(NULL, RC_BUSY, "x"), RC_BUSY);
    assert_int_equal(err_wrap(NULL, RC_BUSY, "x"), RC_BUSY);
    assert_int_equal(err_errno(NULL, RC_BUSY, EIO, "x"), RC_BUSY);
}

static void own_text_may_be_an_argument(void **state)
{
    struct err e;

    err_set(&e, RC_IO, "inner");
    err_set(&e, RC_IO, "<%s>", e.text);
    assert_string_equal(e.text, "<inner>");
    err_wrap(&e, RC_IO, "again %s", e.text);
    assert_string_equal(e.text, "again <inner>: <inner>");
}

static void long_sentences_are_cut_between_characters(void **state)
{
    char text[2 * ERR_TEXT_MAX + 1];
    struct err e;

    for (size_t start = 0; start < 4; start++) {
        memset(text, 0, sizeof(text));
        memset(text, 'x', start);
        while (strlen(text) + 4 < sizeof(text))
            strcat(text, "\xe2\x82\xac");
        err_set(&e, RC_IO, "%s", text);
        assert_in_range(strlen(e.text), ERR_TEXT_MAX - 4, ERR_TEXT_MAX - 1);
        assert_true(slice_is_utf8(slice_str(e.text)));
        err_set(&e, RC_IO, "tail");
        err_wrap(&e, RC_IO, "%s", text);
        assert_in_range(strlen(e.text), ERR_TEXT_MAX - 8, ERR_TEXT_MAX - 1);
        for (int i = 0; i < 300; i++)
            err_wrap(&e, RC_IO, "level %d", i);
        assert_true(strlen(e.text) < ERR_TEXT_MAX);
        assert_memory_equal(e.text, "level 299: level 298: ", 22);
    }
}

static void codes_have_names_and_statuses(void **state)
{
    assert_string_equal(rc_name(RC_OK), "ok");
    assert_string_equal(rc_name(RC_TIMEOUT), "timed out");
    assert_int_equal(rc_http_status(RC_TIMEOUT), 504);
    for (int rc = 0; rc < RC_COUNT; rc++) {
        assert_true(rc_name((enum rc)rc)[0]);
        assert_in_range(rc_http_status((enum rc)rc), 200, 599);
    }
}

static void dates(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1795543851123, "2026-11-24T18:10:51.123Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[CLOCK_TEXT_MAX];

        clock_format_utc(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void clocks_go_forward(void **state)
{
    int64_t us = clock_mono_us(), ms = clock_mono_ms();

    assert_true(ms >= us / 1000 && clock_mono_us() >= us);
    assert_true(clock_wall_ms() > 1700000000000);
}

static void random_bytes(void **state)
{
    uint8_t a[600] = {0}, zeros[32] = {0};
    double sum = 0;
    char hex[33];

    rand_bytes(a, sizeof(a));
    assert_memory_not_equal(a, zeros, sizeof(zeros));
    assert_memory_not_equal(a + sizeof(a) - 32, zeros, sizeof(zeros));
    assert_memory_not_equal(a, a + 300, 32);
    assert_true(rand_u64() != rand_u64());
    memset(hex, 'z', sizeof(hex));
    rand_hex(hex, 16);
    assert_int_equal(strspn(hex, "0123456789abcdef"), 32);
    assert_int_equal(hex[32], 0);
    hex[0] = 'z';
    rand_hex(hex, 0);
    assert_string_equal(hex, "");
    for (int i = 0; i < 1000; i++) {
        double u = rand_unit();

        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    assert_true(sum > 350 && sum < 650); /* 16 standard deviations */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_and_wraps),
        cmocka_unit_test(nobody_has_to_listen),
        cmocka_unit_test(own_text_may_be_an_argument),
        cmocka_unit_test(long_sentences_are_cut_between_characters),
        cmocka_unit_test(codes_have_names_and_statuses),
        cmocka_unit_test(dates),
        cmocka_unit_test(clocks_go_forward),
        cmocka_unit_test(random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
