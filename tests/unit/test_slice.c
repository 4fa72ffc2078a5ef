#include "tests/unit/unit.h"

#include <stdlib.h>

#include "base/base_int.h"

static void equality(void **state)
{
    static const struct {
        const char *a, *b;
        bool same, same_nocase;
    } cases[] = {
        {"", "", true, true},          {"a", "", false, false},      {"", "a", false, false},
        {"Host", "host", false, true}, {"Host", "Host", true, true}, {"[", "{", false, false},
        {"abc", "abd", false, false},  {"@", "`", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice a = slice_str(cases[i].a);

        assert_int_equal(slice_eq_str(a, cases[i].b), cases[i].same);
        assert_int_equal(slice_eq(a, slice_str(cases[i].b)), cases[i].same);
        assert_int_equal(slice_eq_secret(a, slice_str(cases[i].b)), cases[i].same);
        assert_int_equal(slice_eq_nocase(a, cases[i].b), cases[i].same_nocase);
    }
    assert_true(slice_eq(slice_of(NULL, 0), slice_str("")));
    assert_true(slice_eq_secret(slice_of(NULL, 0), slice_of(NULL, 0)));
    assert_false(slice_eq_secret(slice_str("ab"), slice_str("abab"))); /* a repeat is no match */
    assert_false(slice_eq_secret(slice_str("abab"), slice_str("ab")));
}

static void ends(void **state)
{
    struct slice s = SLICE_LIT("live/demo.ts"), none = {0};

    assert_true(slice_has_prefix(s, "live/") && slice_has_suffix(s, ".ts"));
    assert_true(slice_has_prefix(s, "") && slice_has_suffix(s, ""));
    assert_true(slice_has_prefix(s, "live/demo.ts") && slice_has_suffix(s, "live/demo.ts"));
    assert_false(slice_has_prefix(s, "live/demo.tsx") || slice_has_suffix(s, "xlive/demo.ts"));
    assert_true(slice_has_prefix(none, "") && slice_has_suffix(none, ""));
    assert_false(slice_has_prefix(none, "a") || slice_has_suffix(none, "a"));
}

static void parts_are_clamped(void **state)
{
    static const struct {
        size_t from, n;
        const char *want;
    } cases[] = {
        {0, 3, "abc"}, {1, 1, "b"}, {2, SIZE_MAX, "c"}, {3, 1, ""}, {SIZE_MAX, SIZE_MAX, ""},
        {0, 0, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_slice(slice_sub(SLICE_LIT("abc"), cases[i].from, cases[i].n), cases[i].want);
    assert_slice(slice_skip(SLICE_LIT("abc"), 2), "c");
    assert_slice(slice_skip(SLICE_LIT("abc"), 4), "");
    assert_slice(slice_skip(slice_of(NULL, 0), 1), "");
}

static void trimming(void **state)
{
    assert_slice(slice_trim(SLICE_LIT(" \t\r\n\v\fa b\n ")), "a b");
    assert_slice(slice_trim(SLICE_LIT(" \n ")), "");
    assert_slice(slice_trim(slice_of(NULL, 0)), "");
    assert_slice(slice_trim(SLICE_LIT("\xa0x")), "\xa0x"); /* ASCII only */
}

static void splitting(void **state)
{
    static const struct {
        const char *text, *heads[4];
    } cases[] = {
        {"a,b,c", {"a", "b", "c"}}, {"abc", {"abc"}}, {"a,", {"a", ""}}, {",", {"", ""}},
        {",,a", {"", "", "a"}},     {"", {""}},
    };
    struct slice none = {0}, head;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice s = slice_str(cases[i].text);
        size_t n = 0;

        while (slice_split(&s, ',', &head)) {
            assert_true(n < 4 && cases[i].heads[n]);
            assert_slice(head, cases[i].heads[n++]);
        }
        assert_true(n == 4 || !cases[i].heads[n]);
    }
    assert_false(slice_split(&none, ',', &head));
}

static void finding(void **state)
{
    assert_int_equal(slice_find(SLICE_LIT("a=b=c"), '='), 1);
    assert_int_equal(slice_find(SLICE_LIT("abc"), '='), 3);
    assert_int_equal(slice_find(SLICE_LIT("a\0b"), 'b'), 2);
    assert_int_equal(slice_find(slice_of(NULL, 0), 'a'), 0);
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", 10, true, 0},
        {"10", 10, true, 10},
        {"007", 10, true, 7},
        {"11", 10, false, 0},
        {"", 10, false, 0},
        {"-1", 10, false, 0},
        {"+1", 10, false, 0},
        {" 1", 10, false, 0},
        {"1 ", 10, false, 0},
        {"1e1", 100, false, 0},
        {"0x1", 100, false, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999999999", UINT64_MAX, false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 77;

        assert_int_equal(slice_u64(slice_str(cases[i].text), cases[i].max, &v), cases[i].ok);
        assert_int_equal(v, cases[i].ok ? cases[i].value : 77);
    }
}

static void utf8(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"", true},
        {"plain", true},
        {"\x7f", true},
        {"gr\xc3\xbc\xc3\x9f", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x8e\xa5", true},
        {"\xf4\x8f\xbf\xbf", true},  /* U+10FFFF */
        {"\xf4\x90\x80\x80", false}, /* above it */
        {"\xc0\x80", false},         /* overlong NUL */
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false}, /* overlong */
        {"\xe0\xa0\x80", true},
        {"\xf0\x8f\xbf\xbf", false}, /* overlong */
        {"\xf0\x90\x80\x80", true},
        {"\xed\x9f\xbf", true},
        {"\xed\xa0\x80", false}, /* surrogate */
        {"\xee\x80\x80", true},
        {"\x80", false}, /* goes on with nothing */
        {"\xc3", false}, /* cut short */
        {"\xe2\x82", false},
        {"\xf0\x9f\x8e", false},
        {"\xc3\x28", false},
        {"\xf8\x88\x80\x80\x80", false},
        {"\xff", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (slice_is_utf8(slice_str(cases[i].text)) != cases[i].good)
            fail_msg("case %zu is %s", i, cases[i].good ? "good" : "bad");
    assert_false(slice_is_utf8(SLICE_LIT("a\0b")));
}

static void cutting_between_characters(void **state)
{
    static const struct {
        const char *text;
        size_t max, want;
    } cases[] = {
        {"abc", 5, 3},
        {"abc", 3, 3},
        {"abc", 2, 2},
        {"a\xc3\xbc", 3, 3},
        {"a\xc3\xbc", 2, 1},
        {"\xe2\x82\xac", 2, 0},
        {"\xe2\x82\xac", 0, 0},
        {"x\xf0\x9f\x8e\xa5", 4, 1},
        {"\x80\x80\x80\x80\x80\x80", 5, 5},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(utf8_cut(slice_str(cases[i].text), cases[i].max), cases[i].want);
}

static void copies(void **state)
{
    char *copy = slice_dup(SLICE_LIT("a\0b"));

    assert_memory_equal(copy, "a\0b", 4);
    free(copy);
    copy = slice_dup(slice_of(NULL, 0));
    assert_string_equal(copy, "");
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality),
        cmocka_unit_test(ends),
        cmocka_unit_test(parts_are_clamped),
        cmocka_unit_test(trimming),
        cmocka_unit_test(splitting),
        cmocka_unit_test(finding),
        cmocka_unit_test(numbers),
        cmocka_unit_test(utf8),
        cmocka_unit_test(cutting_between_characters),
        cmocka_unit_test(copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
