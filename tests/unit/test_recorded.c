#include "tests/unit/unit.h"

#include <stdio.h>

#include "output/recorded.h"

#define TRACKS                                                                                     \
    "\"tracks\":[{\"name\":\"source\",\"bandwidth\":4000000,\"resolution\":\"1280x720\"},"         \
    "{\"name\":\"240p\",\"resolution\":\"0x0\"},{\"name\":\"empty\"}]"

/* Written by one node, then by another after the first broke off; out of order, one twice. */
static const char first[] = "{" TRACKS ",\"segments\":{\"source\":["
                            "{\"uri\":\"https://h/b/old/n/source/0.ts\",\"duration_ms\":2000}]}}";
static const char second[] =
    "{\"duration_ms\":4001," TRACKS ",\"segments\":{\"source\":["
    "{\"seq_no\":2,\"uri\":\"https://h/b/new/n/source/2.ts\",\"duration_ms\":2001},"
    "{\"seq_no\":1,\"uri\":\"https://h/b/new/n/source/1.ts\",\"duration_ms\":2000}],"
    "\"240p\":[{\"seq_no\":1,\"uri\":\"new/n/240p/1.ts\",\"duration_ms\":2000}]}}";
static const char third[] =
    "{" TRACKS ",\"segments\":{\"source\":["
    "{\"seq_no\":2,\"uri\":\"https://h/b/new/m/source/2.ts\",\"duration_ms\":2000},"
    "{\"seq_no\":3,\"uri\":\"https://h/b/new/m/source/3.ts\",\"duration_ms\":500},"
    "{\"seq_no\":4,\"uri\":\"https://h/b/newer/m/source/4.ts\",\"duration_ms\":500}]}}";

static struct recorded *recorded;
static struct buf out;

static int setup(void **state)
{
    (void)state;
    recorded = recorded_new();
    buf_init(&out, 10000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    recorded_free(recorded);
    buf_cleanup(&out);
    return 0;
}

static void add(const char *session, const char *json)
{
    struct err err = {0};

    if (recorded_add(recorded, session, slice_str(json), &err) != RC_OK)
        fail_msg("%s", err.text);
}

static void add_all(void)
{
    add("old", first);
    add("new", second);
    add("new", third);
}

#define HEAD                                                                                       \
    "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:0\n"               \
    "#EXT-X-TARGETDURATION:3\n"

static void test_join(void **state)
{
    (void)state;
    add_all();
    assert_int_equal(recorded_track(recorded, "source", NULL, &out, NULL), RC_OK);
    assert_string_equal(buf_cstr(&out), HEAD "#EXTINF:2.000,\n../old/n/source/0.ts\n"
                                             "#EXT-X-DISCONTINUITY\n"
                                             "#EXTINF:2.000,\nn/source/1.ts\n"
                                             "#EXTINF:2.001,\nn/source/2.ts\n"
                                             "#EXTINF:0.500,\nm/source/3.ts\n"
                                             "#EXT-X-ENDLIST\n");
}

static void test_join_with_base(void **state)
{
    (void)state;
    add_all();
    assert_int_equal(recorded_track(recorded, "source", "https://cdn/r", &out, NULL), RC_OK);
    assert_non_null(strstr(buf_cstr(&out), "\nhttps://cdn/r/old/n/source/0.ts\n"));
    assert_non_null(strstr(buf_cstr(&out), "\nhttps://cdn/r/new/m/source/3.ts\n"));
}

static void test_index(void **state)
{
    (void)state;
    add_all();
    assert_int_equal(recorded_index(recorded, &out, NULL), RC_OK);
    assert_string_equal(buf_cstr(&out),
                        "#EXTM3U\n#EXT-X-VERSION:3\n"
                        "#EXT-X-STREAM-INF:PROGRAM-ID=0,BANDWIDTH=4000000,RESOLUTION=1280x720\n"
                        "source.m3u8\n"
                        "#EXT-X-STREAM-INF:PROGRAM-ID=0,BANDWIDTH=0\n240p.m3u8\n");
}

static void test_nothing(void **state)
{
    (void)state;
    assert_int_equal(recorded_index(recorded, &out, NULL), RC_NOT_FOUND);
    assert_int_equal(recorded_track(recorded, "source", NULL, &out, NULL), RC_NOT_FOUND);
    add_all();
    assert_int_equal(recorded_track(recorded, "empty", NULL, &out, NULL), RC_NOT_FOUND);
}

#define ONE(track, segment)                                                                        \
    "{\"tracks\":[" track "],\"segments\":{\"a\":[{\"uri\":\"id/1.ts\"}," segment "]}}"

static void test_hostile(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"", ""},
        {"[]", "tracks"},
        {"{\"tracks\":[]}", "segments"},
        {"{\"tracks\":[{\"name\":\"a\"}],\"segments\":{\"a\":{}}}", "no list"},
        {ONE("{\"name\":\"../a\"}", "{}"), "possible name"},
        {ONE("{\"name\":\"a\\nb\"}", "{}"), "possible name"},
        {ONE("{\"name\":1}", "{}"), "name"},
        {ONE("{\"name\":\"a\"}", "{}"), "uri"},
        {ONE("{\"name\":\"a\"}", "7"), ""},
        {ONE("{\"name\":\"a\"}", "{\"uri\":\"id/2.ts\",\"seq_no\":-1}"), "negative"},
        {ONE("{\"name\":\"a\"}", "{\"uri\":\"id/2.ts\",\"duration_ms\":3600001}"), "duration_ms"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        enum rc rc = recorded_add(recorded, "id", slice_str(cases[i].json), &err);

        if (rc != RC_BAD_INPUT || !strstr(err.text, cases[i].says))
            fail_msg("%s: %s, \"%s\"", cases[i].json, rc_name(rc), err.text);
        /* nothing of it counts */
        assert_int_equal(recorded_index(recorded, &out, NULL), RC_NOT_FOUND);
    }
}

static void test_addresses_that_are_left_out(void **state)
{
    static const char *const uris[] = {"id/../x.ts",  "other/1.ts", "xid/1.ts",
                                       "id/a\\nb.ts", "id/",        "id//1.ts"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        char json[200];

        snprintf(json, sizeof(json),
                 "{\"tracks\":[{\"name\":\"a\"}],\"segments\":{\"a\":[{\"uri\":\"%s\"}]}}",
                 uris[i]);
        add("id", json);
        if (recorded_track(recorded, "a", NULL, &out, NULL) != RC_NOT_FOUND)
            fail_msg("%s: %s", uris[i], buf_cstr(&out));
    }
}

static void test_too_many_tracks(void **state)
{
    struct err err = {0};
    char json[100];

    (void)state;
    for (int i = 0; i <= MAX_JOINED_TRACKS; i++) {
        enum rc rc;

        snprintf(json, sizeof(json),
                 "{\"tracks\":[{\"name\":\"t%d\"}],\"segments\":{\"t%d\":[{\"uri\":\"id/1\"}]}}", i,
                 i);
        rc = recorded_add(recorded, "id", slice_str(json), &err);
        assert_int_equal(rc, i < MAX_JOINED_TRACKS ? RC_OK : RC_LIMIT);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_join),
        CASE(test_join_with_base),
        CASE(test_index),
        CASE(test_nothing),
        CASE(test_hostile),
        CASE(test_addresses_that_are_left_out),
        CASE(test_too_many_tracks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
