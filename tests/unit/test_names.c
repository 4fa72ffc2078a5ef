/* Stream names and keys out of the paths of publishers and players. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/names.h"

static void names_and_keys(void **state)
{
    static const struct {
        const char *path;
        bool with_extension;
        const char *name, *key;
    } rows[] = {
        {"live/demo", false, "demo", ""},
        {"/live/demo/", false, "demo", ""},
        {"  /demo", false, "demo", ""},
        {"stream/demo", false, "demo", ""},
        {"stream/live/demo", false, "demo", ""},
        {"demo/k1", false, "demo", "k1"},
        {"live/demo/k1/k2", false, "demo", "k1/k2"},
        {"live/live", false, "live", ""}, /* the reference's streams of that name never play */
        {"live/live/key", false, "live", "key"},
        {"live/olive/oil", false, "olive", "oil"},
        {"live/a.b.c", false, "a.b.c", ""},
        {"/live/demo/12.ts", true, "demo", "12"},
        {"/live/a.b/12.ts", true, "a.b", "12"},
        {"/live/a.b/12", true, "a.b", "12"},
        {"/live/.ts", true, "", ""},
        {"live/bj\xc3\xb8rn", false, "bj\xc3\xb8rn", ""},
        {"live/..hidden", false, "..hidden", ""},
        {"", false, "", ""},
        {"///", false, "", ""},
        {"live/", false, "", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_name got;
        struct err err;

        assert_int_equal(
            stream_name_parse(slice_str(rows[i].path), rows[i].with_extension, &got, &err), RC_OK);
        assert_string_equal(got.name, rows[i].name);
        assert_string_equal(got.key, rows[i].key);
    }
}

static void refusals(void **state)
{
    static const struct {
        const char *path;
        size_t n;
        const char *word;
    } rows[] = {
        {"live/a\nb", 8, "control bytes"},
        {"live/a\0b", 8, "control bytes"},
        {"live/\x7f", 6, "control bytes"},
        {"live/\xff\xfe", 7, "UTF-8"},
        {"live/../etc", 11, "\"..\""},
        {"live/a/..", 9, "\"..\""},
        {"./a", 3, "\".\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_name got;
        struct err err;

        assert_int_equal(stream_name_parse(slice_of((const uint8_t *)rows[i].path, rows[i].n),
                                           false, &got, &err),
                         RC_BAD_INPUT);
        assert_non_null(strstr(err.text, rows[i].word));
    }
}

static void longest(void **state)
{
    char path[STREAM_NAME_MAX + STREAM_KEY_MAX + 3];
    struct stream_name got;
    struct err err;

    (void)state;
    memset(path, 'a', sizeof(path));
    path[STREAM_NAME_MAX] = '/';
    path[sizeof(path) - 2] = '\0';
    assert_int_equal(stream_name_parse(slice_str(path), false, &got, &err), RC_OK);
    assert_int_equal(strlen(got.name), STREAM_NAME_MAX);
    assert_int_equal(strlen(got.key), STREAM_KEY_MAX);
    path[STREAM_NAME_MAX] = 'a';
    path[STREAM_NAME_MAX + 1] = '/';
    assert_int_equal(stream_name_parse(slice_str(path), false, &got, &err), RC_BAD_INPUT);
    assert_string_equal(err.text, "stream name of 129 bytes, at most 128 are taken");
    memset(path, 'a', sizeof(path));
    path[1] = '/';
    path[STREAM_KEY_MAX + 3] = '\0';
    assert_int_equal(stream_name_parse(slice_str(path), false, &got, &err), RC_BAD_INPUT);
    assert_non_null(strstr(err.text, "stream key of 257 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_keys),
        cmocka_unit_test(refusals),
        cmocka_unit_test(longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
