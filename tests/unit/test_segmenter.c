/* Where segments begin and end, for every kind of source. */
#include "ts_test.h"

#include "gateway/segmenter.h"

enum { FRAME = 3000, SOUND = 1920 /* 1024 samples at 48 kHz */, MAX_SEGMENTS = 64 };

struct cut {
    struct segmenter *s;
    struct segment *got[MAX_SEGMENTS];
    int n;
};

static void on_segment(struct segment *TAKES s, void *arg)
{
    struct cut *c = arg;

    assert_true(c->n < MAX_SEGMENTS);
    c->got[c->n++] = s;
}

static struct cut *cut_new(void)
{
    struct cut *c = xcalloc(1, sizeof(*c));
    const struct segmenter_conf conf = {
        .target = 2 * TICKS_PER_SECOND, .on_segment = on_segment, .arg = c};

    c->s = segmenter_new(&conf);
    return c;
}

static void cut_free(struct cut *c)
{
    for (int i = 0; i < c->n; i++)
        segment_unref(&c->got[i]);
    segmenter_free(c->s);
    free(c);
    assert_int_equal(blob_total_bytes(), 0);
}

static void add_track(struct cut *c, enum track_kind kind, const char *avcc)
{
    struct track t = kind == TRACK_VIDEO ? track_of(avcc) : aac_track("1190");

    segmenter_track(c->s, kind, &t);
    track_cleanup(&t);
}

static void feed(struct cut *c, struct frame f)
{
    f.duration = f.kind == TRACK_VIDEO ? FRAME : SOUND;
    segmenter_frame(c->s, &f);
    frame_cleanup(&f);
}

/* Pictures from..to, a key frame every `gop`. */
static void video(struct cut *c, int from, int to, int gop)
{
    for (int i = from; i < to; i++)
        feed(c, picture((int64_t)i * FRAME, (int64_t)i * FRAME, i % gop == 0, 50));
}

static void key_frames_decide(void **state)
{
    static const struct {
        const char *what;
        int gop, pictures;
        int durations[8]; /* in pictures, ended by 0 */
    } rows[] = {
        {"a key frame every 2 s", 60, 150, {60, 60, 30}},
        {"every second: two of them make a segment", 30, 150, {60, 60, 30}},
        {"every 1.5 s: the next one after 2 s", 45, 200, {90, 90, 20}},
        {"every 5 s: the source forces longer", 150, 400, {150, 150, 100}},
        {"every picture", 1, 120, {57, 57, 6}}, /* a twentieth early is early enough */
        {"one at the start", 10000, 100, {100}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cut *c = cut_new();
        int n = 0, begin = 0;

        add_track(c, TRACK_VIDEO, AVCC_HD);
        video(c, 0, rows[i].pictures, rows[i].gop);
        segmenter_flush(c->s);
        for (; rows[i].durations[n]; n++) {
            assert_true(n < c->n);
            assert_int_equal(c->got[n]->duration, rows[i].durations[n] * FRAME);
            assert_int_equal(c->got[n]->first_pts, begin * FRAME);
            assert_false(c->got[n]->discontinuity);
            assert_true(segment_has_video(c->got[n]));
            assert_true(c->got[n]->fps > 29.99 && c->got[n]->fps < 30.01);
            begin += rows[i].durations[n];
        }
        assert_int_equal(c->n, n);
        cut_free(c);
    }
}

/* What the playlist may list is fixed: longer groups are cut, at no other place than needed. */
static void longer_groups_are_cut(void **state)
{
    static const struct {
        const char *what;
        int gop, pictures;
        int durations[10]; /* in pictures, ended by 0; negative: does not begin with a key frame */
    } rows[] = {
        {"as before", 60, 150, {60, 60, 30}},
        {"a little longer", 70, 150, {70, 70, 10}},
        {"much longer", 210, 430, {74, -74, -62, 74, -74, -62, 10}},
        {"shorter, but two are too long", 40, 120, {40, 40, 40}},
        {"never again", 10000, 100, {74, -26}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cut *c = cut_new();
        int n = 0, begin = 0;

        add_track(c, TRACK_VIDEO, AVCC_HD);
        segmenter_limit(c->s, 249 * TICKS_PER_SECOND / 100);
        video(c, 0, rows[i].pictures, rows[i].gop);
        segmenter_flush(c->s);
        for (; rows[i].durations[n]; n++) {
            int pictures = abs(rows[i].durations[n]);
            bool continues = rows[i].durations[n] < 0;

            assert_true(n < c->n);
            assert_int_equal(c->got[n]->duration, pictures * FRAME);
            assert_int_equal(c->got[n]->first_pts, begin * FRAME);
            assert_int_equal(c->got[n]->continues, continues);
            assert_int_equal(c->got[n]->cut_short, rows[i].durations[n + 1] < 0);
            assert_false(c->got[n]->discontinuity);
            begin += pictures;
        }
        assert_int_equal(c->n, n);
        cut_free(c);
    }
}

static void begins_with_a_key_frame(void **state)
{
    struct cut *c = cut_new();

    (void)state;
    add_track(c, TRACK_VIDEO, AVCC_HD);
    add_track(c, TRACK_AUDIO, NULL);
    feed(c, sound(0, 20));
    video(c, 1, 120, 60); /* 59 pictures before the first key frame */
    segmenter_flush(c->s);
    assert_int_equal(c->n, 1);
    assert_int_equal(c->got[0]->first_pts, 60 * FRAME);
    cut_free(c);
}

static void audio_alone(void **state)
{
    struct cut *c = cut_new();
    int64_t total = 0;

    (void)state;
    add_track(c, TRACK_AUDIO, NULL);
    for (int i = 0; i < 400; i++) /* 8.5 s */
        feed(c, sound((int64_t)i * SOUND, 20));
    segmenter_flush(c->s);
    assert_true(c->n >= 3);
    assert_int_equal(c->got[0]->first_pts, 0); /* what was held is there */
    for (int i = 0; i < c->n; i++) {
        assert_false(segment_has_video(c->got[i]));
        assert_true(c->got[i]->duration <= 2 * TICKS_PER_SECOND + SOUND);
        total += c->got[i]->duration;
        if (i)
            assert_int_equal(c->got[i]->first_pts,
                             c->got[i - 1]->first_pts + c->got[i - 1]->duration);
    }
    assert_int_equal(total, 400 * SOUND);
    cut_free(c);
}

/* Shorter than the wait for a picture: it is a segment all the same. */
static void a_little_audio_alone(void **state)
{
    struct cut *c = cut_new();

    (void)state;
    add_track(c, TRACK_AUDIO, NULL);
    for (int i = 0; i < 50; i++)
        feed(c, sound((int64_t)i * SOUND, 20));
    assert_int_equal(c->n, 0);
    segmenter_flush(c->s);
    assert_int_equal(c->n, 1);
    assert_int_equal(c->got[0]->duration, 50 * SOUND);
    cut_free(c);
}

/* A sender whose clock stands still costs HELD_MAX_FRAMES or HELD_MAX_BYTES, no more. */
static void held_audio_has_a_limit(void **state)
{
    static const struct {
        int frames, bytes;
    } rows[] = {{HELD_MAX_FRAMES, 20}, {9, HELD_MAX_BYTES / 8}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cut *c = cut_new();

        add_track(c, TRACK_AUDIO, NULL);
        for (int n = 0; n < rows[i].frames; n++)
            feed(c, sound(n, (size_t)rows[i].bytes));
        feed(c, sound(3 * TICKS_PER_SECOND, 20)); /* closes a segment: one was open */
        assert_int_equal(c->n, 1);
        cut_free(c);
    }
}

/* Pictures that come within the wait lead: the stream begins with the first of them. */
static void pictures_soon_after_audio(void **state)
{
    struct cut *c = cut_new();

    (void)state;
    add_track(c, TRACK_AUDIO, NULL);
    for (int i = 0; i < 20; i++)
        feed(c, sound((int64_t)i * SOUND, 20));
    add_track(c, TRACK_VIDEO, AVCC_HD);
    for (int i = 0; i < 60; i++)
        feed(c,
             picture(20 * SOUND + (int64_t)i * FRAME, 20 * SOUND + (int64_t)i * FRAME, i == 0, 50));
    segmenter_flush(c->s);
    assert_int_equal(c->n, 1);
    assert_int_equal(c->got[0]->first_pts, 20 * SOUND);
    assert_int_equal(c->got[0]->duration, 60 * FRAME);
    cut_free(c);
}

static void video_joins_late(void **state)
{
    struct cut *c = cut_new();

    (void)state;
    add_track(c, TRACK_AUDIO, NULL);
    for (int i = 0; i < 200; i++)
        feed(c, sound((int64_t)i * SOUND, 20));
    add_track(c, TRACK_VIDEO, AVCC_HD);
    for (int i = 0; i < 60; i++)
        feed(c, picture(200 * SOUND + (int64_t)i * FRAME, 200 * SOUND + (int64_t)i * FRAME, i == 0,
                        50));
    segmenter_flush(c->s);
    assert_false(segment_has_video(c->got[0]));
    assert_true(segment_has_video(c->got[c->n - 1]));
    assert_int_equal(c->got[c->n - 1]->first_pts, 200 * SOUND);
    assert_true(c->got[c->n - 1]->discontinuity); /* decoders must know */
    cut_free(c);
}

static void a_new_size_begins_a_segment(void **state)
{
    struct cut *c = cut_new();

    (void)state;
    add_track(c, TRACK_VIDEO, AVCC_HD);
    video(c, 0, 30, 30);
    add_track(c, TRACK_VIDEO, AVCC_NTSC);
    video(c, 30, 60, 30);
    segmenter_flush(c->s);
    assert_int_equal(c->n, 2);
    assert_int_equal(c->got[0]->duration, 30 * FRAME); /* far below the target */
    assert_int_equal(c->got[0]->video.width, 1920);
    assert_int_equal(c->got[1]->video.width, 320);
    assert_true(c->got[1]->discontinuity);
    cut_free(c);
}

static void a_jump_ends_a_segment(void **state)
{
    struct cut *c = cut_new();
    struct frame f = picture(100 * FRAME, 100 * FRAME, true, 50);

    (void)state;
    add_track(c, TRACK_VIDEO, AVCC_HD);
    video(c, 0, 10, 100);
    f.discontinuity = true;
    feed(c, f);
    segmenter_flush(c->s);
    assert_int_equal(c->n, 2);
    assert_int_equal(c->got[0]->duration, 10 * FRAME); /* not up to the jump's far side */
    assert_true(c->got[1]->discontinuity);
    cut_free(c);
}

static void nothing_is_no_segment(void **state)
{
    struct cut *c = cut_new();

    (void)state;
    segmenter_flush(c->s);
    add_track(c, TRACK_VIDEO, AVCC_HD);
    video(c, 1, 50, 100); /* no key frame ever */
    segmenter_flush(c->s);
    segmenter_flush(c->s);
    assert_int_equal(c->n, 0);
    cut_free(c);
}

/* A source that never sends a second key frame costs SEGMENT_MAX_BYTES, no more. */
static void endless_without_key_frames(void **state)
{
    struct cut *c = cut_new();

    (void)state;
    add_track(c, TRACK_VIDEO, AVCC_HD);
    feed(c, picture(0, 0, true, 1000));
    for (int i = 1; i < 80; i++)
        feed(c, picture((int64_t)i * FRAME, (int64_t)i * FRAME, false, 1 << 20));
    video(c, 80, 160, 80);
    segmenter_flush(c->s);
    assert_int_equal(c->n, 1); /* the oversized one was dropped; the stream goes on */
    assert_int_equal(c->got[0]->first_pts, 80 * FRAME);
    cut_free(c);
}

static void whole_and_playable(void **state)
{
    struct cut *c = cut_new();
    struct seen *seen;

    (void)state;
    add_track(c, TRACK_VIDEO, AVCC_HD);
    video(c, 0, 121, 60);
    seen = demux(blob_slice(c->got[1]->media), 65536, RC_OK);
    assert_int_equal(seen->clip.n, 60);
    assert_true(seen->clip.f[0].key);
    assert_int_equal(seen->track[TRACK_VIDEO].width, 1920);
    seen_free(seen);
    cut_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_frames_decide),           cmocka_unit_test(longer_groups_are_cut),
        cmocka_unit_test(begins_with_a_key_frame),     cmocka_unit_test(audio_alone),
        cmocka_unit_test(a_little_audio_alone),        cmocka_unit_test(held_audio_has_a_limit),
        cmocka_unit_test(pictures_soon_after_audio),   cmocka_unit_test(video_joins_late),
        cmocka_unit_test(a_new_size_begins_a_segment), cmocka_unit_test(a_jump_ends_a_segment),
        cmocka_unit_test(nothing_is_no_segment),       cmocka_unit_test(endless_without_key_frames),
        cmocka_unit_test(whole_and_playable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
