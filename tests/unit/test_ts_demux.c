/* The demuxer and the probe: what the muxer wrote comes back in any cut; damage costs the frame
 * it is in; what is no MPEG-TS is named. */
#include "ts_test.h"

#include <stdio.h>

#include "media/ts/ts_int.h"

/* --- a stream of both tracks, with B-frames --- */

struct stream {
    struct clip clip;
    struct buf bytes;
    size_t at[MAX_FRAMES]; /* where a frame's first packet is, video only */
};

static struct stream *stream_new(int pictures, int64_t start)
{
    static const int shown[] = {1, 4, 2, 3};
    struct stream *s = xcalloc(1, sizeof(*s));
    struct ts_mux *m = ts_mux_new();
    struct track v = track_of(AVCC_25), a = aac_track("1190");
    int64_t audio = start;

    buf_init(&s->bytes, 1 << 27);
    ts_mux_track(m, TRACK_VIDEO, &v);
    ts_mux_track(m, TRACK_AUDIO, &a);
    for (int n = 0; n < pictures; n++) {
        int64_t dts = start + n * 3600, pts = start + (n / 4 * 4 + shown[n % 4]) * 3600;

        if (n % 24 == 0) {
            if (n)
                ts_mux_end(m, &s->bytes);
            ts_mux_begin(m, &s->bytes, false);
        }
        for (; audio <= dts; audio += 1920) {
            clip_add(&s->clip, sound(audio, 50 + (size_t)(audio / 1920 * 37 % 400)));
            ts_mux_frame(m, &s->clip.f[s->clip.n - 1], &s->bytes);
        }
        s->at[s->clip.n] = s->bytes.n;
        clip_add(&s->clip, picture(dts, pts, n % 24 == 0, (size_t)(n * 997 % 3000)));
        ts_mux_frame(m, &s->clip.f[s->clip.n - 1], &s->bytes);
    }
    ts_mux_end(m, &s->bytes);
    track_cleanup(&v);
    track_cleanup(&a);
    ts_mux_free(m);
    return s;
}

static void stream_free(struct stream *s)
{
    clip_clear(&s->clip);
    buf_cleanup(&s->bytes);
    free(s);
}

static void assert_whole(const struct stream *s, struct slice bytes, size_t step)
{
    struct seen *seen = demux(bytes, step, RC_OK);

    assert_same(&s->clip, &seen->clip, TRACK_VIDEO, NULL);
    assert_same(&s->clip, &seen->clip, TRACK_AUDIO, NULL);
    assert_int_equal(seen->tracks[TRACK_VIDEO], 1);
    assert_int_equal(seen->tracks[TRACK_AUDIO], 1);
    seen_free(seen);
}

static void any_cut_gives_the_same(void **state)
{
    static const size_t steps[] = {1, 2, 7, 187, 188, 189, 376, 1000, 65536, SIZE_MAX};
    struct stream *s = stream_new(100, 900000);

    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        assert_whole(s, buf_slice(&s->bytes), steps[i]);
    stream_free(s);
}

static void tracks_are_told(void **state)
{
    struct stream *s = stream_new(4, 0);
    struct seen *seen = demux(buf_slice(&s->bytes), SIZE_MAX, RC_OK);

    assert_bytes(blob_slice(seen->track[TRACK_VIDEO].config), AVCC_25);
    assert_int_equal(seen->track[TRACK_VIDEO].width, 320);
    assert_float_equal(seen->track[TRACK_VIDEO].fps, 25, 1e-9);
    assert_bytes(blob_slice(seen->track[TRACK_AUDIO].config), "1190");
    assert_int_equal(seen->track[TRACK_AUDIO].sample_rate, 48000);
    seen_free(seen);
    stream_free(s);
}

static void times_wrap(void **state)
{
    struct stream *s = stream_new(100, WRAP - 50 * 3600);

    assert_whole(s, buf_slice(&s->bytes), 1000);
    stream_free(s);
}

static void every_size_round_trip(void **state)
{
    struct clip clip = {.n = 0};
    struct ts_mux *m = ts_mux_new();
    struct track v = track_of(AVCC_25);
    struct buf out;

    buf_init(&out, 1 << 27);
    ts_mux_track(m, TRACK_VIDEO, &v);
    ts_mux_begin(m, &out, false);
    for (int n = 0; n < 600; n++)
        clip_add(&clip, picture(n * 3600, n * 3600, true, n < 500 ? (size_t)n : 65400 + (size_t)n));
    for (int n = 0; n < clip.n; n++)
        ts_mux_frame(m, &clip.f[n], &out);
    struct seen *seen = demux(buf_slice(&out), 4096, RC_OK);
    assert_same(&clip, &seen->clip, TRACK_VIDEO, NULL);
    seen_free(seen);
    clip_clear(&clip);
    buf_cleanup(&out);
    track_cleanup(&v);
    ts_mux_free(m);
}

/* --- damage --- */

static unsigned pid_at(const struct buf *b, size_t at)
{
    return (b->p[at + 1] & 31u) << 8 | b->p[at + 2];
}

static void buf_remove(struct buf *b, size_t at, size_t n)
{
    memmove(b->p + at, b->p + at + n, b->n - at - n);
    b->n -= n;
}

/* What came out is what went in: no frame with a hole in it. */
static void assert_undamaged(const struct clip *in, const struct clip *out)
{
    for (int i = 0, at = 0; i < out->n; i++) {
        if (out->f[i].kind != TRACK_VIDEO)
            continue;
        while (at < in->n && !same_frame(&in->f[at], &out->f[i]))
            at++;
        assert_true(at < in->n);
    }
}

/* Each single packet lost in turn: of the video only the picture it was part of goes (and the
 * one before, whose end is only known by what follows), of the audio at most one PES. */
static void one_packet_lost(void **state)
{
    struct stream *s = stream_new(48, 900000);
    int pictures = 0, sounds = 0;

    for (int i = 0; i < s->clip.n; i++) {
        pictures += s->clip.f[i].kind == TRACK_VIDEO;
        sounds += s->clip.f[i].kind == TRACK_AUDIO;
    }
    for (size_t at = 0; at < s->bytes.n; at += PACKET) {
        struct buf damaged;
        unsigned pid = pid_at(&s->bytes, at);
        int got[TRACK_KINDS] = {0};

        buf_init(&damaged, s->bytes.n);
        buf_add_slice(&damaged, buf_slice(&s->bytes));
        buf_remove(&damaged, at, PACKET);
        struct seen *seen = demux(buf_slice(&damaged), 1000, RC_OK);
        for (int i = 0; i < seen->clip.n; i++)
            got[seen->clip.f[i].kind]++;
        assert_undamaged(&s->clip, &seen->clip);
        if (at >= 3 * PACKET) { /* tables and first sets were there */
            assert_in_range(got[TRACK_VIDEO], pictures - (pid == 0x100 ? 2 : 0), pictures);
            assert_in_range(got[TRACK_AUDIO], sounds - (pid == 0x101 ? 10 : 0), sounds);
        }
        seen_free(seen);
        buf_cleanup(&damaged);
    }
    stream_free(s);
}

/* Bytes wrong in the middle of a picture's slice leave every other frame as it was. */
static void sync_lost_and_found(void **state)
{
    struct stream *s = stream_new(100, 900000);
    int hit = 0;
    bool lost[MAX_FRAMES] = {false};
    struct buf damaged;

    for (int i = 40; i < s->clip.n && !hit; i++)
        if (s->clip.f[i].kind == TRACK_VIDEO && s->clip.f[i].data->n > 2000)
            hit = i;
    buf_init(&damaged, 1 << 27);
    buf_add(&damaged, s->bytes.p, s->at[hit] + 3 * PACKET);
    buf_add(&damaged, "some bytes that were never part of it", 37);
    buf_add_slice(&damaged, slice_skip(buf_slice(&s->bytes), s->at[hit] + 4 * PACKET));
    lost[hit] = true;
    struct seen *seen = demux(buf_slice(&damaged), 500, RC_OK);
    assert_same(&s->clip, &seen->clip, TRACK_VIDEO, lost);
    assert_same(&s->clip, &seen->clip, TRACK_AUDIO, NULL);
    seen_free(seen);
    buf_cleanup(&damaged);
    stream_free(s);
}

static void repeated_packets(void **state)
{
    struct stream *s = stream_new(50, 900000);
    struct buf twice;

    buf_init(&twice, 1 << 27);
    for (size_t at = 0; at < s->bytes.n; at += PACKET) {
        buf_add(&twice, s->bytes.p + at, PACKET);
        if (at / PACKET % 3 == 0)
            buf_add(&twice, s->bytes.p + at, PACKET);
    }
    assert_whole(s, buf_slice(&twice), 1000);
    buf_cleanup(&twice);
    stream_free(s);
}

/* A packet with its error bit set, or scrambled, counts as lost; one with a wrong CRC in the
 * tables changes nothing. */
static void marked_packets(void **state)
{
    struct stream *s = stream_new(50, 900000);
    bool lost[MAX_FRAMES] = {false};
    int hit = 60, tables = 0;

    while (s->clip.f[hit].kind != TRACK_VIDEO || s->clip.f[hit].data->n < 1000)
        hit++;
    s->bytes.p[s->at[hit] + PACKET + 1] |= 0x80;
    lost[hit] = true;
    for (hit++; s->clip.f[hit].kind != TRACK_VIDEO || s->clip.f[hit].data->n < 1000;)
        hit++;
    s->bytes.p[s->at[hit] + PACKET + 3] |= 0x80;
    lost[hit] = true;
    for (size_t at = 0; at < s->bytes.n; at += PACKET)
        if (pid_at(&s->bytes, at) == 0x1000 && tables++)
            s->bytes.p[at + 17] ^= 1;
    assert_true(tables > 1);
    struct seen *seen = demux(buf_slice(&s->bytes), 1000, RC_OK);
    assert_same(&s->clip, &seen->clip, TRACK_VIDEO, lost);
    assert_same(&s->clip, &seen->clip, TRACK_AUDIO, NULL);
    seen_free(seen);
    stream_free(s);
}

/* A picture too large for a PES that says its length is only known to be whole by the packets'
 * counters; also when its packets are there but marked as damaged. */
static void loss_in_a_large_picture(void **state)
{
    struct track v = track_of(AVCC_25);

    for (int marked = 0; marked < 2; marked++) {
        struct ts_mux *m = ts_mux_new();
        bool lost[MAX_FRAMES] = {false, true};
        struct clip clip = {.n = 0};
        struct buf out;

        buf_init(&out, 1 << 27);
        ts_mux_track(m, TRACK_VIDEO, &v);
        ts_mux_begin(m, &out, false);
        for (int n = 0; n < 3; n++) {
            clip_add(&clip, picture(n * 3600, n * 3600, n == 0, 70000));
            ts_mux_frame(m, &clip.f[n], &out);
        }
        if (marked)
            out.p[500 * PACKET + 1] |= 0x80;
        else
            buf_remove(&out, 500 * PACKET, PACKET);
        struct seen *seen = demux(buf_slice(&out), 4096, RC_OK);
        assert_same(&clip, &seen->clip, TRACK_VIDEO, lost);
        seen_free(seen);
        clip_clear(&clip);
        buf_cleanup(&out);
        ts_mux_free(m);
    }
    track_cleanup(&v);
}

/* --- finding sync --- */

static void sync_is_found_at_once(void **state)
{
    struct stream *s = stream_new(30, 900000);
    struct buf b;

    buf_init(&b, 1 << 27);
    buf_add(&b, "\0GGG\0GG\0", 8);
    buf_add_slice(&b, buf_slice(&s->bytes));
    assert_whole(s, buf_slice(&b), 100);
    buf_cleanup(&b);
    stream_free(s);
}

static void junk_before_the_stream(void **state)
{
    static const size_t sizes[] = {1, 187, 188, 1000, 60000};
    struct stream *s = stream_new(100, 900000);
    struct dice dice = {4};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf b;

        buf_init(&b, 1 << 27);
        for (size_t k = 0; k < sizes[i]; k++)
            buf_u8(&b, roll(&dice, 4) ? 0x47 : (uint8_t)roll(&dice, 256));
        buf_add_slice(&b, buf_slice(&s->bytes));
        struct seen *seen = demux(buf_slice(&b), 333, RC_OK);
        assert_true(seen->clip.n > s->clip.n * 3 / 5); /* chance may cost the first tables */
        seen_free(seen);
        buf_cleanup(&b);
    }
    stream_free(s);
}

static void short_streams(void **state)
{
    struct stream *s = stream_new(1, 0);

    for (size_t packets = 0; packets * PACKET <= s->bytes.n; packets++) {
        struct seen *seen = demux(slice_of(s->bytes.p, packets * PACKET), 100, RC_OK);

        assert_int_equal(seen->clip.n, packets < 3 ? 0 : packets < 4 ? 1 : 2);
        seen_free(seen);
    }
    stream_free(s);
}

static void something_else(void **state)
{
    static const struct {
        const char *name, *begin;
        size_t n;
    } cases[] = {
        {"FLV", "FLV\1\5\0\0\0\11", 9},
        {"MP4", "\0\0\0\40ftypisom", 12},
        {"Matroska", "\x1a\x45\xdf\xa3", 4},
        {"a playlist", "#EXTM3U\n", 8},
        {"text", "hello", 5},
        {"H.264 without", "\0\0\0\1\x67", 5},
        {"bytes 00 ff 12 34", "\0\xff\x12\x34", 4},
    };
    static uint8_t bytes[65536];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct seen seen = {.tracks = {0}};
        struct frame_sink sink = {see_track, see_frame, &seen};
        struct ts_demux *d = ts_demux_new(&sink);
        struct ts_probe probe;
        struct err err;

        memset(bytes, '\t', sizeof(bytes));
        memcpy(bytes, cases[i].begin, cases[i].n);
        assert_int_equal(ts_demux_feed(d, slice_of(bytes, 65535), &err), RC_OK);
        assert_int_equal(ts_demux_feed(d, slice_of(bytes, 1), &err), RC_BAD_INPUT);
        assert_non_null(strstr(err.text, cases[i].name));
        assert_int_equal(ts_probe(slice_of(cases[i].begin, cases[i].n), &probe, &err),
                         RC_BAD_INPUT);
        assert_non_null(strstr(err.text, cases[i].name));
        ts_probe_cleanup(&probe);
        ts_demux_free(d);
    }
}

/* --- streams made by hand --- */

struct hand {
    struct buf out;
    uint8_t cc[8192];
};

static void hand_packet(struct hand *h, unsigned pid, bool start, struct slice payload)
{
    size_t stuff = PACKET - 4 - payload.n;

    assert_true(payload.n <= PACKET - 4);
    buf_u8(&h->out, 0x47);
    buf_be16(&h->out, (uint16_t)(pid | (start ? 0x4000 : 0)));
    buf_u8(&h->out, (uint8_t)((stuff ? 0x30 : 0x10) | (h->cc[pid]++ & 15)));
    for (size_t i = 0; i < stuff; i++)
        buf_u8(&h->out, i == 0 ? (uint8_t)(stuff - 1) : i == 1 ? 0 : 0xff);
    buf_add_slice(&h->out, payload);
}

/* A payload over as many packets as it takes. */
static void hand_unit(struct hand *h, unsigned pid, struct slice s)
{
    for (bool start = true; start || s.n; start = false) {
        struct slice part = slice_sub(s, 0, PACKET - 4);

        hand_packet(h, pid, start, part);
        s = slice_skip(s, part.n);
    }
}

static void hand_section(struct hand *h, unsigned pid, const char *hex)
{
    struct blob *body = from_hex(hex);
    struct buf s;

    buf_init(&s, 4096);
    buf_u8(&s, 0);
    buf_u8(&s, body->p[0]);
    buf_be16(&s, (uint16_t)(0xb000 | (body->n - 1 + 4)));
    buf_add(&s, body->p + 1, body->n - 1);
    buf_be32(&s, ts_crc(slice_skip(buf_slice(&s), 1)));
    hand_unit(h, pid, buf_slice(&s));
    buf_cleanup(&s);
    blob_unref(&body);
}

static void hand_pes(struct hand *h, unsigned pid, const char *header, const char *payload)
{
    struct blob *head = from_hex(header), *body = from_hex(payload);
    struct buf b;

    buf_init(&b, 1 << 20);
    buf_add_slice(&b, blob_slice(head));
    buf_add_slice(&b, blob_slice(body));
    hand_unit(h, pid, buf_slice(&b));
    buf_cleanup(&b);
    blob_unref(&head);
    blob_unref(&body);
}

static struct hand *hand_new(const char *pmt)
{
    struct hand *h = xcalloc(1, sizeof(*h));

    buf_init(&h->out, 1 << 20);
    hand_section(h, 0, "000001c100000000e0100001e020");
    hand_section(h, 0x20, pmt);
    return h;
}

static void hand_free(struct hand *h)
{
    buf_cleanup(&h->out);
    free(h);
}

#define PMT_H264_AAC "020001c10000e030f0001be030f0000fe031f000"
#define PES_0                                                                                      \
    "000001e0000080800521"                                                                         \
    "00010001" /* pts 0 */
#define PES_NO_TIME "000001e00000800000"
#define SETS_25 "000000016742c00dd90141fb011000000300100000030320f142a4800000000168cb83cb20"
#define IDR "0000000165888888"
#define SLICE "0000000141999999"

static void descriptors_over_three_packets(void **state)
{
    char pmt[2000] = "020001c10000e030f1f4";
    struct hand *h;
    struct seen *seen;

    for (int i = 0; i < 500; i++)
        strcat(pmt, "00");
    strcat(pmt, "1be030f0040501020306e032f0000fe031f000");
    h = hand_new(pmt);
    hand_pes(h, 0x30, PES_0, "00000109f0" SETS_25 IDR);
    hand_pes(h, 0x30, PES_NO_TIME, SLICE);
    seen = demux(buf_slice(&h->out), 50, RC_OK);
    assert_int_equal(seen->clip.n, 2);
    assert_bytes(blob_slice(seen->clip.f[0].data), "0000000465888888");
    assert_true(seen->clip.f[0].key && !seen->clip.f[1].key);
    seen_free(seen);
    hand_free(h);
}

/* Two sections, the first ending in the packet where the second begins. */
static void sections_share_a_packet(void **state)
{
    static const char first[] = "02b0120001c10000e030f0001be030f000";
    struct hand *h = xcalloc(1, sizeof(*h));
    struct blob *pmt = from_hex(first);
    struct buf s;

    buf_init(&h->out, 1 << 20);
    buf_init(&s, 1000);
    hand_section(h, 0, "000001c100000001e020");
    buf_add_slice(&s, blob_slice(pmt));
    buf_be32(&s, ts_crc(blob_slice(pmt)));
    struct buf part;
    buf_init(&part, 1000);
    buf_u8(&part, 0);
    buf_add(&part, s.p, 10);
    hand_packet(h, 0x20, true, buf_slice(&part));
    buf_clear(&part);
    buf_u8(&part, (uint8_t)(s.n - 10));
    buf_add(&part, s.p + 10, s.n - 10);
    buf_u8(&part, 0xff);
    hand_packet(h, 0x20, true, buf_slice(&part));
    hand_pes(h, 0x30, PES_0, SETS_25 IDR);
    struct seen *seen = demux(buf_slice(&h->out), 50, RC_OK);
    assert_int_equal(seen->clip.n, 1);
    seen_free(seen);
    buf_cleanup(&part);
    buf_cleanup(&s);
    blob_unref(&pmt);
    hand_free(h);
}

/* A second part of the PAT names other programmes; a table may announce what is not yet. */
static void tables_that_are_not_for_now(void **state)
{
    struct hand *h = hand_new(PMT_H264_AAC);

    hand_pes(h, 0x30, PES_0, SETS_25 IDR);
    hand_section(h, 0, "000001c101010002e050");
    hand_section(h, 0x50, "020002c10000e060f0001be060f000");
    hand_section(h, 0x20, "020001c20000e060f0001be060f000");
    hand_pes(h, 0x60, PES_0, SETS_25 IDR);
    hand_pes(h, 0x30, PES_0, SLICE);
    struct seen *seen = demux(buf_slice(&h->out), 50, RC_OK);
    assert_int_equal(seen->clip.n, 2);
    assert_bytes(blob_slice(seen->clip.f[1].data), "0000000441999999");
    seen_free(seen);
    hand_free(h);
}

/* A picture above the limit is left out whole. */
static void picture_above_the_limit(void **state)
{
    struct ts_mux *m = ts_mux_new();
    struct track v = track_of(AVCC_25);
    struct clip clip = {.n = 0};
    bool lost[] = {false, true, false};
    struct buf out;

    buf_init(&out, 1 << 27);
    ts_mux_track(m, TRACK_VIDEO, &v);
    ts_mux_begin(m, &out, false);
    for (int n = 0; n < 3; n++) {
        clip_add(&clip, picture(n * 3600, n * 3600, true, MAX_FRAME_BYTES - 5 + n % 2));
        ts_mux_frame(m, &clip.f[n], &out);
    }
    struct seen *seen = demux(buf_slice(&out), SIZE_MAX, RC_OK);
    assert_same(&clip, &seen->clip, TRACK_VIDEO, lost);
    seen_free(seen);
    clip_clear(&clip);
    buf_cleanup(&out);
    track_cleanup(&v);
    ts_mux_free(m);
}

/* What comes before parameter sets, or without any time, is no frame; a time that is left out
 * later goes on in the same step. */
static void pictures_without_times_or_sets(void **state)
{
    struct hand *h = hand_new(PMT_H264_AAC);

    hand_pes(h, 0x30, PES_0, IDR);                          /* no sets yet */
    hand_pes(h, 0x30, PES_NO_TIME, SETS_25 IDR);            /* no time yet */
    hand_pes(h, 0x30, "000001e000008080052100010001", IDR); /* 0 */
    hand_pes(h, 0x30,
             "000001e0000080800521"
             "00011c21",
             SLICE); /* 3600 */
    hand_pes(h, 0x30, PES_NO_TIME, SLICE);
    hand_pes(h, 0x30, PES_NO_TIME, "0000000106050000000168cb83cb20"); /* no picture in it */
    struct seen *seen = demux(buf_slice(&h->out), 50, RC_OK);
    assert_int_equal(seen->clip.n, 3);
    assert_int_equal(seen->clip.f[0].dts, 0);
    assert_int_equal(seen->clip.f[1].dts, 3600);
    assert_int_equal(seen->clip.f[2].dts, 7200);
    assert_int_equal(seen->tracks[TRACK_VIDEO], 1);
    seen_free(seen);
    hand_free(h);
}

/* PPS that change alone make a new track once; the same again does not. */
static void parameter_sets_change(void **state)
{
    struct hand *h = hand_new(PMT_H264_AAC);

    hand_pes(h, 0x30, PES_0, SETS_25 IDR);
    hand_pes(h, 0x30, PES_0, SETS_25 IDR);
    hand_pes(h, 0x30, PES_0, "0000000168cb83cb20" SLICE);
    hand_pes(h, 0x30, PES_0, "0000000168cb83cb21" SLICE); /* same id, other bytes */
    hand_pes(h, 0x30, PES_0, "000000016859aa" SLICE);     /* another id */
    hand_pes(h, 0x30, PES_0, "000000016859aa" SLICE);
    struct seen *seen = demux(buf_slice(&h->out), 50, RC_OK);
    assert_int_equal(seen->tracks[TRACK_VIDEO], 3);
    assert_bytes(blob_slice(seen->track[TRACK_VIDEO].config),
                 "0142c00dffe100186742c00dd90141fb011000000300100000030320f142a480"
                 "02000568cb83cb2100036859aa");
    seen_free(seen);
    hand_free(h);
}

#define PES_AUDIO(length)                                                                          \
    "000001c0" length "80800521"                                                                   \
    "00010001"
#define ADTS_1 "fff14c80011ffc21"
#define ADTS_2 "fff14c80013ffc2122"

/* An ADTS frame may begin in one PES and end in the next, whose time is then that of the first
 * that begins in it. */
static void sound_across_pes(void **state)
{
    struct hand *h = hand_new(PMT_H264_AAC);

    hand_pes(h, 0x31, PES_AUDIO("0015"), ADTS_1 "fff14c8001");
    hand_pes(h, 0x31,
             "000001c0001580800521"
             "00030401",
             "3ffc2122" ADTS_2); /* 33280 */
    struct seen *seen = demux(buf_slice(&h->out), 50, RC_OK);
    assert_int_equal(seen->clip.n, 3);
    assert_int_equal(seen->clip.f[0].dts, 0);
    assert_int_equal(seen->clip.f[1].dts, 1920);
    assert_bytes(blob_slice(seen->clip.f[1].data), "2122");
    assert_int_equal(seen->clip.f[2].dts, 33280);
    seen_free(seen);
    hand_free(h);
}

/* Bytes between frames are skipped; a sync word by chance is not believed. */
static void sound_with_junk(void **state)
{
    struct hand *h = hand_new(PMT_H264_AAC);

    hand_pes(h, 0x31, PES_AUDIO("0000"),
             "ffff00fff14c80fffff0"
             "fff14c80013ffcaabbcc" ADTS_1 ADTS_2 ADTS_1);
    struct seen *seen = demux(buf_slice(&h->out), 50, RC_OK);
    assert_int_equal(seen->clip.n, 3);
    assert_int_equal(seen->clip.f[0].dts, 0);
    assert_int_equal(seen->clip.f[2].dts, 3840);
    seen_free(seen);
    hand_free(h);
}

static void streams_come_and_go(void **state)
{
    struct hand *h = hand_new(PMT_H264_AAC);

    hand_pes(h, 0x30, PES_0, SETS_25 IDR);
    hand_pes(h, 0x31, PES_AUDIO("0010"), ADTS_1);
    hand_section(h, 0x20, "020001c30000e040f0001be040f000"); /* video elsewhere, no audio */
    hand_pes(h, 0x30, PES_0, SLICE);
    hand_pes(h, 0x31, PES_AUDIO("0010"), ADTS_1);
    hand_pes(h, 0x40, PES_0, SETS_25 IDR);
    struct seen *seen = demux(buf_slice(&h->out), 50, RC_OK);
    assert_int_equal(seen->clip.n, 3);
    assert_int_equal(seen->tracks[TRACK_AUDIO], 2);
    assert_int_equal(seen->track[TRACK_AUDIO].codec, CODEC_NONE);
    assert_int_equal(seen->track[TRACK_VIDEO].codec, CODEC_H264);
    seen_free(seen);
    hand_free(h);
}

/* A PES that says its length is a frame at once, not only when the next one begins. */
static void known_lengths_do_not_wait(void **state)
{
    struct hand *h = hand_new(PMT_H264_AAC);
    struct seen *seen = xcalloc(1, sizeof(*seen));
    struct frame_sink sink = {see_track, see_frame, seen};
    struct ts_demux *d = ts_demux_new(&sink);

    hand_pes(h, 0x30,
             "000001e0003580800521"
             "00010001",
             SETS_25 IDR);
    assert_int_equal(ts_demux_feed(d, buf_slice(&h->out), NULL), RC_OK);
    assert_int_equal(seen->clip.n, 1);
    ts_demux_free(d);
    seen_free(seen);
    hand_free(h);
}

/* --- probe --- */

static void probe_tells_what_is_there(void **state)
{
    struct stream *s = stream_new(48, 900000);
    struct ts_probe p;

    assert_int_equal(ts_probe(buf_slice(&s->bytes), &p, NULL), RC_OK);
    assert_true(p.has_video && p.has_audio);
    assert_string_equal(p.video_codec, "h264");
    assert_int_equal(p.video.width, 320);
    assert_int_equal(p.audio.channels, 2);
    assert_int_equal(p.video_frames, 48);
    assert_int_equal(p.key_frames, 2);
    assert_int_equal(p.audio_frames, 48 * 3600 / 1920 - 1);
    assert_int_equal(p.first_pts, 903600);
    assert_int_equal(p.first_video_pts, 903600);
    assert_int_equal(p.duration, 48 * 3600);
    ts_probe_cleanup(&p);
    stream_free(s);
}

static void probe_of_odd_segments(void **state)
{
    static const struct {
        const char *name, *pmt, *codec;
        bool video, audio;
    } cases[] = {
        {"HEVC", "020001c10000e030f00024e030f000", "hevc", true, false},
        {"MPEG-2 and MP2", "020001c10000e030f00002e030f00003e031f000", "type 0x02", true, true},
        {"H.264 before HEVC", "020001c10000e030f00024e033f0001be030f000", "h264", true, false},
        {"data only", "020001c10000e030f00006e030f000", "", false, false},
        {"video without a picture", PMT_H264_AAC, "h264", true, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hand *h = hand_new(cases[i].pmt);
        struct ts_probe p;

        print_message("%s\n", cases[i].name);
        hand_pes(h, 0x31, PES_AUDIO("0010"), ADTS_1);
        hand_pes(h, 0x30, PES_0, i == 0 ? IDR : "00");
        assert_int_equal(ts_probe(buf_slice(&h->out), &p, NULL), RC_OK);
        assert_string_equal(p.video_codec, cases[i].codec);
        assert_int_equal(p.has_video, cases[i].video);
        assert_int_equal(p.has_audio, cases[i].audio);
        assert_int_equal(p.video.codec, CODEC_NONE);
        assert_int_equal(p.first_video_pts, i < 2 ? 0 : -1);
        assert_int_equal(p.first_pts, i < 2 || i == 4 ? 0 : -1);
        assert_int_equal(p.duration, i < 2 ? 0 : i == 4 ? 1920 : -1);
        ts_probe_cleanup(&p);
        hand_free(h);
    }
}

static void probe_of_nothing(void **state)
{
    struct ts_probe p;
    struct err err;

    assert_int_equal(ts_probe(slice_of(NULL, 0), &p, &err), RC_BAD_INPUT);
    assert_non_null(strstr(err.text, "it is nothing"));
    assert_int_equal(p.first_pts, -1);
    assert_int_equal(p.duration, -1);
    ts_probe_cleanup(&p);
}

/* --- anything at all --- */

/* Streams with bytes turned over at random: whatever comes out has times and bounds. */
static void random_damage(void **state)
{
    struct stream *s = stream_new(60, 900000);
    struct dice dice = {77};

    for (int round = 0; round < 150; round++) {
        struct blob *b = blob_copy(buf_slice(&s->bytes));

        for (uint64_t hits = 1 + roll(&dice, 200); hits; hits--)
            blob_bytes(b)[roll(&dice, b->n)] ^= (uint8_t)(1 << roll(&dice, 8));
        struct seen *seen = demux(blob_slice(b), 1 + roll(&dice, 5000), RC_OK);
        for (int i = 0; i < seen->clip.n; i++) {
            assert_in_range(seen->clip.f[i].dts, 0, WRAP - 1);
            assert_in_range(seen->clip.f[i].pts, 0, WRAP - 1);
            assert_in_range(seen->clip.f[i].data->n, 1, MAX_FRAME_BYTES);
        }
        seen_free(seen);
        blob_unref(&b);
    }
    stream_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_gives_the_same),
        cmocka_unit_test(tracks_are_told),
        cmocka_unit_test(times_wrap),
        cmocka_unit_test(every_size_round_trip),
        cmocka_unit_test(one_packet_lost),
        cmocka_unit_test(sync_lost_and_found),
        cmocka_unit_test(repeated_packets),
        cmocka_unit_test(marked_packets),
        cmocka_unit_test(loss_in_a_large_picture),
        cmocka_unit_test(sync_is_found_at_once),
        cmocka_unit_test(junk_before_the_stream),
        cmocka_unit_test(short_streams),
        cmocka_unit_test(something_else),
        cmocka_unit_test(descriptors_over_three_packets),
        cmocka_unit_test(sections_share_a_packet),
        cmocka_unit_test(tables_that_are_not_for_now),
        cmocka_unit_test(picture_above_the_limit),
        cmocka_unit_test(pictures_without_times_or_sets),
        cmocka_unit_test(parameter_sets_change),
        cmocka_unit_test(sound_across_pes),
        cmocka_unit_test(sound_with_junk),
        cmocka_unit_test(streams_come_and_go),
        cmocka_unit_test(known_lengths_do_not_wait),
        cmocka_unit_test(probe_tells_what_is_there),
        cmocka_unit_test(probe_of_odd_segments),
        cmocka_unit_test(probe_of_nothing),
        cmocka_unit_test(random_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
