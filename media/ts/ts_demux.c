#include "media/ts/ts_demux.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/reader.h"
#include "media/ts/ts_int.h"

enum {
    HUNT_MAX = 64 * 1024, /* bytes without a packet before we give up */
    HUNT_PACKETS = 3,     /* sync bytes in step that make a stream */
    MAX_SECTION = 1024,   /* PAT and PMT, 2.4.4.5 */
    MAX_PES = MAX_FRAME_BYTES + 64 * 1024,
    MAX_STREAMS = 64, /* of one programme that we look at */
    PES_START = 6,    /* prefix, id, length */
};

/* A PID whose payload is sections. */
struct table {
    unsigned pid;
    int cc;           /* of the last packet; -1 before one came */
    struct buf bytes; /* being collected */
    bool collecting;
    struct buf known; /* the section in force: the same again costs a compare */
};

/* A PID whose payload is PES. */
struct stream {
    unsigned pid; /* 0: none */
    int cc;
    bool collecting;
    struct buf bytes;
    struct ts_es es;
    struct ts_seen seen;
};

struct ts_demux {
    struct frame_sink sink;
    bool synced, was_synced;
    struct buf hold; /* synced: the start of a packet; else: bytes being searched */
    size_t searched; /* of hold, without success */
    struct table pat, pmt;
    struct stream stream[TRACK_KINDS];
};

static void table_init(struct table *t, unsigned pid)
{
    *t = (struct table){.pid = pid, .cc = -1};
    buf_init(&t->bytes, MAX_SECTION + TS_PACKET);
    buf_init(&t->known, MAX_SECTION);
}

static void table_cleanup(struct table *t)
{
    buf_cleanup(&t->bytes);
    buf_cleanup(&t->known);
}

struct ts_demux *ts_demux_new(const struct frame_sink *sink)
{
    struct ts_demux *d = xcalloc(1, sizeof(*d));

    d->sink = *sink;
    buf_init(&d->hold, HUNT_MAX);
    table_init(&d->pat, TS_PID_PAT);
    table_init(&d->pmt, TS_PID_NULL);
    for (int kind = 0; kind < TRACK_KINDS; kind++) {
        struct stream *s = &d->stream[kind];

        s->cc = -1;
        buf_init(&s->bytes, MAX_PES);
        ts_es_init(&s->es, (enum track_kind)kind, &d->sink);
    }
    return d;
}

void ts_demux_free(struct ts_demux *d)
{
    if (!d)
        return;
    buf_cleanup(&d->hold);
    table_cleanup(&d->pat);
    table_cleanup(&d->pmt);
    for (int kind = 0; kind < TRACK_KINDS; kind++) {
        buf_cleanup(&d->stream[kind].bytes);
        ts_es_cleanup(&d->stream[kind].es);
    }
    free(d);
}

const struct ts_seen *ts_demux_seen(const struct ts_demux *d, enum track_kind kind)
{
    return &d->stream[kind].seen;
}

bool ts_demux_is_ts(const struct ts_demux *d)
{
    return d->was_synced;
}

/* ---- PES ---- */

static int64_t read_time(struct reader *r)
{
    uint64_t a = rd_u8(r), b = rd_be16(r), c = rd_be16(r);

    return (int64_t)((a >> 1 & 7) << 30 | b >> 1 << 15 | c >> 1);
}

/* Streams without the optional header (padding, private 2) carry no pictures and no sound. */
static bool pes_parse(struct slice in, struct ts_pes *out)
{
    struct reader r = reader_of(in);

    *out = (struct ts_pes){.has_times = false};
    rd_skip(&r, PES_START);
    unsigned mark = rd_u8(&r), flags = rd_u8(&r);
    struct reader head = reader_of(rd_bytes(&r, rd_u8(&r)));
    out->payload = rd_rest(&r);
    if (r.failed || (mark & 0xc0) != 0x80)
        return false;
    if (flags & 0x80)
        out->pts = out->dts = read_time(&head);
    if ((flags & 0xc0) == 0xc0)
        out->dts = read_time(&head);
    out->has_times = (flags & 0x80) && !head.failed;
    return true;
}

static void note_times(struct ts_seen *seen, const struct ts_pes *pes)
{
    if (!pes->has_times)
        return;
    if (!seen->pes++)
        seen->first_pts = seen->last_pts = pes->pts;
    if (ts_time_diff(pes->pts, seen->first_pts) < 0)
        seen->first_pts = pes->pts;
    if (ts_time_diff(pes->pts, seen->last_pts) > 0)
        seen->last_pts = pes->pts;
}

/* The length in the header; 0 when it does not say. */
static size_t pes_length(const struct buf *b)
{
    size_t length = (size_t)(b->p[4] << 8 | b->p[5]);

    return length ? PES_START + length : 0;
}

static void pes_finish(struct stream *s)
{
    struct slice whole = buf_slice(&s->bytes);
    struct ts_pes pes;

    if (!s->collecting)
        return;
    s->collecting = false;
    size_t length = whole.n < PES_START ? 0 : pes_length(&s->bytes);
    if (!buf_ok(&s->bytes) || whole.n < length) { /* its end never came */
        ts_es_lost(&s->es);
    } else if (pes_parse(length ? slice_sub(whole, 0, length) : whole, &pes)) {
        note_times(&s->seen, &pes);
        ts_es_pes(&s->es, &pes);
    }
    buf_clear(&s->bytes);
}

static void stream_lost(struct stream *s)
{
    s->collecting = false;
    buf_clear(&s->bytes);
    ts_es_lost(&s->es);
}

static void stream_payload(struct stream *s, bool start, struct slice payload)
{
    if (start) {
        pes_finish(s);
        s->collecting = payload.n >= 3 && !memcmp(payload.p, "\0\0\1", 3);
        if (!s->collecting)
            ts_es_lost(&s->es);
    }
    if (!s->collecting)
        return;
    buf_add_slice(&s->bytes, payload);
    if (s->bytes.n >= PES_START) {
        size_t length = pes_length(&s->bytes);

        if (length && s->bytes.n >= length) /* known to be whole: do not wait */
            pes_finish(s);
    }
}

/* ---- tables ---- */

static bool is_video(unsigned type)
{
    static const uint8_t types[] = {0x01,         0x02, 0x10, TS_TYPE_H264, 0x20, 0x21,
                                    TS_TYPE_HEVC, 0x33, 0x42, 0xd1,         0xea};

    return memchr(types, (int)type, sizeof(types)) != NULL;
}

static bool is_audio(unsigned type)
{
    static const uint8_t types[] = {0x03, 0x04, TS_TYPE_AAC_ADTS, 0x11, 0x1c, 0x81, 0x82, 0x87};

    return memchr(types, (int)type, sizeof(types)) != NULL;
}

struct choice {
    unsigned pid, type;
};

/* The first of each kind, but one that we can read before one that we cannot. */
static void choose(struct choice best[TRACK_KINDS], unsigned pid, unsigned type)
{
    enum track_kind kind = is_video(type) ? TRACK_VIDEO : TRACK_AUDIO;
    unsigned liked = kind == TRACK_VIDEO ? TS_TYPE_H264 : TS_TYPE_AAC_ADTS;

    if (!is_video(type) && !is_audio(type))
        return;
    if (!best[kind].pid || (best[kind].type != liked && type == liked))
        best[kind] = (struct choice){pid, type};
}

static void stream_set(struct stream *s, const struct choice *c)
{
    if (s->pid == c->pid && s->es.type == c->type)
        return;
    pes_finish(s);
    stream_lost(s);
    s->pid = c->pid;
    s->cc = -1;
    ts_es_reset(&s->es, c->type);
    s->seen.type = c->type;
}

static void read_pmt(struct ts_demux *d, struct reader r)
{
    struct choice best[TRACK_KINDS] = {{0}};

    rd_skip(&r, 2); /* PCR PID: we do not run a clock */
    rd_skip(&r, rd_be16(&r) & 0xfff);
    for (int n = 0; r.left >= 5 && n < MAX_STREAMS; n++) {
        unsigned type = rd_u8(&r), pid = rd_be16(&r) & 0x1fff;

        rd_skip(&r, rd_be16(&r) & 0xfff);
        if (!r.failed && pid)
            choose(best, pid, type);
    }
    for (int kind = 0; kind < TRACK_KINDS; kind++)
        stream_set(&d->stream[kind], &best[kind]);
}

static void read_pat(struct ts_demux *d, struct reader r)
{
    while (r.left >= 4) {
        unsigned programme = rd_be16(&r), pid = rd_be16(&r) & 0x1fff;

        if (!programme)
            continue; /* the network's own table */
        if (pid != d->pmt.pid) {
            table_cleanup(&d->pmt);
            table_init(&d->pmt, pid);
        }
        return;
    }
}

static void read_section(struct ts_demux *d, struct table *t, struct slice section)
{
    struct reader r = reader_of(slice_sub(section, 0, section.n - 4));

    if (slice_eq(section, buf_slice(&t->known)) || ts_crc(section))
        return;
    unsigned table_id = rd_u8(&r);
    rd_skip(&r, 4); /* length, programme or network */
    bool in_force = rd_u8(&r) & 1;
    unsigned number = rd_be16(&r) >> 8;
    if (r.failed || !in_force || number || table_id != (t == &d->pat ? 0 : 2))
        return;
    buf_clear(&t->known);
    buf_add_slice(&t->known, section);
    if (t == &d->pat)
        read_pat(d, r);
    else
        read_pmt(d, r);
}

/* Sections that are whole, from the front; stuffing ends them. */
static void take_sections(struct ts_demux *d, struct table *t)
{
    while (t->collecting && t->bytes.n >= 3) {
        size_t n = 3 + ((size_t)(t->bytes.p[1] << 8 | t->bytes.p[2]) & 0xfff);

        if (t->bytes.p[0] == 0xff || n > MAX_SECTION || n < 12)
            t->collecting = false;
        if (!t->collecting || t->bytes.n < n)
            break;
        read_section(d, t, slice_of(t->bytes.p, n));
        buf_consume(&t->bytes, n);
    }
}

static void table_payload(struct ts_demux *d, struct table *t, bool start, struct slice payload)
{
    if (start) {
        size_t pointer = payload.n ? 1 + payload.p[0] : 0;
        struct slice tail = slice_sub(payload, 1, pointer ? pointer - 1 : 0);

        if (t->collecting) {
            buf_add_slice(&t->bytes, tail);
            take_sections(d, t);
        }
        payload = slice_skip(payload, pointer);
        buf_clear(&t->bytes);
        t->collecting = true;
    }
    if (!t->collecting)
        return;
    buf_add_slice(&t->bytes, payload);
    if (!buf_ok(&t->bytes))
        t->collecting = false;
    take_sections(d, t);
}

/* ---- packets ---- */

enum order { IN_ORDER, REPEATED, AFTER_LOSS };

static enum order counter_order(int *last, unsigned cc, bool jump_allowed)
{
    int before = *last;

    *last = (int)cc;
    if (before < 0 || jump_allowed || cc == ((unsigned)before + 1) % 16)
        return IN_ORDER;
    return cc == (unsigned)before ? REPEATED : AFTER_LOSS;
}

struct packet {
    unsigned pid, cc;
    bool start, broken, jump;
    struct slice payload;
};

static bool packet_parse(const uint8_t *p, struct packet *out)
{
    struct reader r = reader_of(slice_of(p, TS_PACKET));

    rd_skip(&r, 1);
    unsigned a = rd_be16(&r), b = rd_u8(&r);
    *out = (struct packet){
        .pid = a & 0x1fff,
        .cc = b & 15,
        .start = a & 0x4000,
        .broken = (a & 0x8000) || b >> 6, /* damaged on its way, or scrambled */
    };
    if (b & 0x20) {
        struct reader field = reader_of(rd_bytes(&r, rd_u8(&r)));

        out->jump = field.left && rd_u8(&field) & 0x80;
    }
    out->broken = out->broken || r.failed;
    out->payload = rd_rest(&r);
    return b & 0x10;
}

static struct stream *stream_of(struct ts_demux *d, unsigned pid)
{
    for (int kind = 0; kind < TRACK_KINDS; kind++)
        if (d->stream[kind].pid == pid)
            return &d->stream[kind];
    return NULL;
}

static void stream_packet(struct stream *s, const struct packet *k)
{
    enum order order = counter_order(&s->cc, k->cc, k->jump);

    if (order == AFTER_LOSS || k->broken)
        stream_lost(s);
    if (order != REPEATED && !k->broken)
        stream_payload(s, k->start, k->payload);
}

static void table_packet(struct ts_demux *d, struct table *t, const struct packet *k)
{
    enum order order = counter_order(&t->cc, k->cc, k->jump);

    if (order == AFTER_LOSS || k->broken)
        t->collecting = false;
    if (order != REPEATED && !k->broken)
        table_payload(d, t, k->start, k->payload);
}

static void on_packet(struct ts_demux *d, const uint8_t *p)
{
    struct stream *s;
    struct packet k;

    if (!packet_parse(p, &k) || k.pid == TS_PID_NULL)
        return;
    if (k.pid == d->pat.pid)
        table_packet(d, &d->pat, &k);
    else if (k.pid == d->pmt.pid)
        table_packet(d, &d->pmt, &k);
    else if ((s = stream_of(d, k.pid)) != NULL)
        stream_packet(s, &k);
}

/* ---- sync ---- */

/* Packets from the front of `in`, until they end or sync is lost; what is left. */
static struct slice take_packets(struct ts_demux *d, struct slice in)
{
    while (in.n >= TS_PACKET && in.p[0] == TS_SYNC) {
        on_packet(d, in.p);
        in = slice_skip(in, TS_PACKET);
    }
    if (in.n && in.p[0] != TS_SYNC)
        d->synced = false;
    return in;
}

/* Is there a stream at `at`? With `last`, the input ends there and packets must fill it. */
static bool in_step(struct slice in, size_t at, bool last)
{
    if (last && (in.n - at) % TS_PACKET)
        return false;
    for (size_t i = 0; i < HUNT_PACKETS; i++, at += TS_PACKET)
        if (at >= in.n ? !last : in.p[at] != TS_SYNC)
            return false;
    return true;
}

static bool hunt(struct ts_demux *d, bool last)
{
    struct slice in = buf_slice(&d->hold);
    size_t span = last ? 1 : (HUNT_PACKETS - 1) * TS_PACKET + 1;

    while (in.n >= d->searched + span) {
        size_t at = d->searched + slice_find(slice_skip(in, d->searched), TS_SYNC);

        if (at + span > in.n) {
            d->searched = at;
            return false;
        }
        if (in_step(in, at, last)) {
            d->synced = d->was_synced = true;
            d->searched = at;
            return true;
        }
        d->searched = at + 1;
    }
    return false;
}

/* Adds to hold what is looked at next; RC_BAD_INPUT when it is full of something else. */
static enum rc feed_hunt(struct ts_demux *d, struct slice *bytes, struct err *err)
{
    char other[TS_OTHER_MAX];
    size_t n = MIN(bytes->n, HUNT_MAX - d->hold.n);

    buf_add(&d->hold, bytes->p, n);
    *bytes = slice_skip(*bytes, n);
    if (hunt(d, false)) {
        struct slice rest = take_packets(d, slice_skip(buf_slice(&d->hold), d->searched));

        buf_consume(&d->hold, d->hold.n - rest.n);
        d->searched = 0;
    } else if (d->hold.n == HUNT_MAX) {
        ts_name_other(buf_slice(&d->hold), other);
        return err_set(err, RC_BAD_INPUT, "no MPEG-TS in %d bytes: %s", HUNT_MAX, other);
    }
    return RC_OK;
}

/* In sync: whole packets straight from the input, the cut one at its end is kept. */
static void feed_packets(struct ts_demux *d, struct slice *bytes)
{
    if (d->hold.n) {
        size_t n = MIN(bytes->n, TS_PACKET - d->hold.n);

        buf_add(&d->hold, bytes->p, n);
        *bytes = slice_skip(*bytes, n);
        if (d->hold.n < TS_PACKET)
            return;
        on_packet(d, d->hold.p);
        buf_clear(&d->hold);
    }
    *bytes = take_packets(d, *bytes);
    if (!d->synced)
        return;
    buf_add_slice(&d->hold, *bytes);
    *bytes = slice_skip(*bytes, bytes->n);
}

enum rc ts_demux_feed(struct ts_demux *d, struct slice bytes, struct err *err)
{
    while (bytes.n) {
        if (d->synced) {
            feed_packets(d, &bytes);
        } else {
            enum rc rc = feed_hunt(d, &bytes, err);

            if (rc != RC_OK)
                return rc;
        }
    }
    return RC_OK;
}

void ts_demux_flush(struct ts_demux *d)
{
    if (!d->synced && hunt(d, true)) {
        take_packets(d, slice_skip(buf_slice(&d->hold), d->searched));
        buf_clear(&d->hold);
    }
    for (int kind = 0; kind < TRACK_KINDS; kind++)
        pes_finish(&d->stream[kind]);
}
