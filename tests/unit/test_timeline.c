/* The timeline: exactness from millisecond stamps, and sanity whatever the sender does. */
#include "media_test.h"

#include "media/aac.h"
#include "media/timeline.h"

enum { MAX_OUT = 40000, MS = TICKS_PER_SECOND / 1000, START = 900000 };

/* --- a timeline, and everything that came out of it --- */

struct rig {
    struct timeline *t;
    struct frame out[TRACK_KINDS][MAX_OUT]; /* data NULL */
    int n[TRACK_KINDS], tracks[TRACK_KINDS], discontinuities[TRACK_KINDS];
    int in[TRACK_KINDS];
};

static void on_track(enum track_kind kind, const struct track *track, void *arg)
{
    struct rig *r = arg;

    r->tracks[kind]++;
}

static void check_order(const struct rig *r, const struct frame *f)
{
    int n = r->n[f->kind];

    assert_true(f->pts >= f->dts);
    assert_true(f->pts - f->dts <= 11 * TICKS_PER_SECOND);
    assert_in_range(f->duration, 0, 11 * TICKS_PER_SECOND);
    assert_true(!n || f->dts > r->out[f->kind][n - 1].dts);
}

static void on_frame(const struct frame *f, void *arg)
{
    struct rig *r = arg;

    check_order(r, f);
    assert_non_null(f->data);
    assert_true(r->n[f->kind] < MAX_OUT);
    r->out[f->kind][r->n[f->kind]] = *f;
    r->out[f->kind][r->n[f->kind]++].data = NULL;
    r->discontinuities[f->kind] += f->discontinuity;
}

static struct rig *rig_new(int64_t rate, int bits, double fps, int sample_rate)
{
    struct rig *r = xcalloc(1, sizeof(*r));
    struct timeline_conf conf = {.in_rate = rate, .in_bits = bits};
    struct frame_sink sink = {.on_track = on_track, .on_frame = on_frame, .arg = r};
    struct track video = track_of(AVCC_25);
    struct blob *asc = from_hex("1210");
    struct track audio;

    assert_int_equal(aac_track_from_config(blob_slice(asc), &audio, NULL), RC_OK);
    video.fps = fps;
    audio.sample_rate = sample_rate;
    r->t = timeline_new(&conf, START, &sink);
    timeline_track(r->t, TRACK_VIDEO, &video);
    timeline_track(r->t, TRACK_AUDIO, &audio);
    track_cleanup(&video);
    track_cleanup(&audio);
    blob_unref(&asc);
    return r;
}

static void send(struct rig *r, enum track_kind kind, int64_t dts, int64_t composition)
{
    struct frame f = {.kind = kind,
                      .key = true,
                      .dts = dts,
                      .pts = dts + composition,
                      .data = blob_copy(slice_str("x"))};

    timeline_frame(r->t, &f);
    frame_cleanup(&f);
    r->in[kind]++;
}

static void video(struct rig *r, int64_t dts)
{
    send(r, TRACK_VIDEO, dts, 0);
}
static void audio(struct rig *r, int64_t dts)
{
    send(r, TRACK_AUDIO, dts, 0);
}

/* Everything sent has come out. */
static struct timeline_stats rig_free(struct rig *r)
{
    struct timeline_stats stats;

    timeline_flush(r->t);
    timeline_stats_get(r->t, &stats);
    for (int kind = 0; kind < TRACK_KINDS; kind++)
        assert_int_equal(r->n[kind], r->in[kind]);
    timeline_free(r->t);
    free(r);
    return stats;
}

static const struct frame *last(const struct rig *r, enum track_kind kind)
{
    return &r->out[kind][r->n[kind] - 1];
}

/* --- steady rates --- */

static const struct {
    int64_t num, den;
} rates[] = {
    {30000, 1001}, {30, 1},  {25, 1}, {24, 1},  {24000, 1001}, {60, 1},
    {60000, 1001}, {50, 1},  {15, 1}, {20, 1},  {12, 1},       {10, 1},
    {5, 1},        {120, 1}, {25, 2}, {100, 1}, {72, 1},
};

enum rounding { DOWN, NEAREST };

/* Frame n of a camera that began `phase` microseconds into a millisecond. */
static int64_t stamp_ms(int64_t n, int64_t num, int64_t den, enum rounding how, int64_t phase_us)
{
    int64_t us = n * 1000000 * den / num + phase_us;

    return how == DOWN ? us / 1000 : (us + 500) / 1000;
}

static int64_t exact(int64_t n, int64_t num, int64_t den)
{
    return (2 * n * TICKS_PER_SECOND * den + num) / (2 * num);
}

/* With the bitstream's word for it, the grid is there from the first frame. */
static void steady_with_hint(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        for (int variant = 0; variant < 20; variant++) {
            int64_t num = rates[i].num, den = rates[i].den;
            struct rig *r = rig_new(1000, 32, (double)num / (double)den, 44100);

            for (int64_t n = 0; n < 2000; n++)
                video(r, stamp_ms(n, num, den, variant % 2, variant * 97));
            for (int n = 0; n < 2000; n++)
                assert_int_equal(r->out[TRACK_VIDEO][n].dts, START + exact(n, num, den));
            rig_free(r);
        }
    }
}

/* Without it, times are right within a millisecond at once and exact after some seconds. */
static void steady_without_hint(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        for (int variant = 0; variant < 20; variant++) {
            int64_t num = rates[i].num, den = rates[i].den;
            int64_t settled = 4 * num / den + 10;
            struct rig *r = rig_new(1000, 32, 0, 44100);
            const struct frame *out = r->out[TRACK_VIDEO];

            for (int64_t n = 0; n < 2000; n++)
                video(r, stamp_ms(n, num, den, variant % 2, variant * 97));
            for (int n = 0; n < 2000; n++)
                assert_true(llabs(out[n].dts - START - exact(n, num, den)) <= MS + 2);
            for (int64_t n = settled; n < 2000; n++) {
                int64_t off = out[n].dts - out[settled].dts - exact(n - settled, num, den);

                assert_true(llabs(off) <= (TICKS_PER_SECOND * den % num ? 1 : 0));
                if (n + 1 < 2000)
                    assert_int_equal(out[n].duration, out[n + 1].dts - out[n].dts);
            }
            rig_free(r);
        }
    }
}

/* The case of the rule: 29.97 in steps of 33 and 34 ms gives 3003, each time, for an hour. */
static void ntsc_steps_are_3003(void **state)
{
    struct rig *r = rig_new(1000, 32, 29.97002997, 44100);

    for (int64_t n = 0; n < MAX_OUT; n++)
        video(r, stamp_ms(n, 30000, 1001, NEAREST, 0));
    for (int n = 1; n < MAX_OUT; n++)
        assert_int_equal(r->out[TRACK_VIDEO][n].dts - r->out[TRACK_VIDEO][n - 1].dts, 3003);
    rig_free(r);
}

/* A bitstream that tells the wrong rate costs at most two milliseconds, and not for long. */
static void wrong_hints(void **state)
{
    static const double hints[] = {60, 59.94, 50, 24, 25, 1000, 90000, 0.5, 1e300, -30, 15, 29.5};

    for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
        struct rig *r = rig_new(1000, 32, hints[i], 44100);

        for (int64_t n = 0; n < 1000; n++)
            video(r, stamp_ms(n, 30, 1, NEAREST, 0));
        for (int n = 0; n < 1000; n++)
            assert_true(llabs(r->out[TRACK_VIDEO][n].dts - START - n * 3000) <= 2 * MS);
        for (int n = 200; n < 1000; n++)
            assert_int_equal(r->out[TRACK_VIDEO][n].dts - r->out[TRACK_VIDEO][n - 1].dts, 3000);
        rig_free(r);
    }
}

/* 30 told and 29.97 sent: nobody can tell them apart for a second, the sum must be right. */
static void hint_of_30_for_29_97(void **state)
{
    struct rig *r = rig_new(1000, 32, 30, 44100);

    for (int64_t n = 0; n < 20000; n++)
        video(r, stamp_ms(n, 30000, 1001, NEAREST, 0));
    for (int n = 0; n < 20000; n++)
        assert_true(llabs(r->out[TRACK_VIDEO][n].dts - START - n * 3003) <= 2 * MS + 4);
    for (int n = 300; n < 20000; n++) /* and the truth is found out */
        assert_int_equal(r->out[TRACK_VIDEO][n].dts - r->out[TRACK_VIDEO][n - 1].dts, 3003);
    rig_free(r);
}

static void dropped_frames_stay_on_the_grid(void **state)
{
    struct rig *r = rig_new(1000, 32, 30000. / 1001, 44100);
    struct dice dice = {3};
    int64_t place[1000], n = 0;

    for (int i = 0; i < 1000; i++) {
        place[i] = n;
        video(r, stamp_ms(n, 30000, 1001, DOWN, 0));
        n += roll(&dice, 10) ? 1 : 1 + (int64_t)roll(&dice, 20);
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(r->out[TRACK_VIDEO][i].dts, START + place[i] * 3003);
    rig_free(r);
}

/* A sender whose clock is not ours: followed without ever losing the beat. */
static void drifting_sender(void **state)
{
    for (int ppm = -500; ppm <= 500; ppm += 250) {
        struct rig *r = rig_new(1000, 32, 30, 44100);

        for (int64_t n = 0; n < 30000; n++)
            video(r, n * (100000000 + ppm * 100) / 3000000);
        for (int n = 1; n < 30000; n++) {
            int64_t sent = (int64_t)n * (100000000 + ppm * 100) / 3000000 * MS;

            assert_true(llabs(r->out[TRACK_VIDEO][n].dts - START - sent) <= 2 * MS);
            assert_in_range(r->out[TRACK_VIDEO][n].dts - r->out[TRACK_VIDEO][n - 1].dts, 2953,
                            3047);
        }
        rig_free(r);
    }
}

/* --- variable rates --- */

static void variable_rate_is_left_as_sent(void **state)
{
    struct rig *r = rig_new(1000, 32, 0, 44100);
    struct dice dice = {11};
    int64_t sent[3000], t = 5;

    for (int i = 0; i < 3000; i++) {
        sent[i] = t;
        video(r, t);
        t += 8 + (int64_t)roll(&dice, 90);
    }
    for (int i = 0; i < 3000; i++)
        assert_int_equal(r->out[TRACK_VIDEO][i].dts, START + (sent[i] - 5) * MS);
    rig_free(r);
}

/* A hint may pull what is near its grid, never further than rounding explains. */
static void variable_rate_with_a_hint(void **state)
{
    struct rig *r = rig_new(1000, 32, 30, 44100);
    struct dice dice = {12};
    int64_t sent[3000], t = 0, as_sent = 0;

    for (int i = 0; i < 3000; i++) {
        sent[i] = t;
        video(r, t);
        t += 8 + (int64_t)roll(&dice, 90);
    }
    for (int i = 0; i < 3000; i++) {
        int64_t off = r->out[TRACK_VIDEO][i].dts - START - sent[i] * MS;

        assert_true(llabs(off) <= 2 * MS);
        as_sent += off == 0;
    }
    assert_true(as_sent > 2900);
    rig_free(r);
}

static void from_steady_to_variable_and_back(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 44100);
    int64_t t = 0;
    int n;

    for (n = 0; n < 100; n++, t += 40)
        video(r, t);
    for (; n < 200; n++, t += 31 + n % 5 * 7)
        video(r, t);
    for (; n < 300; n++, t += 40)
        video(r, t);
    for (int i = 1; i < 100; i++)
        assert_int_equal(r->out[TRACK_VIDEO][i].dts - r->out[TRACK_VIDEO][i - 1].dts, 3600);
    for (int i = 220; i < 300; i++)
        assert_int_equal(r->out[TRACK_VIDEO][i].dts - r->out[TRACK_VIDEO][i - 1].dts, 3600);
    assert_true(llabs(last(r, TRACK_VIDEO)->dts - START - (t - 40) * MS) <= MS);
    rig_free(r);
}

/* One late frame is as late as it says; the beat goes on. */
static void one_frame_off_the_beat(void **state)
{
    struct rig *r = rig_new(1000, 32, 30000. / 1001, 44100);

    for (int64_t n = 0; n < 200; n++)
        video(r, stamp_ms(n, 30000, 1001, NEAREST, 0) + (n == 100 ? 12 : 0));
    for (int n = 0; n < 200; n++)
        assert_int_equal(r->out[TRACK_VIDEO][n].dts,
                         START + (n == 100 ? (3337 + 12) * MS : n * 3003));
    rig_free(r);
}

/* A pause that is no whole number of frames: from there on the beat lies elsewhere. */
static void a_new_phase_is_found(void **state)
{
    struct rig *r = rig_new(1000, 32, 30000. / 1001, 44100);
    const struct frame *v = r->out[TRACK_VIDEO];

    for (int64_t n = 0; n < 400; n++)
        video(r, stamp_ms(n, 30000, 1001, NEAREST, 0) + (n >= 200 ? 15 : 0));
    assert_int_equal(v[199].dts, START + 199 * 3003);
    for (int n = 240; n < 400; n++)
        assert_int_equal(v[n].dts - v[n - 1].dts, 3003);
    assert_true(llabs(v[399].dts - START - 399 * 3003 - 15 * MS) <= MS);
    rig_free(r);
}

/* --- B-frames --- */

static const int order[] = {0, 3, 1, 2}; /* I P B B; shown one frame after decoding */

static void compositions_snap_to_the_grid(void **state)
{
    struct rig *r = rig_new(1000, 32, 30000. / 1001, 44100);

    for (int64_t n = 0; n < 1000; n++) {
        int64_t shown = n / 4 * 4 + order[n % 4] + 1;
        int64_t dts = stamp_ms(n, 30000, 1001, NEAREST, 0);

        send(r, TRACK_VIDEO, dts, stamp_ms(shown, 30000, 1001, NEAREST, 0) - dts);
    }
    for (int n = 0; n < 1000; n++)
        assert_int_equal(r->out[TRACK_VIDEO][n].pts, START + (n / 4 * 4 + order[n % 4] + 1) * 3003);
    rig_free(r);
}

/* dts counted from the first pts: some pictures would be shown before they are decoded. Their
 * dts move back once; pts stay exact after the first such picture. */
static void negative_compositions(void **state)
{
    struct rig *r = rig_new(1000, 32, 30, 44100);

    for (int64_t n = 0; n < 1000; n++) {
        int64_t shown = n / 4 * 4 + order[n % 4], dts = stamp_ms(n, 30, 1, NEAREST, 0);

        send(r, TRACK_VIDEO, dts, stamp_ms(shown, 30, 1, NEAREST, 0) - dts);
    }
    for (int n = 4; n < 1000; n++) {
        assert_int_equal(r->out[TRACK_VIDEO][n].pts, START + (n / 4 * 4 + order[n % 4]) * 3000);
        assert_int_equal(r->out[TRACK_VIDEO][n].dts, START + (n - 1) * 3000);
    }
    rig_free(r);
}

static void impossible_compositions(void **state)
{
    struct rig *r = rig_new(1000, 32, 30, 44100);
    static const int64_t c[] = {8388607, -8388608, 20000, -2000, 9999, 0};

    for (int64_t n = 0; n < 600; n++)
        send(r, TRACK_VIDEO, n * 40, c[n % 6]);
    rig_free(r);
}

/* --- audio --- */

static void audio_counts_samples(void **state)
{
    static const int sample_rates[] = {44100, 48000, 22050, 32000, 96000, 8000};

    for (size_t i = 0; i < ARRAY_LEN(sample_rates); i++) {
        struct rig *r = rig_new(1000, 32, 30, sample_rates[i]);
        int64_t sum = 0;

        for (int64_t n = 0; n < 20000; n++)
            audio(r, stamp_ms(n * 1024, sample_rates[i], 1, i % 2, 0));
        for (int n = 0; n < 20000; n++) {
            assert_int_equal(r->out[TRACK_AUDIO][n].dts,
                             START + exact((int64_t)n * 1024, sample_rates[i], 1));
            assert_int_equal(r->out[TRACK_AUDIO][n].dts, START + sum);
            sum += r->out[TRACK_AUDIO][n].duration;
        }
        rig_free(r);
    }
}

/* Two frames under one stamp, as some encoders send them. */
static void audio_in_pairs(void **state)
{
    struct rig *r = rig_new(1000, 32, 30, 48000);

    for (int64_t n = 0; n < 5000; n++)
        audio(r, n / 2 * 2 * 1024 * 1000 / 48000);
    for (int n = 1; n < 5000; n++)
        assert_int_equal(r->out[TRACK_AUDIO][n].dts - r->out[TRACK_AUDIO][n - 1].dts, 1920);
    rig_free(r);
}

static void audio_gap_moves_on(void **state)
{
    struct rig *r = rig_new(1000, 32, 30, 48000);
    const struct frame *out = r->out[TRACK_AUDIO];

    for (int64_t n = 0; n < 300; n++)
        audio(r, n * 64 / 3 + (n >= 100 ? 3000 : 0));
    assert_int_equal(out[99].dts, START + 99 * 1920);
    assert_int_equal(out[100].dts, START + (100 * 64 / 3 + 3000) * MS);
    assert_int_equal(out[299].dts, out[100].dts + 199 * 1920);
    assert_int_equal(r->discontinuities[TRACK_AUDIO], 0);
    rig_free(r);
}

/* Off by less than a gap: led back in small steps, no hole, no overlap. */
static void audio_offset_is_slewed(void **state)
{
    struct rig *r = rig_new(1000, 32, 30, 48000);
    const struct frame *out = r->out[TRACK_AUDIO];

    for (int64_t n = 0; n < 1000; n++)
        audio(r, n * 64 / 3 + (n >= 100 ? 30 : 0));
    for (int n = 1; n < 1000; n++)
        assert_in_range(out[n].dts - out[n - 1].dts, 1920 - 32, 1920 + 32);
    assert_true(llabs(out[999].dts - START - (999 * 64 / 3 + 30) * MS) <= 2 * MS);
    rig_free(r);
}

static void audio_drifts(void **state)
{
    struct rig *r = rig_new(1000, 32, 30, 48000);

    for (int64_t n = 0; n < 30000; n++) /* 300 ppm fast */
        audio(r, n * 64 * 10003 / 30000);
    for (int n = 0; n < 30000; n++)
        assert_true(llabs(r->out[TRACK_AUDIO][n].dts - START -
                          (int64_t)n * 64 * 10003 / 30000 * MS) <= 4 * MS);
    rig_free(r);
}

/* --- wraps --- */

static void counter_wraps(void **state)
{
    static const struct {
        int64_t rate;
        int bits;
        int64_t from, modulo, wraps;
    } cases[] = {
        {1000, 32, ((int64_t)1 << 32) - 5000, (int64_t)1 << 32, 1},
        {1000, 32, ((int64_t)1 << 31) - 5000, (int64_t)1 << 32, 0},
        {1000, 32, ((int64_t)1 << 31) - 5000, (int64_t)1 << 31, 1},
        {90000, 33, ((int64_t)1 << 33) - 5000 * MS, (int64_t)1 << 33, 1},
        {90000, 33, ((int64_t)1 << 32) - 5000 * MS, (int64_t)1 << 33, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig *r = rig_new(cases[i].rate, cases[i].bits, 25, 48000);
        int64_t unit = cases[i].rate / 1000;

        for (int64_t n = 0; n < 250; n++) {
            video(r, (cases[i].from + n * 40 * unit) % cases[i].modulo);
            audio(r, (cases[i].from + (n * 40 - 15) * unit) % cases[i].modulo); /* interleaved */
        }
        for (int n = 0; n < 250; n++)
            assert_int_equal(r->out[TRACK_VIDEO][n].dts, START + n * 3600);
        assert_int_equal(r->discontinuities[TRACK_VIDEO] + r->discontinuities[TRACK_AUDIO], 0);
        struct timeline_stats s = rig_free(r);
        assert_int_equal(s.wraps, cases[i].wraps);
        assert_int_equal(s.jumps, 0);
    }
}

/* Sound that begins when the pictures have just wrapped, with a stamp from before. */
static void wrap_between_the_tracks(void **state)
{
    static const int64_t modulo[] = {(int64_t)1 << 31, (int64_t)1 << 32};

    for (size_t i = 0; i < ARRAY_LEN(modulo); i++) {
        struct rig *r = rig_new(1000, 32, 25, 48000);

        for (int64_t n = -10; n < 2; n++)
            video(r, (n * 40 + modulo[i]) % modulo[i]);
        audio(r, modulo[i] - 20);
        audio(r, 1);
        assert_int_equal(r->out[TRACK_AUDIO][0].dts, last(r, TRACK_VIDEO)->dts - 60 * MS);
        assert_int_equal(rig_free(r).jumps, 0);
    }
}

/* Times in a stream's PTS wrap on their own: a picture before the wrap is shown after it. */
static void pts_wraps_before_dts(void **state)
{
    struct rig *r = rig_new(90000, 33, 25, 48000);
    int64_t modulo = (int64_t)1 << 33;

    for (int64_t n = 0; n < 100; n++) {
        int64_t dts = modulo - 50 * 3600 + n * 3600;
        struct frame f = {.kind = TRACK_VIDEO,
                          .dts = dts % modulo,
                          .pts = (dts + 7200) % modulo,
                          .data = blob_copy(slice_str("x"))};

        timeline_frame(r->t, &f);
        frame_cleanup(&f);
        r->in[TRACK_VIDEO]++;
        assert_int_equal(last(r, TRACK_VIDEO)->dts, START + n * 3600);
        assert_int_equal(last(r, TRACK_VIDEO)->pts, START + n * 3600 + 7200);
    }
    rig_free(r);
}

/* Exact times pass unchanged: what came in 90 kHz keeps every tick. */
static void exact_times_stay(void **state)
{
    struct rig *r = rig_new(90000, 33, 30000. / 1001, 44100);
    struct dice dice = {5};
    int64_t t = 126000;

    for (int i = 0; i < 2000; i++) {
        send(r, TRACK_VIDEO, t, 6006);
        assert_int_equal(last(r, TRACK_VIDEO)->dts, START + t - 126000);
        assert_int_equal(last(r, TRACK_VIDEO)->pts, START + t - 126000 + 6006);
        t += i < 1000 ? 3003 : 1 + (int64_t)roll(&dice, 9000);
    }
    assert_int_equal(r->out[TRACK_VIDEO][500].duration, 3003);
    rig_free(r);
}

/* --- jumps --- */

static void jump_of_both_tracks(void **state)
{
    static const int64_t jumps[] = {-5000, -100000, 60000, 100000000, -2500000000};

    for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
        struct rig *r = rig_new(1000, 32, 25, 48000);
        const struct frame *v = r->out[TRACK_VIDEO], *a = r->out[TRACK_AUDIO];

        for (int64_t n = 0; n < 200; n++) {
            int64_t t = 3000000000 + n * 40 + (n >= 100 ? jumps[i] : 0);

            video(r, t & UINT32_MAX);
            audio(r, t & UINT32_MAX);
        }
        assert_int_equal(r->discontinuities[TRACK_VIDEO], 1);
        assert_int_equal(r->discontinuities[TRACK_AUDIO], 1);
        assert_true(v[100].discontinuity && a[100].discontinuity);
        assert_int_equal(v[99].dts, START + 99 * 3600);
        assert_in_range(v[100].dts, v[99].dts + 1, v[99].dts + 7200);
        assert_int_equal(v[199].dts - v[100].dts, 99 * 3600);
        for (int n = 100; n < 200; n++)
            assert_true(llabs(a[n].dts - v[n].dts) <= 60 * MS);
        assert_int_equal(rig_free(r).jumps, 1);
    }
}

static void jump_of_the_only_track(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 48000);
    const struct frame *v = r->out[TRACK_VIDEO];

    for (int64_t n = 0; n < 100; n++)
        video(r, n * 40);
    video(r, 1000000);
    assert_int_equal(r->n[TRACK_VIDEO], 100); /* waits for a second opinion */
    video(r, 1000040);
    assert_int_equal(r->n[TRACK_VIDEO], 102);
    assert_true(v[100].discontinuity && !v[101].discontinuity);
    assert_int_equal(v[100].dts, START + 100 * 3600);
    assert_int_equal(v[101].dts, START + 101 * 3600);
    video(r, 0);
    timeline_flush(r->t); /* the end of a stream hands it out */
    assert_int_equal(r->n[TRACK_VIDEO], 103);
    assert_int_equal(rig_free(r).jumps, 2);
}

/* One frame with a wrong stamp is no jump. */
static void stray_stamps(void **state)
{
    static const int64_t strays[] = {0, 4000000000, 1000000, 3000};

    for (size_t i = 0; i < ARRAY_LEN(strays); i++) {
        struct rig *r = rig_new(1000, 32, 25, 48000);
        const struct frame *v = r->out[TRACK_VIDEO];

        for (int64_t n = 0; n < 200; n++) {
            video(r, n == 150 ? strays[i] : n * 40);
            audio(r, n * 40);
        }
        assert_int_equal(r->discontinuities[TRACK_VIDEO] + r->discontinuities[TRACK_AUDIO], 0);
        assert_int_equal(v[149].dts, START + 149 * 3600);
        assert_int_equal(v[151].dts, START + 151 * 3600);
        assert_int_equal(rig_free(r).jumps, 0);
    }
}

static void gap_of_nine_seconds_is_kept(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 48000);

    for (int64_t n = 0; n < 100; n++)
        video(r, n * 40 + (n >= 50 ? 9000 : 0));
    assert_int_equal(last(r, TRACK_VIDEO)->dts, START + (99 * 40 + 9000) * MS);
    assert_int_equal(r->discontinuities[TRACK_VIDEO], 0);
    assert_int_equal(rig_free(r).jumps, 0);
}

static void repeats_move_on_by_a_tick(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 48000);
    const struct frame *v = r->out[TRACK_VIDEO];
    static const int64_t sent[] = {0, 40, 40, 80, 80, 80, 60, 120, 160};

    for (size_t i = 0; i < ARRAY_LEN(sent); i++)
        video(r, sent[i]);
    assert_int_equal(v[2].dts, START + 3601);
    assert_int_equal(v[3].dts, START + 7200);
    assert_int_equal(v[6].dts, START + 7203);
    assert_int_equal(v[7].dts, START + 10800);
    assert_int_equal(v[8].dts, START + 14400);
    assert_int_equal(rig_free(r).repeats, 4);
}

static void all_zero(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 48000);

    for (int n = 0; n < 1000; n++) {
        video(r, 0);
        audio(r, 0);
    }
    assert_int_equal(last(r, TRACK_VIDEO)->dts, START + 999);
    assert_int_equal(rig_free(r).jumps, 0);
}

/* --- two tracks --- */

static void repeated_header(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 48000);
    struct track same = track_of(AVCC_25), other = track_of(AVCC_NTSC);

    for (int64_t n = 0; n < 100; n++) {
        timeline_track(r->t, TRACK_VIDEO, &same);
        video(r, n * 40);
    }
    assert_int_equal(r->tracks[TRACK_VIDEO], 1);
    timeline_track(r->t, TRACK_VIDEO, &other);
    assert_int_equal(r->tracks[TRACK_VIDEO], 2);
    for (int64_t n = 0; n < 100; n++)
        video(r, 4000 + stamp_ms(n, 30000, 1001, NEAREST, 0));
    assert_int_equal(r->out[TRACK_VIDEO][100].dts, START + 100 * 3600);
    assert_int_equal(last(r, TRACK_VIDEO)->dts, START + 100 * 3600 + 99 * 3003);
    assert_int_equal(r->discontinuities[TRACK_VIDEO], 0);
    track_cleanup(&same);
    track_cleanup(&other);
    rig_free(r);
}

/* Sound that is away for minutes comes back where the pictures are. */
static void audio_missing_for_minutes(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 48000);

    for (int64_t n = 0; n < 5000; n++) {
        video(r, n * 40);
        if (n < 10 || n > 4900)
            audio(r, n * 40);
    }
    assert_true(llabs(last(r, TRACK_AUDIO)->dts - last(r, TRACK_VIDEO)->dts) < 60 * MS);
    assert_int_equal(r->out[TRACK_AUDIO][10].dts, START + 4901 * 3600);
    assert_int_equal(r->discontinuities[TRACK_AUDIO] + r->discontinuities[TRACK_VIDEO], 0);
    assert_int_equal(rig_free(r).jumps, 0);
}

static void audio_arrives_late(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 48000);

    for (int64_t n = 0; n < 1000; n++) {
        video(r, n * 40);
        if (n >= 150) /* six seconds behind its pictures, all along */
            audio(r, (n - 150) * 40);
    }
    assert_int_equal(r->out[TRACK_AUDIO][0].dts, START);
    assert_in_range(rig_free(r).late_audio_ms_max, 6000, 6060);
}

/* Two clocks that have nothing to do with each other: no discontinuity a frame. */
static void clocks_apart(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 48000);

    for (int64_t n = 0; n < 1000; n++) {
        video(r, 5000000 + n * 40);
        audio(r, n * 40);
    }
    assert_int_equal(r->discontinuities[TRACK_VIDEO] + r->discontinuities[TRACK_AUDIO], 0);
    assert_true(llabs(last(r, TRACK_AUDIO)->dts - last(r, TRACK_VIDEO)->dts) < 100 * MS);
    rig_free(r);
}

static void audio_before_the_first_picture(void **state)
{
    struct rig *r = rig_new(1000, 32, 25, 48000);

    video(r, 100);
    audio(r, 60);
    audio(r, 81);
    assert_int_equal(r->out[TRACK_VIDEO][0].dts, START);
    assert_true(r->out[TRACK_AUDIO][0].dts >= START); /* never before the stream began */
    rig_free(r);
}

/* --- anything at all --- */

/* What a broken or hostile sender may do, step by step. */
static int64_t next_stamp(struct dice *dice, int64_t t)
{
    switch (roll(dice, 40)) {
    case 0:
        return (int64_t)roll(dice, (uint64_t)1 << 33);
    case 1:
        return t - (int64_t)roll(dice, 3000);
    case 2:
        return t + (int64_t)roll(dice, 30000);
    case 3:
        return t;
    case 4:
        return 0;
    case 5:
        return t + ((int64_t)1 << 31);
    default:
        return t + 1 + (int64_t)roll(dice, 60);
    }
}

static void garbage_stays_sane(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rig *r = rig_new(seed % 2 ? 1000 : 90000, seed % 2 ? 32 : 33, (double)(seed % 62),
                                44100);
        struct dice dice = {seed};
        int64_t t[TRACK_KINDS] = {0};

        for (int i = 0; i < 5000; i++) {
            enum track_kind kind = (enum track_kind)roll(&dice, 2);
            int64_t before = r->n[kind] ? last(r, kind)->dts : START;

            t[kind] = next_stamp(&dice, t[kind]);
            send(r, kind, t[kind],
                 roll(&dice, 50) ? (int64_t)roll(&dice, 200) - 20
                                 : (int64_t)roll(&dice, 1 << 24) - (1 << 23));
            if (r->n[kind] > 1)
                assert_true(last(r, kind)->dts - before <=
                            60LL * TICKS_PER_SECOND + 5000 * 12 * MS);
        }
        assert_true(last(r, TRACK_VIDEO)->dts < START + 5000LL * 11 * TICKS_PER_SECOND);
        rig_free(r);
    }
}

static void extreme_values(void **state)
{
    static const int64_t v[] = {INT64_MIN, INT64_MAX, -1, 0, (int64_t)1 << 32, (int64_t)1 << 62};
    struct rig *r = rig_new(1000, 32, 25, 44100);
    struct frame f = {.data = blob_copy(slice_str("x"))};
    struct dice dice = {9};

    for (int i = 0; i < 1000; i++) {
        f.kind = (enum track_kind)roll(&dice, 2);
        f.dts = v[roll(&dice, ARRAY_LEN(v))];
        f.pts = v[roll(&dice, ARRAY_LEN(v))];
        timeline_frame(r->t, &f);
        r->in[f.kind]++;
    }
    frame_cleanup(&f);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady_with_hint),
        cmocka_unit_test(steady_without_hint),
        cmocka_unit_test(ntsc_steps_are_3003),
        cmocka_unit_test(wrong_hints),
        cmocka_unit_test(hint_of_30_for_29_97),
        cmocka_unit_test(dropped_frames_stay_on_the_grid),
        cmocka_unit_test(drifting_sender),
        cmocka_unit_test(variable_rate_is_left_as_sent),
        cmocka_unit_test(variable_rate_with_a_hint),
        cmocka_unit_test(from_steady_to_variable_and_back),
        cmocka_unit_test(one_frame_off_the_beat),
        cmocka_unit_test(a_new_phase_is_found),
        cmocka_unit_test(compositions_snap_to_the_grid),
        cmocka_unit_test(negative_compositions),
        cmocka_unit_test(impossible_compositions),
        cmocka_unit_test(audio_counts_samples),
        cmocka_unit_test(audio_in_pairs),
        cmocka_unit_test(audio_gap_moves_on),
        cmocka_unit_test(audio_offset_is_slewed),
        cmocka_unit_test(audio_drifts),
        cmocka_unit_test(counter_wraps),
        cmocka_unit_test(wrap_between_the_tracks),
        cmocka_unit_test(pts_wraps_before_dts),
        cmocka_unit_test(exact_times_stay),
        cmocka_unit_test(jump_of_both_tracks),
        cmocka_unit_test(jump_of_the_only_track),
        cmocka_unit_test(stray_stamps),
        cmocka_unit_test(gap_of_nine_seconds_is_kept),
        cmocka_unit_test(repeats_move_on_by_a_tick),
        cmocka_unit_test(all_zero),
        cmocka_unit_test(repeated_header),
        cmocka_unit_test(audio_missing_for_minutes),
        cmocka_unit_test(audio_arrives_late),
        cmocka_unit_test(clocks_apart),
        cmocka_unit_test(audio_before_the_first_picture),
        cmocka_unit_test(garbage_stays_sane),
        cmocka_unit_test(extreme_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
