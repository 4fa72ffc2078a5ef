/* The queue: order, bounds, the end. What S3 answers is in tests/node/test_objects.py. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/objects.h"

enum { N = 20, SIZE = 1000 };

struct world {
    struct loop *loop;
    struct objects *objects;
    struct blob *body;
    char dir[32];
    int wanted, done, stored, busy, cancelled;
    bool close_at_first;
};

static void on_done(const struct err *err, void *arg)
{
    struct world *w = arg;

    w->done++;
    w->stored += !err;
    w->busy += err && err->code == RC_BUSY;
    w->cancelled += err && err->code == RC_CANCELLED;
    if (w->close_at_first && w->done == 1) {
        objects_free(w->objects);
        w->objects = NULL;
    }
    if (w->done == w->wanted)
        loop_stop(w->loop);
}

static int setup(void **state)
{
    static const uint8_t bytes[SIZE];
    struct world *w = xcalloc(1, sizeof(*w));
    struct objects_conf conf = {.max_bytes = N * SIZE, .first_pause_ms = 1};

    strcpy(w->dir, "/tmp/leat-objects-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->loop = conf.loop = loop_new();
    w->body = blob_copy(slice_of(bytes, SIZE));
    assert_int_equal(object_url_parse(slice_str(w->dir), &conf.url, NULL), RC_OK);
    w->objects = objects_new(&conf);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char path[64];

    objects_free(w->objects);
    loop_free(w->loop);
    for (int i = 0; i <= N; i++) {
        snprintf(path, sizeof(path), "%s/%d", w->dir, i);
        (void)unlink(path); /* some tests leave fewer */
    }
    assert_int_equal(rmdir(w->dir), 0); /* nothing half-written is left */
    blob_unref(&w->body);
    assert_int_equal(blob_total_bytes(), 0);
    free(w);
    return 0;
}

static void put(struct world *w, int number)
{
    char name[16];

    snprintf(name, sizeof(name), "%d", number);
    w->wanted++;
    objects_put(w->objects, &(struct object_put){.name = name,
                                                 .body = w->body,
                                                 .type = "video/mp2t",
                                                 .tries = 2,
                                                 .try_ms = 1000,
                                                 .whole_ms = 10000,
                                                 .on_done = on_done,
                                                 .arg = w});
}

static void test_all_are_stored(void **state)
{
    struct world *w = *state;
    struct stat st;
    char path[64];

    for (int i = 0; i < N; i++)
        put(w, i);
    assert_int_equal(w->done, 0); /* nobody is called from within */
    loop_run(w->loop);
    assert_int_equal(w->stored, N);
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "%s/%d", w->dir, i);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, SIZE);
    }
}

static void test_too_much_is_refused(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < N + 1; i++)
        put(w, i);
    loop_run(w->loop);
    assert_int_equal(w->stored, N);
    assert_int_equal(w->busy, 1);
    put(w, N); /* there is room again */
    loop_run(w->loop);
    assert_int_equal(w->stored, N + 1);
}

static void test_close_tells_everybody(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < N; i++)
        put(w, i);
    objects_free(w->objects);
    w->objects = NULL;
    assert_int_equal(w->cancelled, N);
}

static void test_close_from_within(void **state)
{
    struct world *w = *state;

    w->close_at_first = true;
    for (int i = 0; i < N + 1; i++)
        put(w, i);
    loop_run(w->loop);
    assert_int_equal(w->done, N + 1);
    assert_int_equal(w->cancelled + w->stored + w->busy, N + 1);
    assert_true(w->cancelled > 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_all_are_stored),
        CASE(test_too_much_is_refused),
        CASE(test_close_tells_everybody),
        CASE(test_close_from_within),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
