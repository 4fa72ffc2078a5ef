#include "media/rtmp/chunk.h"

#include <stdlib.h>

#include "base/reader.h"

enum {
    TIME_ESCAPE = 0xFFFFFF, /* 24-bit field: the time follows in 32 bits */
    FIRST_RESERVE = 8192,   /* bytes set aside on a message's first chunk */

    /* A repeated header after a full one means "the full one's time again, as a delta"
     * (5.3.1.2.4). Some encoders mean "the same time" instead. A frame gap is never this
     * long, so above it the second reading is the sane one. */
    REPEATED_DELTA_MAX_MS = 1000
};

static const uint8_t header_bytes[4] = {11, 7, 3, 0};

void chunk_reader_init(struct chunk_reader *r)
{
    *r = (struct chunk_reader){.chunk_size = CHUNK_SIZE_AT_START};
}

void chunk_reader_cleanup(struct chunk_reader *r)
{
    for (size_t i = 0; i < r->n_streams; i++)
        buf_cleanup(&r->streams[i].partial);
    free(r->streams);
    chunk_reader_init(r);
}

/* Basic header: 6 bits of id, of which 0 and 1 announce one and two more bytes. */
static size_t basic_bytes(uint8_t first)
{
    uint8_t id = first & 0x3f;

    return id == 0 ? 2 : id == 1 ? 3 : 1;
}

static uint32_t basic_id(const uint8_t *head)
{
    switch (basic_bytes(head[0])) {
    case 1:
        return head[0] & 0x3f;
    case 2:
        return head[1] + 64u;
    default:
        return head[2] * 256u + head[1] + 64u;
    }
}

static struct chunk_stream *stream_find(struct chunk_reader *r, uint32_t id)
{
    for (size_t i = 0; i < r->n_streams; i++)
        if (r->streams[i].id == id)
            return &r->streams[i];
    return NULL;
}

static struct chunk_stream *stream_add(struct chunk_reader *r, uint32_t id)
{
    struct chunk_stream *cs;

    r->streams = xrealloc(r->streams, (r->n_streams + 1) * sizeof(*cs));
    cs = &r->streams[r->n_streams++];
    *cs = (struct chunk_stream){.id = id};
    return cs;
}

static void drop_partial(struct chunk_reader *r, struct chunk_stream *cs)
{
    if (!cs->open)
        return;
    r->partial_bytes -= cs->partial.n;
    buf_cleanup(&cs->partial);
    cs->open = false;
}

/* Does a chunk without a header of its own carry the 32-bit field again? */
static bool repeats_extended(struct chunk_reader *r)
{
    const struct chunk_stream *cs = stream_find(r, basic_id(r->head));

    return cs && cs->extended && !(cs->open && r->omits_extended);
}

static uint32_t be24_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

/* Bytes of header known to be needed, given those that are in r->head. */
static size_t header_need(struct chunk_reader *r)
{
    size_t basic, need;
    unsigned fmt;

    if (!r->head_n)
        return 1;
    basic = basic_bytes(r->head[0]);
    fmt = r->head[0] >> 6;
    need = basic + header_bytes[fmt];
    if (r->head_n < need)
        return need;
    if (fmt == 3 ? repeats_extended(r) : be24_at(r->head + basic) == TIME_ESCAPE)
        need += 4;
    return need;
}

/* Up to n bytes, those that were put back first. */
static size_t take(struct chunk_reader *r, struct slice *in, uint8_t *to, size_t n)
{
    size_t back = MIN(n, r->back_n), fresh = MIN(n - back, in->n);

    if (back) {
        memcpy(to, r->back, back);
        r->back_n -= (uint8_t)back;
        memmove(r->back, r->back + back, r->back_n);
    }
    if (fresh) {
        memcpy(to + back, in->p, fresh);
        *in = slice_skip(*in, fresh);
    }
    return back + fresh;
}

static bool take_header(struct chunk_reader *r, struct slice *in)
{
    for (size_t need; (need = header_need(r)) > r->head_n;) {
        size_t got = take(r, in, r->head + r->head_n, need - r->head_n);

        if (!got)
            return false;
        r->head_n += (uint8_t)got;
    }
    return true;
}

static bool carries_media(uint8_t type)
{
    return type == RTMP_AUDIO || type == RTMP_VIDEO || type == RTMP_AGGREGATE ||
           type == RTMP_DATA || type == RTMP_DATA_AMF3;
}

static enum rc open_message(struct chunk_stream *cs, struct err *err)
{
    size_t most = carries_media(cs->type) ? CHUNK_MAX_MEDIA : CHUNK_MAX_OTHER;

    if (cs->length > most)
        return err_set(err, RC_LIMIT, "RTMP message of type %u has %u bytes, at most %zu are taken",
                       cs->type, cs->length, most);
    buf_init(&cs->partial, cs->length);
    cs->open = true;
    return RC_OK;
}

/* A chunk with a header of its own starts a message; an unfinished one is given up. */
static enum rc full_header(struct chunk_reader *r, struct chunk_stream *cs, unsigned fmt,
                           struct reader *h, struct err *err)
{
    uint32_t field = rd_be24(h);

    drop_partial(r, cs);
    if (fmt <= 1) {
        cs->length = rd_be24(h);
        cs->type = rd_u8(h);
    }
    if (fmt == 0)
        cs->stream_id = rd_le32(h);
    cs->extended = field == TIME_ESCAPE;
    cs->field = cs->extended ? rd_be32(h) : field;
    if (fmt == 0) {
        cs->time_ms = cs->field;
        cs->delta_ms = cs->field <= REPEATED_DELTA_MAX_MS ? cs->field : 0;
    } else {
        cs->delta_ms = cs->field;
        cs->time_ms += cs->delta_ms;
    }
    return open_message(cs, err);
}

/* Senders repeat the field as sent, or the time it led to, or either in 31 bits. */
static bool field_repeats(const struct chunk_stream *cs, uint32_t v)
{
    return v == cs->field || v == cs->time_ms || v == (cs->field & 0x7fffffff) ||
           v == (cs->time_ms & 0x7fffffff);
}

/* A chunk without a header goes on with the open message, or starts one like the last.
 * Some senders leave the 32-bit time out of such chunks: when what stands there is not the
 * time, it is payload (SRS does the same). */
static enum rc bare_header(struct chunk_reader *r, struct chunk_stream *cs, struct reader *h,
                           struct err *err)
{
    if (h->left == 4) {
        struct slice raw = rd_rest(h);
        struct reader peek = reader_of(raw);

        if (!field_repeats(cs, rd_be32(&peek))) {
            r->omits_extended |= cs->open;
            memcpy(r->back, raw.p, 4);
            r->back_n = 4;
        }
    }
    if (cs->open)
        return RC_OK;
    cs->time_ms += cs->delta_ms;
    return open_message(cs, err);
}

/* librtmp pings with a relative header on a fresh stream 2; nobody else may refer to a
 * header that never came. */
static enum rc stream_of_header(struct chunk_reader *r, uint32_t id, unsigned fmt,
                                struct chunk_stream **out, struct err *err)
{
    *out = stream_find(r, id);
    if (*out)
        return RC_OK;
    if (fmt != 0 && !(fmt == 1 && id == LANE_CONTROL))
        return err_set(err, RC_BAD_INPUT,
                       "RTMP chunk of kind %u on chunk stream %u, which has "
                       "no header yet",
                       fmt, id);
    if (r->n_streams >= CHUNK_MAX_STREAMS)
        return err_set(err, RC_LIMIT, "more than %d RTMP chunk streams", CHUNK_MAX_STREAMS);
    *out = stream_add(r, id);
    return RC_OK;
}

static enum rc header_done(struct chunk_reader *r, struct err *err)
{
    size_t basic = basic_bytes(r->head[0]);
    unsigned fmt = r->head[0] >> 6;
    struct reader h = reader_of(slice_of(r->head + basic, r->head_n - basic));
    struct chunk_stream *cs;
    enum rc rc = stream_of_header(r, basic_id(r->head), fmt, &cs, err);

    if (rc != RC_OK)
        return rc;
    rc = fmt == 3 ? bare_header(r, cs, &h, err) : full_header(r, cs, fmt, &h, err);
    if (rc != RC_OK)
        return rc;
    r->current = (size_t)(cs - r->streams);
    r->chunk_left = MIN(r->chunk_size, cs->length - (uint32_t)cs->partial.n);
    r->head_n = 0;
    r->in_payload = true;
    return RC_OK;
}

static enum rc take_payload(struct chunk_reader *r, struct slice *in, struct err *err)
{
    struct chunk_stream *cs = &r->streams[r->current];
    size_t n = MIN(r->chunk_left, r->back_n + in->n);
    uint8_t *to;

    if (!n)
        return RC_OK;
    if (r->partial_bytes + n > CHUNK_MAX_PARTIAL)
        return err_set(err, RC_LIMIT, "unfinished RTMP messages hold more than %d bytes",
                       CHUNK_MAX_PARTIAL);
    to = buf_reserve(&cs->partial, cs->partial.n ? n : MAX(n, MIN(cs->length, FIRST_RESERVE)));
    take(r, in, to, n);
    cs->partial.n += n;
    r->partial_bytes += n;
    r->chunk_left -= (uint32_t)n;
    return RC_OK;
}

static void finish_message(struct chunk_reader *r, struct chunk_stream *cs,
                           struct rtmp_message *out)
{
    r->partial_bytes -= cs->partial.n;
    cs->open = false;
    *out = (struct rtmp_message){
        .type = cs->type,
        .time_ms = cs->time_ms,
        .stream_id = cs->stream_id,
        .body = blob_of_buf(&cs->partial),
    };
}

static enum rc set_chunk_size(struct chunk_reader *r, struct slice body, struct err *err)
{
    struct reader b = reader_of(body);
    uint32_t size = rd_be32(&b);

    if (b.failed || size == 0 || size > INT32_MAX)
        return err_set(err, RC_BAD_INPUT, "RTMP chunk size %u", size);
    r->chunk_size = size;
    return RC_OK;
}

static void abort_message(struct chunk_reader *r, struct slice body)
{
    struct reader b = reader_of(body);
    struct chunk_stream *cs = stream_find(r, rd_be32(&b));

    if (cs && !b.failed)
        drop_partial(r, cs);
}

/* Obeys what is addressed to this layer. True: *m was such a message and is gone. */
static bool obey(struct chunk_reader *r, struct rtmp_message *m, enum rc *rc, struct err *err)
{
    if (m->type == RTMP_SET_CHUNK_SIZE)
        *rc = set_chunk_size(r, blob_slice(m->body), err);
    else if (m->type == RTMP_ABORT)
        abort_message(r, blob_slice(m->body));
    else
        return false;
    blob_unref(&m->body);
    return true;
}

enum rc chunk_read(struct chunk_reader *r, struct slice *in, struct rtmp_message *out,
                   struct err *err)
{
    enum rc rc = RC_OK;

    while (rc == RC_OK) {
        struct chunk_stream *cs;

        if (!r->in_payload) {
            if (!take_header(r, in))
                return RC_NOT_FOUND;
            rc = header_done(r, err);
            if (rc != RC_OK)
                return rc;
        }
        rc = take_payload(r, in, err);
        if (rc != RC_OK)
            return rc;
        if (r->chunk_left)
            return RC_NOT_FOUND;
        r->in_payload = false;
        cs = &r->streams[r->current];
        if (cs->partial.n < cs->length)
            continue;
        finish_message(r, cs, out);
        if (!obey(r, out, &rc, err))
            return RC_OK;
    }
    return rc;
}

static size_t put_time(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
    return 4;
}

/* A header in full: receivers of every age read it, and 12 bytes a message are little. */
static size_t put_full_header(uint8_t *p, const struct chunk_to *to, uint32_t length)
{
    uint32_t field = MIN(to->time_ms, (uint32_t)TIME_ESCAPE);
    const uint8_t bytes[12] = {
        (uint8_t)to->lane,
        (uint8_t)(field >> 16),
        (uint8_t)(field >> 8),
        (uint8_t)field,
        (uint8_t)(length >> 16),
        (uint8_t)(length >> 8),
        (uint8_t)length,
        to->type,
        (uint8_t)to->stream_id,
        (uint8_t)(to->stream_id >> 8),
        (uint8_t)(to->stream_id >> 16),
        (uint8_t)(to->stream_id >> 24),
    };

    memcpy(p, bytes, sizeof(bytes));
    return sizeof(bytes) + (field == TIME_ESCAPE ? put_time(p + 12, to->time_ms) : 0);
}

static size_t put_bare_header(uint8_t *p, const struct chunk_to *to)
{
    p[0] = (uint8_t)(0xc0 | to->lane);
    return 1 + (to->time_ms >= TIME_ESCAPE ? put_time(p + 1, to->time_ms) : 0);
}

void chunk_write(struct chunk_writer *w, const struct chunk_to *to, struct slice head,
                 struct blob *body)
{
    enum { SMALL = 32 }; /* a tag's head travels in the same piece as the chunk's */
    uint8_t lead[CHUNK_HEADER_MAX + SMALL];
    size_t from = 0, left = head.n + (body ? body->n : 0);
    size_t n = put_full_header(lead, to, (uint32_t)left);

    for (;;) {
        size_t room = MIN(left, w->chunk_size);
        size_t of_head = MIN(head.n, room), of_body = room - of_head;

        if (of_head <= SMALL) {
            if (of_head)
                memcpy(lead + n, head.p, of_head);
            w->pipe.write(slice_of(lead, n + of_head), w->pipe.arg);
        } else {
            w->pipe.write(slice_of(lead, n), w->pipe.arg);
            w->pipe.write(slice_sub(head, 0, of_head), w->pipe.arg);
        }
        head = slice_skip(head, of_head);
        if (of_body)
            w->pipe.write_blob(body, from, of_body, w->pipe.arg);
        from += of_body;
        left -= room;
        if (!left)
            return;
        n = put_bare_header(lead, to);
    }
}

void chunk_write_u32(struct chunk_writer *w, enum rtmp_type type, uint32_t value)
{
    uint8_t bytes[4];

    put_time(bytes, value);
    chunk_write(w, &(struct chunk_to){.lane = LANE_CONTROL, .type = (uint8_t)type},
                slice_of(bytes, sizeof(bytes)), NULL);
}

void chunk_write_size(struct chunk_writer *w)
{
    chunk_write_u32(w, RTMP_SET_CHUNK_SIZE, CHUNK_SIZE_OURS);
    w->chunk_size = CHUNK_SIZE_OURS;
}
