/* What a stream is told by the header of a push, or by the auth webhook. */
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
        "{\"presets\":[\"P144p30fps16x9\"],\"profiles\":[{\"name\":\"P144p30fps16x9\","
        "\"width\":1,\"height\":1,\"bitrate\":1}]}",
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

/* Fault: an operator reads "bad input" and has to guess which of thirty values. */
static void errors_name_field_value_and_expectation(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"{\"objectStore\":\"s3://a\"}", "field \"objectStore\": this version of leat stores no"},
        {"{\"recordObjectStore\":\"s3://a\"}", "field \"recordObjectStore\": this version"},
        {"{\"timeoutMultiplier\":11}", "field \"timeoutMultiplier\": expected 0 to 10, got 11"},
        {"{\"timeoutMultiplier\":-1}", "field \"timeoutMultiplier\": expected 0 to 10, got -1"},
        {"{\"forceSessionReinit\":1}", "field \"forceSessionReinit\": expected"},
        {"{\"streamKey\":7}", "field \"streamKey\": expected a text, got a whole number"},
        {"{\"presets\":7}", "field \"presets\": expected an array of preset names"},
        {"{\"profiles\":[{\"width\":-1,\"height\":90,\"bitrate\":1}]}",
         "field \"profiles\": profile 0: field \"width\": expected no negative number, got -1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_config got;
        struct err err = {0};

        assert_int_not_equal(stream_config_read(slice_str(rows[i].text), &got, &err), RC_OK);
        assert_memory_equal(err.text, rows[i].says, strlen(rows[i].says));
    }
}

static void the_other_fields(void **state)
{
    struct stream_config got;

    (void)state;
    assert_int_equal(
        stream_config_read(slice_str("{\"streamKey\":\"k\",\"timeoutMultiplier\":3,"
                                     "\"forceSessionReinit\":true,\"verificationFreq\":2,"
                                     "\"objectStore\":\"\",\"presets\":[\"P144p30fps16x9\","
                                     "\"no\\n\",\" P144p30fps16x9 \"]}"),
                           &got, NULL),
        RC_OK);
    assert_string_equal(got.stream_key, "k");
    assert_int_equal(got.timeout_multiplier, 3);
    assert_true(got.reinit);
    assert_int_equal(got.verification_freq, 2);
    assert_int_equal(got.n_presets, 1); /* one name is one rendition */
    assert_string_equal(got.unknown_preset, "no\\x0a");
}

static void header_and_webhook(void **state)
{
    static const struct {
        const char *header, *webhook;
        bool agrees;
        const char *manifest_id;
        size_t n;
    } rows[] = {
        {"", "", true, "", 0},
        {"", "{\"manifestID\":\"w\",\"profiles\":[" SMALL "]}", true, "w", 1},
        {"{\"manifestID\":\"h\"}", "{\"manifestID\":\"w\"}", true, "h", 0},
        {"{}", "{\"manifestID\":\"w\",\"presets\":[\"P144p30fps16x9\"]}", true, "", 0},
        {"{\"profiles\":[" SMALL "]}", "", true, "", 1},
        {"{\"profiles\":[" SMALL "]}", "{\"manifestID\":\"w\",\"profiles\":[" SMALL "]}", true, "",
         1},
        {"{\"profiles\":[" SMALL "]}", "{\"manifestID\":\"w\"}", false, "", 1},
        {"{\"manifestID\":\"h\"}", "{\"manifestID\":\"w\",\"profiles\":[" SMALL "]}", false, "h",
         0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_config header, webhook;
        struct err err = {0};

        assert_int_equal(stream_config_read(slice_str(rows[i].header), &header, NULL), RC_OK);
        assert_int_equal(stream_config_read(slice_str(rows[i].webhook), &webhook, NULL), RC_OK);
        assert_int_equal(stream_config_merge(&header, &webhook, &err) == RC_OK, rows[i].agrees);
        assert_string_equal(header.manifest_id, rows[i].manifest_id);
        assert_int_equal(header.n_profiles, rows[i].n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_chooses),
        cmocka_unit_test(refusals),
        cmocka_unit_test(too_many),
        cmocka_unit_test(errors_name_field_value_and_expectation),
        cmocka_unit_test(the_other_fields),
        cmocka_unit_test(header_and_webhook),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
