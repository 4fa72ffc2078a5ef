/* A group of pictures in pieces: joined for orchestrators, and what they return cut again. */
#include "ts_test.h"

#include "gateway/group.h"
#include "gateway/segmenter.h"

enum { FRAME = 3000, SOUND = 1920, GOP = 210, MAX_SEGMENTS = 32 };

static struct {
    struct segmenter *s;
    struct segment *got[MAX_SEGMENTS];
    int n;
} source;

static void on_segment(struct segment *TAKES s, void *arg)
{
    (void)arg;
    assert_true(source.n < MAX_SEGMENTS);
    source.got[source.n++] = s;
}

static void feed(struct frame f)
{
    f.duration = f.kind == TRACK_VIDEO ? FRAME : SOUND;
    segmenter_frame(source.s, &f);
    frame_cleanup(&f);
}

static int setup(void **state)
{
    const struct segmenter_conf conf = {
        .target = 2 * TICKS_PER_SECOND, .hash = true, .on_segment = on_segment};
    struct track video = track_of(AVCC_HD), audio = aac_track("1190");

    (void)state;
    memset(&source, 0, sizeof(source));
    source.s = segmenter_new(&conf);
    segmenter_track(source.s, TRACK_VIDEO, &video);
    segmenter_track(source.s, TRACK_AUDIO, &audio);
    segmenter_limit(source.s, 249 * TICKS_PER_SECOND / 100);
    track_cleanup(&video);
    track_cleanup(&audio);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < source.n; i++)
        segment_unref(&source.got[i]);
    segmenter_free(source.s);
    return blob_total_bytes() == 0 ? 0 : -1;
}

/* Pictures with a tone, numbered as a stream would. */
static void publish(int pictures, int gop)
{
    for (int i = 0, sounds = 0; i < pictures; i++) {
        feed(picture((int64_t)i * FRAME, (int64_t)i * FRAME, i % gop == 0, 50));
        for (; sounds * SOUND < i * FRAME; sounds++)
            feed(sound((int64_t)sounds * SOUND, 20));
    }
    segmenter_flush(source.s);
    for (int i = 0; i < source.n; i++)
        source.got[i]->msn = source.got[i]->seq = 100 + i;
}

static void one_that_is_whole_passes(void **state)
{
    struct group g = {.n = 0};

    (void)state;
    publish(120, 60);
    for (int i = 0; i < source.n; i++) {
        struct segment *whole = group_take(&g, source.got[i]);

        assert_ptr_equal(whole, source.got[i]);
        segment_unref(&whole);
    }
    assert_int_equal(g.n, 0);
}

static struct segment *joined(void)
{
    struct group g = {.n = 0};
    struct segment *whole;

    publish(GOP, GOP);
    assert_int_equal(source.n, 3);
    assert_null(group_take(&g, source.got[0]));
    assert_null(group_take(&g, source.got[1]));
    whole = group_take(&g, source.got[2]);
    assert_non_null(whole);
    assert_int_equal(g.n, 0);
    return whole;
}

static void pieces_are_joined(void **state)
{
    struct segment *whole = joined();
    struct hash hash = keccak_of(blob_slice(whole->media));
    struct seen *seen = demux(blob_slice(whole->media), 65536, RC_OK);

    (void)state;
    assert_int_equal(whole->msn, 100);
    assert_int_equal(whole->duration, GOP * FRAME);
    assert_int_equal(whole->n_cuts, 2);
    assert_true(whole->fps > 29.9 && whole->fps < 30.1);
    assert_memory_equal(&whole->hash, &hash, sizeof(hash));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(group_piece_duration(whole, i), source.got[i]->duration);
    assert_int_equal(seen->tracks[TRACK_VIDEO], 1);
    seen_free(seen);
    segment_unref(&whole);
}

static const struct frame *next_of(const struct clip *c, int *at, enum track_kind kind)
{
    while (*at < c->n && c->f[*at].kind != kind)
        (*at)++;
    return *at < c->n ? &c->f[(*at)++] : NULL;
}

static void assert_same_frames(const struct clip *a, const struct clip *b, enum track_kind kind)
{
    int at_a = 0, at_b = 0;
    const struct frame *f;

    assert_int_equal(a->n, b->n);
    while ((f = next_of(a, &at_a, kind))) {
        const struct frame *g = next_of(b, &at_b, kind);

        assert_non_null(g);
        assert_int_equal(f->pts, g->pts);
        assert_int_equal(f->data->n, g->data->n);
    }
}

/* As a rendition that came back with the source's times. */
static void what_came_back_is_cut_at_the_same_pictures(void **state)
{
    struct segment *whole = joined();
    struct blob *out[GROUP_MAX_PIECES];
    struct verified is;

    (void)state;
    assert_int_equal(verify_rendition(whole, blob_slice(whole->media), &is, NULL), RC_OK);
    assert_int_equal(group_cut(whole, blob_slice(whole->media), &is, out, NULL), RC_OK);
    for (size_t i = 0; i < GROUP_MAX_PIECES; i++) {
        struct seen *mine, *theirs;

        if (i > whole->n_cuts) {
            assert_null(out[i]);
            continue;
        }
        mine = demux(blob_slice(out[i]), 65536, RC_OK);
        theirs = demux(blob_slice(source.got[i]->media), 65536, RC_OK);
        assert_same_frames(&mine->clip, &theirs->clip, TRACK_VIDEO);
        assert_same_frames(&mine->clip, &theirs->clip, TRACK_AUDIO);
        seen_free(mine);
        seen_free(theirs);
        blob_unref(&out[i]);
    }
    track_cleanup(&is.video);
    track_cleanup(&is.audio);
    segment_unref(&whole);
}

static void nonsense_is_not_cut(void **state)
{
    struct segment *whole = joined();
    struct blob *rubbish = blob_new(100000), *out[GROUP_MAX_PIECES];
    struct verified is = {0};
    struct err err;

    (void)state;
    memset(blob_bytes(rubbish), 'G' + 1, rubbish->n);
    assert_int_equal(group_cut(whole, blob_slice(rubbish), &is, out, &err), RC_BAD_INPUT);
    assert_null(out[0]);
    blob_unref(&rubbish);
    segment_unref(&whole);
}

/* The beginning is missing, or so many pieces come that nobody will wait for the last. */
static void what_cannot_be_joined_is_left_out(void **state)
{
    struct group g = {.n = 0};
    struct segment *s, *whole;

    (void)state;
    publish(GOP + 60, GOP);
    assert_null(group_take(&g, source.got[1]));
    assert_null(group_take(&g, source.got[2]));
    s = source.got[0];
    assert_null(group_take(&g, s));
    s = source.got[1];
    for (int i = 0; i < 2 * GROUP_MAX_PIECES; i++)
        assert_null(group_take(&g, s));
    assert_null(group_take(&g, source.got[2]));
    whole = group_take(&g, source.got[3]);
    assert_ptr_equal(whole, source.got[3]);
    segment_unref(&whole);
    assert_null(group_take(&g, source.got[0]));
    blob_unref(&source.got[1]->media);
    source.got[1]->media = blob_new(SEGMENT_MAX_BYTES);
    assert_null(group_take(&g, source.got[1]));
    assert_null(group_take(&g, source.got[2]));
    group_cleanup(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(one_that_is_whole_passes),
        T(pieces_are_joined),
        T(what_came_back_is_cut_at_the_same_pictures),
        T(nonsense_is_not_cut),
        T(what_cannot_be_joined_is_left_out),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
