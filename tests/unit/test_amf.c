/* media/rtmp/amf.c: each kind of value, hostile lengths and depths, and what we write read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "media/rtmp/amf.h"

#define TEN_OBJECTS                                                                                \
    "\x03\0\1a\x03\0\1a\x03\0\1a\x03\0\1a\x03\0\1a\x03\0\1a\x03\0\1a\x03\0\1a\x03\0\1a\x03\0\1a"

static void test_values(void **state)
{
    static const struct {
        const char *name;
        struct slice bytes;
        enum amf_type type;
        double number;
        const char *text;
    } cases[] = {
        {"number", SLICE_LIT("\0\x3f\xf0\0\0\0\0\0\0"), AMF_NUMBER, 1, NULL},
        {"negative", SLICE_LIT("\0\xc0\x45\0\0\0\0\0\0"), AMF_NUMBER, -42, NULL},
        {"true", SLICE_LIT("\1\1"), AMF_FLAG, 1, NULL},
        {"false", SLICE_LIT("\1\0"), AMF_FLAG, 0, NULL},
        {"text", SLICE_LIT("\2\0\3abc"), AMF_TEXT, 0, "abc"},
        {"empty text", SLICE_LIT("\2\0\0"), AMF_TEXT, 0, ""},
        {"long text", SLICE_LIT("\x0c\0\0\0\2hi"), AMF_TEXT, 0, "hi"},
        {"XML", SLICE_LIT("\x0f\0\0\0\2<>"), AMF_TEXT, 0, "<>"},
        {"null", SLICE_LIT("\5"), AMF_NULL, 0, NULL},
        {"undefined", SLICE_LIT("\6"), AMF_NULL, 0, NULL},
        {"unsupported", SLICE_LIT("\x0d"), AMF_NULL, 0, NULL},
        {"reference", SLICE_LIT("\7\0\1"), AMF_NULL, 0, NULL},
        {"date", SLICE_LIT("\x0b\x40\x8f\x40\0\0\0\0\0\0\0"), AMF_NUMBER, 1000, NULL},
        {"object", SLICE_LIT("\3\0\1a\2\0\1b\0\0\x09"), AMF_OBJECT, 0, NULL},
        {"empty object", SLICE_LIT("\3\0\0\x09"), AMF_OBJECT, 0, NULL},
        {"typed object", SLICE_LIT("\x10\0\1T\0\1a\5\0\0\x09"), AMF_OBJECT, 0, NULL},
        {"ECMA array, its count a lie", SLICE_LIT("\x08\xff\xff\xff\xff\0\1a\5\0\0\x09"),
         AMF_OBJECT, 0, NULL},
        {"list", SLICE_LIT("\x0a\0\0\0\2\5\1\1"), AMF_LIST, 0, NULL},
        {"AMF3 null", SLICE_LIT("\x11\1"), AMF_NULL, 0, NULL},
        {"AMF3 true", SLICE_LIT("\x11\3"), AMF_FLAG, 1, NULL},
        {"AMF3 integer of two bytes", SLICE_LIT("\x11\4\x81\x02"), AMF_NUMBER, 130, NULL},
        {"AMF3 integer of four bytes", SLICE_LIT("\x11\4\xff\xff\xff\xff"), AMF_NUMBER, -1, NULL},
        {"AMF3 double", SLICE_LIT("\x11\5\x3f\xf0\0\0\0\0\0\0"), AMF_NUMBER, 1, NULL},
        {"AMF3 text", SLICE_LIT("\x11\6\7abc"), AMF_TEXT, 0, "abc"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice in = cases[i].bytes;
        struct amf_value v;

        print_message("%s\n", cases[i].name);
        assert_true(amf_read(&in, &v));
        assert_int_equal(in.n, 0);
        assert_int_equal(v.type, cases[i].type);
        if (v.type == AMF_NUMBER)
            assert_true(v.number == cases[i].number);
        if (v.type == AMF_FLAG)
            assert_true(v.flag == (cases[i].number == 1));
        if (v.type == AMF_TEXT)
            assert_true(slice_eq_str(v.text, cases[i].text));

        /* Cut short anywhere it is nothing, and reads no byte beyond. */
        for (size_t n = 0; n < cases[i].bytes.n; n++) {
            uint8_t *exact = malloc(n ? n : 1);
            struct slice cut = {exact, n};

            memcpy(exact, cases[i].bytes.p, n);
            assert_false(amf_read(&cut, &v));
            assert_int_equal(cut.n, 0);
            free(exact);
        }
    }
}

static void test_hostile(void **state)
{
    static const struct {
        const char *name;
        struct slice bytes;
        bool reads;
    } cases[] = {
        {"unknown marker", SLICE_LIT("\x20"), false},
        {"a movie clip, which nobody sends", SLICE_LIT("\4"), false},
        {"an end without an object", SLICE_LIT("\x09"), false},
        {"list of 4 billion", SLICE_LIT("\x0a\xff\xff\xff\xff\5\5\5\5"), false},
        {"text longer than the message",
         SLICE_LIT("\2\xff\xff"
                   "a"),
         false},
        {"long text of 4 GiB",
         SLICE_LIT("\x0c\xff\xff\xff\xff"
                   "a"),
         false},
        {"object without an end", SLICE_LIT("\3\0\1a\5"), false},
        {"AMF3 object", SLICE_LIT("\x11\x0a\x0b\1\1"), false},
        {"AMF3 text by reference", SLICE_LIT("\x11\6\2"), false},
        {"depth 15",
         SLICE_LIT(TEN_OBJECTS "\3\0\1a\3\0\1a\3\0\1a\3\0\1a\3\0\1a\5"
                               "\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09"
                               "\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09"),
         true},
        {"depth 16",
         SLICE_LIT(TEN_OBJECTS "\3\0\1a\3\0\1a\3\0\1a\3\0\1a\3\0\1a\3\0\1a\5"
                               "\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09"
                               "\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09\0\0\x09"),
         false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice in = cases[i].bytes;
        struct amf_value v;

        print_message("%s\n", cases[i].name);
        assert_int_equal(amf_read(&in, &v), cases[i].reads);
    }
}

static void test_members(void **state)
{
    struct slice in = SLICE_LIT(
        "\3\0\3app\2\0\4live\0\5tcurl\2\0\1u\0\1n\0\x40\0\0\0\0\0\0\0\0\0\x09");
    struct amf_value object, v;

    (void)state;
    assert_true(amf_read(&in, &object));
    assert_true(slice_eq_str(amf_find_text(&object, "app"), "live"));
    assert_true(slice_eq_str(amf_find_text(&object, "tcUrl"), "u")); /* spelled tcurl by some */
    assert_true(amf_find(&object, "n", &v));
    assert_true(v.type == AMF_NUMBER && v.number == 2);
    assert_int_equal(amf_find_text(&object, "n").n, 0); /* there, but no text */
    assert_false(amf_find(&object, "ap", &v));
    assert_false(amf_find(&object, "appx", &v));

    v = (struct amf_value){.type = AMF_NUMBER};
    assert_false(amf_find(&v, "app", &object)); /* in what is no object there is nothing */
}

static void test_round_trip(void **state)
{
    struct buf b;
    struct slice in;
    struct amf_value v, member;
    char *big = malloc(70000);

    (void)state;
    memset(big, 'x', 70000);
    buf_init(&b, 1 << 20);
    amf_put_number(&b, 1.5);
    amf_put_text(&b, SLICE_LIT("hello"));
    amf_put_text(&b, slice_of(big, 70000));
    amf_put_flag(&b, true);
    amf_put_null(&b);
    amf_open_object(&b);
    amf_put_key(&b, "k");
    amf_put_number(&b, 7);
    amf_close(&b);
    amf_open_map(&b, 1);
    amf_put_key(&b, "list");
    amf_open_list(&b, 2);
    amf_put_null(&b);
    amf_put_number(&b, 9);
    amf_close(&b);
    assert_true(buf_ok(&b));

    in = buf_slice(&b);
    assert_true(amf_read(&in, &v) && v.type == AMF_NUMBER && v.number == 1.5);
    assert_true(amf_read(&in, &v) && slice_eq_str(v.text, "hello"));
    assert_true(amf_read(&in, &v) && slice_eq(v.text, slice_of(big, 70000)));
    assert_true(amf_read(&in, &v) && v.type == AMF_FLAG && v.flag);
    assert_true(amf_read(&in, &v) && v.type == AMF_NULL);
    assert_true(amf_read(&in, &v) && amf_find(&v, "k", &member) && member.number == 7);
    assert_true(amf_read(&in, &v) && amf_find(&v, "list", &member) && member.type == AMF_LIST);
    assert_true(amf_read(&member.members, &v) && v.type == AMF_NULL);
    assert_true(amf_read(&member.members, &v) && v.number == 9);
    assert_false(amf_read(&member.members, &v));
    assert_false(amf_read(&in, &v));
    buf_cleanup(&b);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
