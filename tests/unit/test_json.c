#include "tests/unit/unit.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"

static char *nested(const char *open, int depth, const char *close)
{
    struct buf b;
    size_t n;

    buf_init(&b, 1 << 20);
    for (int i = 0; i < depth; i++)
        buf_str(&b, open);
    for (int i = 0; i < depth; i++)
        buf_str(&b, close);
    buf_cstr(&b);
    return (char *)buf_take(&b, &n);
}

static void parses_or_tells_why(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {"{}", true},
        {"[]", true},
        {" {\"a\": [1, 2.5, -3e2, true, null, \"x\\u00e9\"]} \n", true},
        {"7", true},
        {"\"[[[\\\"[[\"", true},
        {"", false},
        {"   ", false},
        {"{", false},
        {"{\"a\":1,}", false},
        {"{\"a\":1} x", false},
        {"{a:1}", false},
        {"[1,2", false},
        {"\"\\", false},
        {"{\"a\":1,\"a\":2}", false},
        {"{\"x\":{\"a\":1,\"\\u0061\":2}}", false},
        {"\"\\u0000\"", false},
        {"{\"a\\u0000\":1}", false},
        {"\"\xff\"", false},
        {"\"\\ud800\"", false},
        {"[1e999]", false},
        {"[99999999999999999999999]", false},
        {"]]]]", false},
        {"nul", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        json_t *v = json_parse(slice_str(cases[i].text), &e);

        if ((v != NULL) != cases[i].ok)
            fail_msg("%s: %s", cases[i].text, e.text);
        if (!v) {
            assert_int_equal(e.code, RC_BAD_INPUT);
            assert_true(slice_is_utf8(slice_str(e.text)) && e.text[0]);
            assert_null(json_parse(slice_str(cases[i].text), NULL));
        }
        json_decref(v);
    }
    assert_null(json_parse(slice_of(NULL, 0), NULL));
    assert_null(json_parse(SLICE_LIT("{}\0"), NULL));
}

static void depth_is_limited(void **state)
{
    static const struct {
        const char *open, *close;
        int depth;
        bool ok;
    } cases[] = {
        {"[", "]", 32, true},         {"[", "]", 33, false},
        {"{\"a\":[", "]}", 16, true}, {"[", "]", 100000, false},
        {"[", "", 100000, false},     {"{\"a\":", "}", 100000, false},
        {"[\"]]\",", "]", 33, false}, {"{\"a\":[", "]}", 17, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = nested(cases[i].open, cases[i].depth, cases[i].close);
        struct err e = {0};
        json_t *v = json_parse(slice_str(text), &e);

        assert_int_equal(v != NULL, cases[i].ok);
        if (!cases[i].ok)
            assert_string_equal(e.text, "JSON is nested deeper than 32 levels");
        json_decref(v);
        free(text);
    }
}

struct request {
    char *name;
    uint32_t timeout_ms;
    int64_t offset;
    double score;
    bool live;
};

static enum rc read_request(const char *text, struct request *r, struct err *err)
{
    const struct json_field fields[] = {
        {"name", JSON_REQUIRED, json_text, &r->name, 8},
        {"timeout_ms", JSON_OPTIONAL, json_u32, &r->timeout_ms, 60000},
        {"offset", JSON_OPTIONAL, json_i64, &r->offset, 1000},
        {"score", JSON_OPTIONAL, json_double, &r->score, 10},
        {"live", JSON_OPTIONAL, json_flag, &r->live, 0},
    };
    json_t *v = json_parse(slice_str(text), err);
    enum rc rc;

    assert_non_null(v);
    rc = json_read(v, fields, ARRAY_LEN(fields), err);
    json_decref(v);
    return rc;
}

static void fields_are_read(void **state)
{
    struct request r = {.timeout_ms = 5, .offset = 6, .score = 7};
    struct err e;

    assert_int_equal(read_request("{\"name\":\"a\",\"else\":[1]}", &r, &e), RC_OK);
    assert_string_equal(r.name, "a");
    assert_true(r.timeout_ms == 5 && r.offset == 6 && r.score == 7 && !r.live);
    assert_int_equal(read_request("{\"name\":\"12345678\",\"timeout_ms\":60000,\"offset\":-1000,"
                                  "\"score\":-2.5,\"live\":true}",
                                  &r, &e),
                     RC_OK);
    assert_string_equal(r.name, "12345678"); /* the text before it was freed */
    assert_true(r.timeout_ms == 60000 && r.offset == -1000 && r.score == -2.5 && r.live);
    assert_int_equal(read_request("{\"name\":\"b\",\"score\":3,\"offset\":null}", &r, &e), RC_OK);
    assert_true(r.score == 3 && r.offset == -1000);
    free(r.name);
}

static void wrong_fields_are_named(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"[]", "expected an object, got an array"},
        {"{}", "field \"name\" is missing"},
        {"{\"name\":null}", "field \"name\" is missing"},
        {"{\"name\":1}", "field \"name\": expected a text, got a whole number"},
        {"{\"name\":{}}", "field \"name\": expected a text, got an object"},
        {"{\"name\":\"123456789\"}", "field \"name\": expected at most 8 bytes of text, got 9"},
        {"{\"name\":\"a\",\"timeout_ms\":60001}",
         "field \"timeout_ms\": expected 0 to 60000, got 60001"},
        {"{\"name\":\"a\",\"timeout_ms\":-1}", "field \"timeout_ms\": expected 0 to 60000, got -1"},
        {"{\"name\":\"a\",\"timeout_ms\":1.0}",
         "field \"timeout_ms\": expected a whole number, got a number"},
        {"{\"name\":\"a\",\"timeout_ms\":\"1\"}",
         "field \"timeout_ms\": expected a whole number, got a text"},
        {"{\"name\":\"a\",\"offset\":-9223372036854775808}",
         "field \"offset\": expected -1000 to 1000, got -9223372036854775808"},
        {"{\"name\":\"a\",\"score\":10.5}", "field \"score\": expected -10 to 10, got 10.5"},
        {"{\"name\":\"a\",\"score\":true}",
         "field \"score\": expected a number, got true or false"},
        {"{\"name\":\"a\",\"live\":1}",
         "field \"live\": expected true or false, got a whole number"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request r = {0};
        struct err e = {0};

        assert_int_equal(read_request(cases[i].text, &r, &e), RC_BAD_INPUT);
        assert_string_equal(e.text, cases[i].error);
        assert_int_equal(e.code, RC_BAD_INPUT);
        assert_int_equal(read_request(cases[i].text, &r, NULL), RC_BAD_INPUT);
        free(r.name);
    }
}

static void u32_keeps_to_its_width(void **state)
{
    json_t *fits = json_integer(UINT32_MAX), *not = json_integer((json_int_t)UINT32_MAX + 1);
    uint32_t v = 0;

    assert_int_equal(json_u32(fits, &v, INT64_MAX, NULL), RC_OK);
    assert_int_equal(v, UINT32_MAX);
    assert_int_equal(json_u32(not, &v, INT64_MAX, NULL), RC_BAD_INPUT);
    json_decref(fits);
    json_decref(not );
}

static void writes(void **state)
{
    struct buf b;
    struct json_out j;

    buf_init(&b, 10000);
    j = json_out_of(&b);
    jo_open(&j, NULL, '{');
    jo_text(&j, "text", "a\"b\\c/\n\t\x01\x7f");
    jo_text(&j, "none", NULL);
    jo_slice(&j, "bytes",
             SLICE_LIT("\xff"
                       "a\0\xc3\xbc\xed\xa0\x80"));
    jo_int(&j, "least", INT64_MIN);
    jo_real(&j, "real", 2.0 / 3, 3);
    jo_real(&j, "nan", NAN, 3);
    jo_real(&j, "inf", -INFINITY, 3);
    jo_flag(&j, "flag", false);
    jo_open(&j, "list", '[');
    jo_int(&j, NULL, 1);
    jo_open(&j, NULL, '{');
    jo_close(&j, '}');
    jo_open(&j, NULL, '[');
    jo_close(&j, ']');
    jo_text(&j, NULL, "");
    jo_close(&j, ']');
    jo_flag(&j, "k\"ey", true);
    jo_close(&j, '}');
    assert_string_equal(
        buf_cstr(&b),
        "{\"text\":\"a\\\"b\\\\c/\\u000a\\u0009\\u0001\x7f\",\"none\":null,"
        "\"bytes\":\"\\ufffda\\u0000\xc3\xbc\\ufffd\\ufffd\\ufffd\","
        "\"least\":-9223372036854775808,\"real\":0.667,\"nan\":null,\"inf\":null,\"flag\":false,"
        "\"list\":[1,{},[],\"\"],\"k\\\"ey\":true}");
    buf_cleanup(&b);
}

/* Every byte, and every pair that could begin a character, comes back as JSON. */
static void what_it_writes_can_be_read(void **state)
{
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second += 5) {
            const uint8_t bytes[] = {(uint8_t)first, (uint8_t)second};
            struct json_out j;
            struct buf b;
            json_t *v;

            buf_init(&b, 100);
            j = json_out_of(&b);
            jo_slice(&j, NULL, slice_of(bytes, 2));
            v = json_loadb((const char *)b.p, b.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            if (!v)
                fail_msg("%02x %02x became %s", first, second, buf_cstr(&b));
            if (slice_is_utf8(slice_of(bytes, 2)))
                assert_memory_equal(json_string_value(v), bytes, 2);
            json_decref(v);
            buf_cleanup(&b);
        }
    }
}

static void too_much_is_seen_at_the_end(void **state)
{
    struct buf b;
    struct json_out j;

    buf_init(&b, 20);
    j = json_out_of(&b);
    jo_open(&j, NULL, '[');
    for (int i = 0; i < 20; i++)
        jo_int(&j, NULL, i);
    jo_close(&j, ']');
    assert_false(buf_ok(&b));
    buf_cleanup(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_or_tells_why),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(fields_are_read),
        cmocka_unit_test(wrong_fields_are_named),
        cmocka_unit_test(u32_keeps_to_its_width),
        cmocka_unit_test(writes),
        cmocka_unit_test(what_it_writes_can_be_read),
        cmocka_unit_test(too_much_is_seen_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
