/* The Livepeer-Transcode-Configuration header of a push. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "gateway/stream_config.h"

#define SMALL                                                                                      \
    "{\"name\":\"s\",\"width\":160,\"height\":90,\"bitrate\":100000,\"fps\":15,\"fpsDen\":1}"

static void what_it_chooses(void **state)
{
    static const struct {
        const char *header;
        const char *manifest_id;
        bool has_profiles;
        size_t n;
        const char *first;
    } rows[] = {
        {"", "", false, 0, NULL},
        {"{}", "", false, 0, NULL},
        {"{\"manifestID\":\"a\"}", "a", false, 0, NULL},
        {"{\"manifestID\":\"live/a/b\"}", "a", false, 0, NULL}, /* passes the naming rule */
        {"{\"profiles\":null,\"presets\":null}", "", false, 0, NULL},
        {"{\"profiles\":[]}", "", true, 0, NULL}, /* do not transcode */
        {"{\"presets\":[]}", "", false, 0, NULL}, /* the gateway's own */
        {"{\"presets\":[\"P144p30fps16x9\"]}", "", true, 1, "P144p30fps16x9"},
        {"{\"presets\":[\"P144p30fps16x9\",\"nonsense\",7]}", "", true, 1, "P144p30fps16x9"},
        {"{\"profiles\":[" SMALL "]}", "", true, 1, "s"},
        {"{\"presets\":[\"P144p30fps16x9\"],\"profiles\":[" SMALL "]}", "", true, 2,
         "P144p30fps16x9"},
        {"{\"unknown\":{\"deep\":[1,2]}}", "", false, 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_config got;
        struct err err = {0};

        assert_int_equal(stream_config_read(slice_str(rows[i].header), &got, &err), RC_OK);
        assert_string_equal(got.manifest_id, rows[i].manifest_id);
        assert_int_equal(got.has_profiles, rows[i].has_profiles);
        assert_int_equal(got.n_profiles, rows[i].n);
        if (rows[i].first)
            assert_string_equal(got.profiles[0].name, rows[i].first);
    }
}

static void refusals(void **state)
{
    static const char *const rows[] = {
        "nonsense",
        "{",
        "[]",
        "7",
        "{\"presets\":\"P144p30fps16x9\"}",
        "{\"profiles\":{}}",
        "{\"profiles\":[7]}",
        "{\"profiles\":[{\"name\":\"a\",\"width\":-1,\"height\":90}]}",
        "{\"manifestID\":7}",
        "{\"manifestID\":\"../a\"}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_config got;
        struct err err = {0};

        assert_int_not_equal(stream_config_read(slice_str(rows[i]), &got, &err), RC_OK);
        assert_int_not_equal(err.text[0], 0);
    }
}

static void too_many(void **state)
{
    struct stream_config got;
    struct err err = {0};
    struct buf text;

    (void)state;
    buf_init(&text, 1 << 16);
    buf_str(&text, "{\"presets\":[");
    for (int i = 0; i <= MAX_PROFILES; i++)
        buf_printf(&text, "%s\"P144p30fps16x9\"", i ? "," : "");
    buf_str(&text, "]}");
    assert_int_equal(stream_config_read(buf_slice(&text), &got, &err), RC_LIMIT);
    buf_cleanup(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_chooses),
        cmocka_unit_test(refusals),
        cmocka_unit_test(too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
