/* A recording in a folder: its layout and its playlists. */
#include "tests/unit/unit.h"

#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "output/recording.h"

struct world {
    struct loop *loop;
    struct objects *objects;
    struct blob *body;
    char dir[32];
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct objects_conf conf = {.max_bytes = 1 << 20, .first_pause_ms = 1};

    strcpy(w->dir, "/tmp/leat-record-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->loop = conf.loop = loop_new();
    w->body = blob_copy(SLICE_LIT("media"));
    assert_int_equal(object_url_parse(slice_str(w->dir), &conf.url, NULL), RC_OK);
    w->objects = objects_new(&conf);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    objects_free(w->objects);
    loop_free(w->loop);
    blob_unref(&w->body);
    assert_int_equal(blob_total_bytes(), 0); /* also the recording is gone */
    assert_int_equal(nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(w);
    return 0;
}

static const struct recorded_track tracks[] = {{"source", 4000000, "1280x720"}, {"240p", 0, NULL}};

static struct recording *open_recording(struct world *w)
{
    struct recording_conf conf = {w->objects, "my \"id", "host", tracks, ARRAY_LEN(tracks)};
    struct err err = {0};
    struct recording *r = recording_open(&conf, &err);

    if (!r)
        fail_msg("%s", err.text);
    return r;
}

static void add(struct world *w, struct recording *r, size_t track, uint64_t seq, int64_t ms)
{
    recording_segment(r, &(struct recorded_segment){track, seq, ms, w->body, false});
}

/* Playlists in the order of their names; the caller frees. */
static glob_t playlists(struct world *w)
{
    char pattern[128];
    glob_t g;

    snprintf(pattern, sizeof(pattern), "%s/my \"id/host/playlist_*.json", w->dir);
    assert_int_equal(glob(pattern, 0, NULL, &g), 0);
    return g;
}

static void check_segment(struct world *w, json_t *s, const char *track, int seq, int ms)
{
    char uri[128];

    snprintf(uri, sizeof(uri), "%s/my \"id/host/%s/%d.ts", w->dir, track, seq);
    assert_string_equal(json_string_value(json_object_get(s, "uri")), uri);
    assert_int_equal(json_integer_value(json_object_get(s, "seq_no")), seq);
    assert_int_equal(json_integer_value(json_object_get(s, "duration_ms")), ms);
    assert_int_equal(json_object_get(s, "seq_no") != NULL, seq != 0);
    assert_int_equal(access(uri, R_OK), 0);
}

static void test_layout_and_playlist(void **state)
{
    struct world *w = *state;
    struct recording *r = open_recording(w);
    json_t *list, *t, *segments;
    glob_t g;

    for (int i = 0; i < 5; i++)
        add(w, r, 0, (uint64_t)i, 2000 + i);
    add(w, r, 1, 3, 2003);
    recording_close(r); /* what is open ends by itself */
    loop_run(w->loop);
    g = playlists(w);
    assert_int_equal(g.gl_pathc, 1);
    list = json_load_file(g.gl_pathv[0], 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(list, "duration_ms")), 10010);
    t = json_object_get(list, "tracks");
    assert_int_equal(json_array_size(t), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(t, 0), "name")), "source");
    assert_string_equal(json_string_value(json_object_get(json_array_get(t, 0), "resolution")),
                        "1280x720");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(t, 0), "bandwidth")),
                     4000000);
    assert_int_equal(json_object_size(json_array_get(t, 1)), 1);
    segments = json_object_get(json_object_get(list, "segments"), "source");
    assert_int_equal(json_array_size(segments), 5);
    for (int i = 0; i < 5; i++)
        check_segment(w, json_array_get(segments, (size_t)i), "source", i, 2000 + i);
    segments = json_object_get(json_object_get(list, "segments"), "240p");
    assert_int_equal(json_array_size(segments), 1);
    check_segment(w, json_array_get(segments, 0), "240p", 3, 2003);
    json_decref(list);
    globfree(&g);
}

static void test_a_new_playlist_after_an_hour(void **state)
{
    static const int sizes[] = {2, 1};
    struct world *w = *state;
    struct recording *r = open_recording(w);
    glob_t g;

    add(w, r, 0, 1, 1800 * 1000);
    add(w, r, 0, 2, 1800 * 1000);
    add(w, r, 0, 3, 2000);
    recording_close(r);
    loop_run(w->loop);
    g = playlists(w);
    assert_int_equal(g.gl_pathc, 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *list = json_load_file(g.gl_pathv[i], 0, NULL);

        assert_int_equal(
            json_array_size(json_object_get(json_object_get(list, "segments"), "source")),
            sizes[i]);
        json_decref(list);
    }
    globfree(&g);
}

static void test_store_that_closes(void **state)
{
    struct world *w = *state;
    struct recording *r = open_recording(w);

    for (int i = 0; i < 30; i++)
        add(w, r, 0, (uint64_t)i, 2000);
    recording_close(r);
    objects_free(w->objects);
    w->objects = NULL;
}

static void test_nothing_recorded(void **state)
{
    recording_close(open_recording(*state));
    recording_close(NULL);
}

static void test_names_are_checked(void **state)
{
    static const struct recorded_track bad[] = {{"../up", 0, NULL}};
    struct world *w = *state;
    struct err err = {0};

    assert_null(recording_open(
        &(struct recording_conf){w->objects, "../id", "host", tracks, ARRAY_LEN(tracks)}, &err));
    assert_non_null(strstr(err.text, "../id"));
    assert_null(recording_open(&(struct recording_conf){w->objects, "id", "host", bad, 1}, &err));
    assert_non_null(strstr(err.text, "../up"));
    assert_null(
        recording_open(&(struct recording_conf){w->objects, "id", "host", tracks, 99}, NULL));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_layout_and_playlist), CASE(test_a_new_playlist_after_an_hour),
        CASE(test_store_that_closes),   CASE(test_nothing_recorded),
        CASE(test_names_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
