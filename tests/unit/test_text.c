#include "tests/unit/unit.h"

#include "base/text.h"

typedef enum rc (*decoder)(struct buf *out, struct slice text, struct err *err);

struct decoding {
    const char *text;
    const char *bytes; /* NULL: refused */
    size_t n;          /* 0: up to the NUL */
};

static void check_decoder(decoder decode, const struct decoding *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        struct buf b;
        enum rc rc;

        buf_init(&b, 100);
        rc = decode(&b, slice_str(cases[i].text), &e);
        if ((rc == RC_OK) != (cases[i].bytes != NULL))
            fail_msg("\"%s\": %s %s", cases[i].text, rc_name(rc), e.text);
        if (rc == RC_OK) {
            size_t want = cases[i].n ? cases[i].n : strlen(cases[i].bytes);

            assert_true(slice_eq(buf_slice(&b), slice_of(cases[i].bytes, want)));
        } else {
            assert_int_equal(rc, RC_BAD_INPUT);
            assert_int_equal(e.code, rc);
        }
        buf_cleanup(&b);
    }
}

static void assert_too_long(decoder decode, const char *text)
{
    struct buf b;

    buf_init(&b, 2);
    assert_int_equal(decode(&b, slice_str(text), NULL), RC_LIMIT);
    buf_cleanup(&b);
}

/* RFC 4648 10, and what is not quite it. */
static void base64(void **state)
{
    static const struct decoding cases[] = {
        {"", "", 0},
        {"Zg==", "f", 0},
        {"Zm8=", "fo", 0},
        {"Zm9v", "foo", 0},
        {"Zm9vYg==", "foob", 0},
        {"Zm9vYmE=", "fooba", 0},
        {"Zm9vYmFy", "foobar", 0},
        {"AAAA", "\0\0\0", 3},
        {"+/+/", "\xfb\xff\xbf", 0},
        {"Zg", NULL, 0},
        {"Zg=", NULL, 0},
        {"Zg==Zg==", NULL, 0},
        {"Z===", NULL, 0},
        {"====", NULL, 0},
        {"Zm=v", NULL, 0},
        {"Zm9v\n", NULL, 0},
        {"Zm 9", NULL, 0},
        {"-_-_", NULL, 0},
        {"Zm9v=", NULL, 0},
        {"\xc3\xbc\xc3\xbc", NULL, 0},
    };

    check_decoder(base64_decode, cases, ARRAY_LEN(cases));
    for (size_t i = 0; i < 9; i++) { /* the good ones, back again */
        struct buf b;

        buf_init(&b, 100);
        base64_encode(&b,
                      slice_of(cases[i].bytes, cases[i].n ? cases[i].n : strlen(cases[i].bytes)));
        assert_string_equal(buf_cstr(&b), cases[i].text);
        buf_cleanup(&b);
    }
    assert_too_long(base64_decode, "Zm9v");
}

static void hex(void **state)
{
    static const struct decoding cases[] = {
        {"", "", 0},     {"00ff", "\0\xff", 2}, {"aBCd", "\xab\xcd", 0}, {"0", NULL, 0},
        {"0g", NULL, 0}, {"0x00", NULL, 0},     {" 0", NULL, 0},         {"+1", NULL, 0},
        {":a", NULL, 0}, {"@a", NULL, 0},       {"`a", NULL, 0},
    };

    check_decoder(hex_decode, cases, ARRAY_LEN(cases));
    assert_too_long(hex_decode, "000000");
}

static void percent(void **state)
{
    static const struct decoding cases[] = {
        {"", "", 0},
        {"a%41b", "aAb", 0},
        {"%2e%2E%2f", "../", 0},
        {"a+b", "a+b", 0},
        {"%2541", "%41", 0}, /* once */
        {"%c3%bc", "\xc3\xbc", 0},
        {"\xc3\xbc", "\xc3\xbc", 0},
        {"%", NULL, 0},
        {"%4", NULL, 0},
        {"%4g", NULL, 0},
        {"%%41", NULL, 0},
        {"%00", NULL, 0},
        {"%0a", NULL, 0},
        {"%7F", NULL, 0},
        {"a\nb", NULL, 0},
        {"a\x7f", NULL, 0},
    };

    check_decoder(percent_decode, cases, ARRAY_LEN(cases));
    assert_too_long(percent_decode, "%41%41%41");
}

static void percent_encoding(void **state)
{
    struct buf b;

    buf_init(&b, 100);
    percent_encode(&b, SLICE_LIT("aZ09-._~ /?%+&=\x00\xc3"));
    assert_string_equal(buf_cstr(&b), "aZ09-._~%20%2F%3F%25%2B%26%3D%00%C3");
    buf_cleanup(&b);
}

static void queries(void **state)
{
    static const struct {
        const char *query, *name, *value;
    } cases[] = {
        {"a=b&c=d", "a", "b"}, {"a=b&c=d", "c", "d"}, {"a=b&a=c", "a", "b"}, {"a", "a", ""},
        {"a=", "a", ""},       {"a=b=c", "a", "b=c"}, {"&&a=1&", "a", "1"},  {"aa=1", "a", NULL},
        {"b=a", "a", NULL},    {"", "a", NULL},       {"A=1", "a", NULL},    {"a=%41", "a", "%41"},
        {"=1", "a", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice v;
        bool found = query_get(slice_str(cases[i].query), cases[i].name, &v);

        assert_int_equal(found, cases[i].value != NULL);
        if (found)
            assert_slice(v, cases[i].value);
    }
    assert_false(query_get(slice_of(NULL, 0), "a", &(struct slice){0}));
}

static void printable(void **state)
{
    char out[256];
    uint8_t many[1000];

    assert_string_equal(text_printable(SLICE_LIT("ab ~\n\x00\x7f\xc3\xbc"), out),
                        "ab ~\\x0a\\x00\\x7f\\xc3\\xbc");
    assert_string_equal(text_printable(slice_of(NULL, 0), out), "");
    memset(many, 'x', sizeof(many));
    assert_int_equal(strlen(text_printable(slice_of(many, sizeof(many)), out)), 200);
    memset(many, 1, sizeof(many));
    for (size_t from = 0; from < 4; from++) { /* the last escape is whole */
        memset(many, 'x', from);
        assert_in_range(strlen(text_printable(slice_of(many, sizeof(many)), out)), 200, 203);
        assert_memory_equal(out + strlen(out) - 4, "\\x01", 4);
    }
}

static void html(void **state)
{
    struct buf b;

    buf_init(&b, 100);
    html_escape(&b, SLICE_LIT("<a href=\"x\">'&'</a>\xc3\xbc"));
    assert_string_equal(buf_cstr(&b),
                        "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;\xc3\xbc");
    buf_cleanup(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64),  cmocka_unit_test(hex),
        cmocka_unit_test(percent), cmocka_unit_test(percent_encoding),
        cmocka_unit_test(queries), cmocka_unit_test(printable),
        cmocka_unit_test(html),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
