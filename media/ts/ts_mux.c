#include "media/ts/ts_mux.h"

#include <assert.h>
#include <stdlib.h>

#include "media/aac.h"
#include "media/h264.h"
#include "media/ts/ts_int.h"

enum { PID_PMT = 0x1000, PID_VIDEO = 0x100, PID_AUDIO = 0x101, PROGRAMME = 1 };

/* PCR runs this far behind the frame it comes with, so that every byte is in a decoder's buffer
 * before its time. Times of frames stay as they are; it is the clock that is late. The same
 * 700 ms as FFmpeg's muxer. */
enum { PCR_LEAD = 63000 };
enum {
    PCR_STEP = 8100,                     /* 90 ms: 13818-1 2.7.2 allows 100 */
    PCR_GAP_MAX = 10 * TICKS_PER_SECOND, /* beyond, the source jumped and nothing is filled in */
};
enum {
    GROUP_MAX = TICKS_PER_SECOND / 5,        /* audio in one PES, beside video */
    GROUP_MAX_CLOCK = TICKS_PER_SECOND / 10, /* and where it carries the PCR */
    GROUP_BYTES = 48 * 1024,                 /* a PES says its length in 16 bits */
    GROUP_TOLERANCE = 2,                     /* ticks: rounding of 1024 / 44100 s */
};
enum { AF_FLAGS = 2, AF_PCR = 8 }; /* adaptation field with its length byte */
enum { FLAG_DISCONTINUITY = 0x80, FLAG_RANDOM_ACCESS = 0x40, FLAG_PCR = 0x10 };

static const uint8_t start_code[4] = {0, 0, 0, 1};
static const uint8_t delimiter[6] = {0, 0, 0, 1, H264_NAL_AUD, 0xf0}; /* any slice type */

/* AAC frames that wait to share a PES. */
struct group {
    struct buf bytes; /* with ADTS headers */
    int64_t start;    /* time of the first */
    int count;
};

struct ts_mux {
    struct track track[TRACK_KINDS], next[TRACK_KINDS];
    bool changed; /* next differs from track */
    uint8_t pat[TS_PACKET], pmt[TS_PACKET];
    uint8_t version; /* of the PMT, 5 bits */
    uint8_t table_cc, cc[TRACK_KINDS];
    struct buf sets; /* SPS and PPS of the video track in Annex B */
    struct group group;

    enum track_kind clock; /* the track that carries the PCR */
    bool clock_runs, discontinuity;
    int64_t clock_at; /* dts that the last PCR stood for */
};

struct ts_mux *ts_mux_new(void)
{
    struct ts_mux *m = xcalloc(1, sizeof(*m));

    buf_init(&m->sets, SIZE_MAX); /* bounded by the track's config */
    buf_init(&m->group.bytes, GROUP_BYTES);
    m->changed = true;
    m->version = 31; /* the first PMT has 0 */
    return m;
}

void ts_mux_free(struct ts_mux *m)
{
    if (!m)
        return;
    for (int kind = 0; kind < TRACK_KINDS; kind++) {
        track_cleanup(&m->track[kind]);
        track_cleanup(&m->next[kind]);
    }
    buf_cleanup(&m->sets);
    buf_cleanup(&m->group.bytes);
    free(m);
}

void ts_mux_track(struct ts_mux *m, enum track_kind kind, const struct track *t)
{
    track_cleanup(&m->next[kind]);
    m->next[kind] = track_ref(t);
    m->changed = true;
}

/* ---- tables ---- */

static void put_be16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* One section in a packet of its own; body is what stands between length and CRC. */
static void table_packet(uint8_t *packet, unsigned pid, unsigned table_id, struct slice body)
{
    uint8_t *section = packet + TS_HEADER + 1;
    size_t n = 3 + body.n;

    memset(packet, 0xff, TS_PACKET);
    packet[0] = TS_SYNC;
    put_be16(packet + 1, 0x4000 | pid);
    packet[3] = 0x10;
    packet[4] = 0; /* the section starts at once */
    section[0] = (uint8_t)table_id;
    put_be16(section + 1, 0xb000 | (unsigned)(body.n + 4));
    memcpy(section + 3, body.p, body.n);
    uint32_t crc = ts_crc(slice_of(section, n));
    put_be16(section + n, crc >> 16);
    put_be16(section + n + 2, crc & 0xffff);
}

static unsigned pid_of(enum track_kind kind)
{
    return kind == TRACK_VIDEO ? PID_VIDEO : PID_AUDIO;
}

static size_t pmt_stream(uint8_t *p, enum ts_stream_type type, enum track_kind kind)
{
    p[0] = (uint8_t)type;
    put_be16(p + 1, 0xe000 | pid_of(kind));
    put_be16(p + 3, 0xf000);
    return 5;
}

static void make_tables(struct ts_mux *m)
{
    bool video = m->track[TRACK_VIDEO].codec == CODEC_H264;
    bool audio = m->track[TRACK_AUDIO].codec == CODEC_AAC;
    uint8_t pat[9] = {0, 1, 0xc1, 0, 0, 0, PROGRAMME, 0xe0 | PID_PMT >> 8, PID_PMT & 0xff};
    uint8_t pmt[9 + 2 * 5] = {0, PROGRAMME, 0, 0, 0, 0, 0, 0xf0, 0};
    size_t n = 9;

    m->version = (m->version + 1) & 31;
    m->clock = video ? TRACK_VIDEO : TRACK_AUDIO;
    pmt[2] = (uint8_t)(0xc1 | m->version << 1);
    put_be16(pmt + 5, 0xe000 | (video || audio ? pid_of(m->clock) : (unsigned)TS_PID_NULL));
    if (video)
        n += pmt_stream(pmt + n, TS_TYPE_H264, TRACK_VIDEO);
    if (audio)
        n += pmt_stream(pmt + n, TS_TYPE_AAC_ADTS, TRACK_AUDIO);
    table_packet(m->pat, TS_PID_PAT, 0, slice_of(pat, sizeof(pat)));
    table_packet(m->pmt, PID_PMT, 2, slice_of(pmt, n));
}

static void add_set(struct slice nal, void *arg)
{
    struct buf *sets = arg;

    buf_add(sets, start_code, sizeof(start_code));
    buf_add_slice(sets, nal);
}

static void take_tracks(struct ts_mux *m)
{
    for (int kind = 0; kind < TRACK_KINDS; kind++) {
        track_cleanup(&m->track[kind]);
        m->track[kind] = track_ref(&m->next[kind]);
    }
    buf_clear(&m->sets);
    if (m->track[TRACK_VIDEO].codec == CODEC_H264 &&
        h264_avcc_sets(blob_slice(m->track[TRACK_VIDEO].config), add_set, &m->sets, NULL) != RC_OK)
        buf_clear(&m->sets); /* made outside h264.c: what is in band has to do */
    make_tables(m);
    m->changed = false;
}

void ts_mux_begin(struct ts_mux *m, struct buf *out, bool discontinuity)
{
    assert(!m->group.count); /* the segment before was ended */
    if (m->changed)
        take_tracks(m);
    if (discontinuity) {
        m->discontinuity = true;
        m->clock_runs = false;
    }
    m->pat[3] = m->pmt[3] = 0x10 | m->table_cc;
    m->table_cc = (m->table_cc + 1) & 15;
    buf_add(out, m->pat, TS_PACKET);
    buf_add(out, m->pmt, TS_PACKET);
}

/* ---- packets ---- */

struct adaptation {
    uint8_t n; /* bytes wanted, its length byte too: 0, AF_FLAGS or AF_PCR */
    uint8_t flags;
    int64_t pcr;
};

static void write_adaptation(uint8_t *p, size_t n, const struct adaptation *a)
{
    size_t used = MAX(a->n, (size_t)AF_FLAGS);

    p[0] = (uint8_t)(n - 1);
    if (n < AF_FLAGS)
        return;
    p[1] = a->flags;
    if (a->n == AF_PCR) { /* 33 bits of base, 6 reserved, 9 of extension: 0 */
        uint64_t base = (uint64_t)a->pcr & 0x1ffffffffu;

        p[2] = (uint8_t)(base >> 25);
        p[3] = (uint8_t)(base >> 17);
        p[4] = (uint8_t)(base >> 9);
        p[5] = (uint8_t)(base >> 1);
        p[6] = (uint8_t)(base << 7 | 0x7e);
        p[7] = 0;
    }
    memset(p + used, 0xff, n - used);
}

/* Fills packets from the front to the back, as runs of payload come. */
struct packer {
    uint8_t *at; /* where the next byte goes */
    size_t room; /* in this packet */
    size_t left; /* payload that is still to come in all */
    struct ts_mux *m;
    enum track_kind kind;
};

static void open_packet(struct packer *k, bool first, const struct adaptation *a)
{
    size_t room = TS_PAYLOAD - a->n;
    size_t field = k->left < room ? TS_PAYLOAD - k->left : a->n; /* the last one is stuffed */
    uint8_t *cc = &k->m->cc[k->kind];

    k->at[0] = TS_SYNC;
    put_be16(k->at + 1, (first ? 0x4000 : 0) | pid_of(k->kind));
    k->at[3] = (uint8_t)((field ? 0x30 : 0x10) | *cc);
    *cc = (*cc + 1) & 15;
    if (field)
        write_adaptation(k->at + TS_HEADER, field, a);
    k->at += TS_HEADER + field;
    k->room = TS_PAYLOAD - field;
}

static void pack(struct packer *k, const uint8_t *p, size_t n)
{
    static const struct adaptation none = {0};

    while (n) {
        if (!k->room)
            open_packet(k, false, &none);
        size_t run = MIN(n, k->room);
        memcpy(k->at, p, run);
        k->at += run;
        k->room -= run;
        k->left -= run;
        p += run;
        n -= run;
    }
}

static void put_time(uint8_t *p, unsigned mark, int64_t t)
{
    uint64_t v = (uint64_t)t & 0x1ffffffffu;

    p[0] = (uint8_t)(mark << 4 | v >> 29 | 1);
    p[1] = (uint8_t)(v >> 22);
    p[2] = (uint8_t)(v >> 14 | 1);
    p[3] = (uint8_t)(v >> 7);
    p[4] = (uint8_t)(v << 1 | 1);
}

static size_t pes_header(uint8_t *p, unsigned stream_id, const struct frame *f, size_t payload)
{
    size_t times = f->pts == f->dts ? 5 : 10, length = 3 + times + payload;

    p[0] = p[1] = 0;
    p[2] = 1;
    p[3] = (uint8_t)stream_id;
    put_be16(p + 4, length > UINT16_MAX ? 0 : (unsigned)length); /* 0: unbounded, video may */
    p[6] = 0x84;                                                 /* data starts a unit */
    p[7] = times == 5 ? 0x80 : 0xc0;
    p[8] = (uint8_t)times;
    put_time(p + TS_PES_HEADER, times == 5 ? 2 : 3, f->pts);
    if (times == 10)
        put_time(p + TS_PES_HEADER + 5, 1, f->dts);
    return TS_PES_HEADER + times;
}

static size_t packet_count(size_t payload, size_t adaptation)
{
    size_t first = TS_PAYLOAD - adaptation;

    return payload <= first ? 1 : 1 + (payload - first + TS_PAYLOAD - 1) / TS_PAYLOAD;
}

/* Room for all packets of a PES at once; false when the segment's ceiling is reached. */
static bool pack_start(struct packer *k, struct buf *out, const struct adaptation *a)
{
    size_t bytes = packet_count(k->left, a->n) * TS_PACKET;

    k->at = buf_reserve(out, bytes);
    if (!k->at)
        return false;
    out->n += bytes;
    open_packet(k, true, a);
    return true;
}

/* ---- clock ---- */

/* A packet with nothing but a PCR; the counter stands still without payload. */
static void pcr_packet(struct ts_mux *m, struct buf *out)
{
    struct adaptation a = {AF_PCR, FLAG_PCR, m->clock_at - PCR_LEAD};
    uint8_t *p = buf_reserve(out, TS_PACKET);

    if (!p)
        return;
    p[0] = TS_SYNC;
    put_be16(p + 1, pid_of(m->clock));
    p[3] = (uint8_t)(0x20 | ((m->cc[m->clock] - 1) & 15));
    write_adaptation(p + TS_HEADER, TS_PAYLOAD, &a);
    out->n += TS_PACKET;
}

/* Slow pictures leave holes in the clock: fill them up to dts. */
static void fill_clock(struct ts_mux *m, int64_t dts, struct buf *out)
{
    if (!m->clock_runs || dts - m->clock_at > PCR_GAP_MAX)
        return;
    while (dts - m->clock_at > PCR_STEP) {
        m->clock_at += PCR_STEP;
        pcr_packet(m, out);
    }
}

/* Every PES of the clock's track carries a PCR. It only ever rises, also where the other
 * track was ahead and filled it. */
static struct adaptation clock_field(struct ts_mux *m, int64_t dts, bool key)
{
    struct adaptation a = {AF_PCR, FLAG_PCR, 0};

    m->clock_at = m->clock_runs ? MAX(dts, m->clock_at + 1) : dts;
    m->clock_runs = true;
    if (key)
        a.flags |= FLAG_RANDOM_ACCESS;
    if (m->discontinuity)
        a.flags |= FLAG_DISCONTINUITY;
    m->discontinuity = false;
    a.pcr = m->clock_at - PCR_LEAD;
    return a;
}

/* ---- audio ---- */

static void flush_group(struct ts_mux *m, struct buf *out)
{
    struct group *g = &m->group;
    struct frame times = {.dts = g->start, .pts = g->start};
    struct adaptation a = {0};
    uint8_t head[TS_PES_HEADER + 10];

    if (!g->count)
        return;
    fill_clock(m, g->start, out);
    if (m->clock == TRACK_AUDIO)
        a = clock_field(m, g->start, true);
    size_t n = pes_header(head, 0xc0, &times, g->bytes.n);
    struct packer k = {.left = n + g->bytes.n, .m = m, .kind = TRACK_AUDIO};
    if (pack_start(&k, out, &a)) {
        pack(&k, head, n);
        pack(&k, g->bytes.p, g->bytes.n);
    }
    buf_clear(&g->bytes);
    g->count = 0;
}

static int64_t aac_ticks(const struct track *t, int frames)
{
    return (int64_t)frames * AAC_FRAME_SAMPLES * TICKS_PER_SECOND / t->sample_rate;
}

/* Does the frame follow the group, in time and in room? Receivers count frames from the PES's
 * own time, so one that stands elsewhere needs a PES of its own. */
static bool group_takes(const struct ts_mux *m, const struct frame *f)
{
    const struct group *g = &m->group;
    const struct track *t = &m->track[TRACK_AUDIO];
    int64_t off = f->dts - g->start - aac_ticks(t, g->count);
    int64_t max = m->clock == TRACK_AUDIO ? GROUP_MAX_CLOCK : GROUP_MAX;

    return off >= -GROUP_TOLERANCE && off <= GROUP_TOLERANCE && aac_ticks(t, g->count + 1) <= max &&
           g->bytes.n + ADTS_HEADER_BYTES + f->data->n <= GROUP_BYTES;
}

static void audio_frame(struct ts_mux *m, const struct frame *f, struct buf *out)
{
    uint8_t adts[ADTS_HEADER_BYTES];

    if (!aac_adts_header(&m->track[TRACK_AUDIO], f->data->n, adts))
        return; /* no track, or a frame that ADTS cannot hold */
    if (m->group.count && !group_takes(m, f))
        flush_group(m, out);
    if (!m->group.count)
        m->group.start = f->dts;
    buf_add(&m->group.bytes, adts, sizeof(adts));
    buf_add_slice(&m->group.bytes, blob_slice(f->data));
    m->group.count++;
}

/* ---- video ---- */

/* Some encoders repeat their parameter sets in the stream; those stand closer to the picture. */
static bool carries_sets(struct slice data)
{
    struct slice nal;
    bool bad, sps = false, pps = false;

    while (h264_next_avc(&data, &nal, &bad)) {
        unsigned type = nal.n ? nal.p[0] & 0x1f : 0;

        if (type == H264_NAL_SLICE || type == H264_NAL_IDR)
            break;
        sps = sps || type == H264_NAL_SPS;
        pps = pps || type == H264_NAL_PPS;
    }
    return sps && pps;
}

/* The AVC length becomes a start code of as many bytes, so sizes stay. */
static void pack_units(struct packer *k, struct slice data)
{
    struct slice nal;
    bool bad;

    while (h264_next_avc(&data, &nal, &bad)) {
        pack(k, start_code, sizeof(start_code));
        pack(k, nal.p, nal.n);
    }
}

/* Bytes that pack_units will write: a cut-short end is left out. */
static size_t units_size(struct slice data)
{
    struct slice rest = data, nal;
    bool bad;

    while (h264_next_avc(&rest, &nal, &bad))
        ;
    return data.n - rest.n;
}

static void video_frame(struct ts_mux *m, const struct frame *f, struct buf *out)
{
    struct slice data = blob_slice(f->data);
    struct slice sets = f->key && !carries_sets(data) ? buf_slice(&m->sets) : slice_of(NULL, 0);
    size_t payload = sizeof(delimiter) + sets.n + units_size(data);
    uint8_t head[TS_PES_HEADER + 10];

    if (m->track[TRACK_VIDEO].codec != CODEC_H264)
        return;
    fill_clock(m, f->dts, out);
    struct adaptation a = clock_field(m, f->dts, f->key);
    size_t n = pes_header(head, 0xe0, f, payload);
    struct packer k = {.left = n + payload, .m = m, .kind = TRACK_VIDEO};
    if (!pack_start(&k, out, &a))
        return;
    pack(&k, head, n);
    pack(&k, delimiter, sizeof(delimiter));
    pack(&k, sets.p, sets.n);
    pack_units(&k, data);
}

void ts_mux_frame(struct ts_mux *m, const struct frame *f, struct buf *out)
{
    switch (f->kind) {
    case TRACK_VIDEO:
        video_frame(m, f, out);
        break;
    case TRACK_AUDIO:
        audio_frame(m, f, out);
        break;
    case TRACK_KINDS:
        break;
    }
}

void ts_mux_end(struct ts_mux *m, struct buf *out)
{
    flush_group(m, out);
}
