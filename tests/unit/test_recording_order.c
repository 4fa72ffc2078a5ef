/* A recording over a store that answers when and what the test wants. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "output/recording.h"

enum { MAX_PUTS = 32 };

static struct object_put asked[MAX_PUTS];
static char *names[MAX_PUTS], *texts[MAX_PUTS];
static size_t n_puts;
static struct blob *body;

void objects_put(struct objects *o, const struct object_put *put)
{
    (void)o;
    assert_true(n_puts < MAX_PUTS);
    names[n_puts] = xstrdup(put->name);
    texts[n_puts] = slice_dup(blob_slice(put->body));
    asked[n_puts++] = *put;
}

const char *objects_where(const struct objects *o)
{
    (void)o;
    return "https://host/bucket";
}

static int setup(void **state)
{
    (void)state;
    n_puts = 0;
    body = blob_copy(SLICE_LIT("media"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_puts; i++) {
        free(names[i]);
        free(texts[i]);
    }
    blob_unref(&body);
    return 0;
}

static void stored(size_t put)
{
    asked[put].on_done(NULL, asked[put].arg);
}

static void lost(size_t put)
{
    asked[put].on_done(&(struct err){RC_DENIED, "status 403"}, asked[put].arg);
}

static struct recording *record(const int64_t *ms, size_t n)
{
    static const struct recorded_track source = {"source", 0, NULL};
    struct recording *r = recording_open(&(struct recording_conf){NULL, "id", "host", &source, 1},
                                         NULL);

    assert_non_null(r);
    for (size_t i = 0; i < n; i++)
        recording_segment(r, &(struct recorded_segment){0, i + 1, ms[i], body, true});
    assert_int_equal(n_puts, n);
    return r;
}

static bool lists(size_t put, int seq)
{
    char name[32];

    snprintf(name, sizeof(name), "/%d.mp4\"", seq);
    return strstr(texts[put], name) != NULL;
}

static void test_in_order_one_write_at_a_time(void **state)
{
    struct recording *r = record((int64_t[]){2000, 2000, 2000, 2000}, 4);

    (void)state;
    stored(1);
    assert_int_equal(n_puts, 4); /* the first is still open */
    stored(0);
    assert_int_equal(n_puts, 5);
    assert_true(lists(4, 1) && lists(4, 2) && !lists(4, 3));
    assert_true(strstr(texts[4], "/1.mp4") < strstr(texts[4], "/2.mp4"));
    lost(2);
    stored(3);
    assert_int_equal(n_puts, 5); /* the playlist is on its way */
    stored(4);
    assert_int_equal(n_puts, 6);
    assert_string_equal(names[4], names[5]);
    assert_true(lists(5, 1) && lists(5, 2) && !lists(5, 3) && lists(5, 4));
    assert_non_null(strstr(texts[5], "\"duration_ms\":6000,\"tracks\""));
    recording_close(r);
    stored(5);
}

static void test_hour_ends_between_segments_listed_together(void **state)
{
    struct recording *r = record((int64_t[]){2000, 3598 * 1000, 2000}, 3);

    (void)state;
    stored(2);
    stored(1);
    recording_close(r);
    stored(0);
    assert_int_equal(n_puts, 5);
    assert_string_not_equal(names[3], names[4]);
    assert_true(lists(3, 1) && lists(3, 2) && !lists(3, 3));
    assert_true(!lists(4, 1) && !lists(4, 2) && lists(4, 3));
    stored(4);
    stored(3);
}

static void test_playlist_that_fails_comes_with_the_next(void **state)
{
    struct recording *r = record((int64_t[]){2000, 2000}, 2);

    (void)state;
    stored(0);
    lost(2);
    assert_int_equal(n_puts, 3);
    stored(1);
    assert_int_equal(n_puts, 4);
    assert_true(lists(3, 1) && lists(3, 2));
    recording_close(r);
    stored(3);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_in_order_one_write_at_a_time),
        CASE(test_hour_ends_between_segments_listed_together),
        CASE(test_playlist_that_fails_comes_with_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
