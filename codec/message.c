#include "codec/message.h"

#include <string.h>

#include "base/reader.h"

/* ---- writing ---- */

/* The length goes into the head last, when it is known. */
static size_t begin(struct buf *b, enum msg_kind kind)
{
    buf_u8(b, (uint8_t)kind);
    buf_be24(b, 0);
    return b->n;
}

static void end(struct buf *b, size_t body_start)
{
    if (!buf_ok(b))
        return;
    size_t n = b->n - body_start;
    b->p[body_start - 3] = (uint8_t)(n >> 16);
    b->p[body_start - 2] = (uint8_t)(n >> 8);
    b->p[body_start - 1] = (uint8_t)n;
}

static void put_text(struct buf *b, const char *s)
{
    size_t n = strlen(s);

    buf_u8(b, (uint8_t)n);
    buf_add(b, s, n);
}

static void put_i32(struct buf *b, int32_t v)
{
    buf_be32(b, (uint32_t)v);
}
static void put_i64(struct buf *b, int64_t v)
{
    buf_be64(b, (uint64_t)v);
}

static void put_profile(struct buf *b, const struct profile *p)
{
    put_text(b, p->name);
    put_i32(b, p->width);
    put_i32(b, p->height);
    put_i32(b, p->bitrate);
    buf_be32(b, p->fps);
    buf_be32(b, p->fps_den);
    put_i32(b, p->gop_ms);
    buf_u8(b, (uint8_t)p->container);
    buf_u8(b, (uint8_t)p->profile);
    buf_u8(b, (uint8_t)p->encoder);
    buf_be32(b, p->quality);
}

void msg_ready_encode(struct buf *b)
{
    end(b, begin(b, MSG_READY));
}

void msg_open_encode(struct buf *b, const struct msg_open *m)
{
    size_t at = begin(b, MSG_OPEN);

    buf_be32(b, m->session);
    buf_be64(b, m->memory_limit_bytes);
    put_text(b, m->id);
    end(b, at);
}

void msg_opened_encode(struct buf *b, const struct msg_opened *m)
{
    size_t at = begin(b, MSG_OPENED);

    buf_be32(b, m->session);
    put_i32(b, m->pid);
    end(b, at);
}

void msg_died_encode(struct buf *b, const struct msg_died *m)
{
    size_t at = begin(b, MSG_DIED);

    put_i32(b, m->pid);
    put_i32(b, m->status);
    end(b, at);
}

void msg_budget_encode(struct buf *b, const struct msg_budget *m)
{
    size_t at = begin(b, MSG_BUDGET);

    put_i32(b, m->pid);
    buf_be32(b, m->cpu_s);
    end(b, at);
}

void msg_job_encode(struct buf *b, const struct msg_job *m)
{
    size_t at = begin(b, MSG_JOB);

    put_i64(b, m->seq);
    put_i32(b, m->duration_ms);
    buf_u8(b, m->reinit);
    put_i64(b, m->clip_from_ms);
    put_i64(b, m->clip_to_ms);
    buf_be64(b, m->segment_bytes);
    buf_u8(b, (uint8_t)m->n_profiles);
    for (size_t i = 0; i < m->n_profiles; i++)
        put_profile(b, &m->profiles[i]);
    end(b, at);
}

void msg_rendition_encode(struct buf *b, const struct msg_rendition *m)
{
    size_t at = begin(b, MSG_RENDITION);

    buf_be32(b, m->index);
    put_i32(b, m->width);
    put_i32(b, m->height);
    put_i32(b, m->frames);
    put_i64(b, m->pixels);
    buf_be64(b, m->bytes);
    end(b, at);
}

void msg_done_encode(struct buf *b, const struct msg_done *m)
{
    size_t at = begin(b, MSG_DONE);

    buf_u8(b, (uint8_t)m->rc);
    put_i64(b, m->decoded_pixels);
    put_text(b, m->text);
    put_text(b, m->detail);
    end(b, at);
}

/* ---- reading: a value out of range marks the reader failed, like a missing byte ---- */

static uint32_t rd_max(struct reader *r, uint32_t v, uint32_t max)
{
    if (v <= max)
        return v;
    r->failed = true;
    return 0;
}

static uint64_t rd_u64_max(struct reader *r, uint64_t max)
{
    uint64_t v = rd_be64(r);

    if (v <= max)
        return v;
    r->failed = true;
    return 0;
}

static int32_t rd_i32(struct reader *r)
{
    return (int32_t)rd_be32(r);
}
static int64_t rd_i64(struct reader *r)
{
    return (int64_t)rd_be64(r);
}

static bool rd_bool(struct reader *r)
{
    return rd_max(r, rd_u8(r), 1) == 1;
}

/* out has room for max bytes and a NUL. */
static void rd_text(struct reader *r, char *out, size_t max)
{
    struct slice s = rd_bytes(r, rd_u8(r));

    if (s.n > max || (s.n && memchr(s.p, 0, s.n))) {
        r->failed = true;
        s.n = 0;
    }
    if (s.n)
        memcpy(out, s.p, s.n);
    out[s.n] = 0;
}

static enum rc finish(const struct reader *r, const char *kind, struct err *err)
{
    if (r->failed || r->left)
        return err_set(err, RC_BAD_INPUT, "malformed %s message", kind);
    return RC_OK;
}

enum rc msg_head_decode(struct slice four_bytes, struct msg_head *out, struct err *err)
{
    struct reader r = reader_of(four_bytes);
    uint32_t kind = rd_u8(&r), n = rd_be24(&r);

    if (r.failed || kind < MSG_READY || kind > MSG_DONE || n > MSG_MAX_BODY)
        return err_set(err, RC_BAD_INPUT, "malformed message head, kind %u, %u bytes", kind, n);
    out->kind = (enum msg_kind)kind;
    out->body_bytes = n;
    return RC_OK;
}

enum rc msg_open_decode(struct slice body, struct msg_open *out, struct err *err)
{
    struct reader r = reader_of(body);

    out->session = rd_be32(&r);
    out->memory_limit_bytes = rd_be64(&r);
    rd_text(&r, out->id, MSG_MAX_ID);
    return finish(&r, "OPEN", err);
}

enum rc msg_opened_decode(struct slice body, struct msg_opened *out, struct err *err)
{
    struct reader r = reader_of(body);

    out->session = rd_be32(&r);
    out->pid = rd_i32(&r);
    return finish(&r, "OPENED", err);
}

enum rc msg_died_decode(struct slice body, struct msg_died *out, struct err *err)
{
    struct reader r = reader_of(body);

    out->pid = rd_i32(&r);
    out->status = rd_i32(&r);
    return finish(&r, "DIED", err);
}

enum rc msg_budget_decode(struct slice body, struct msg_budget *out, struct err *err)
{
    struct reader r = reader_of(body);

    out->pid = rd_i32(&r);
    out->cpu_s = rd_be32(&r);
    return finish(&r, "BUDGET", err);
}

static void rd_profile(struct reader *r, struct profile *p)
{
    rd_text(r, p->name, PROFILE_NAME_MAX);
    p->width = (int)rd_max(r, rd_be32(r), MSG_MAX_SIDE);
    p->height = (int)rd_max(r, rd_be32(r), MSG_MAX_SIDE);
    p->bitrate = (int)rd_max(r, rd_be32(r), INT32_MAX);
    p->fps = rd_be32(r);
    p->fps_den = rd_be32(r);
    p->gop_ms = rd_i32(r);
    p->container = (enum container)rd_max(r, rd_u8(r), CONTAINER_MP4);
    p->profile = (enum encoder_profile)rd_max(r, rd_u8(r), ENCODER_H264_CONSTRAINED_HIGH);
    p->encoder = (enum video_encoder)rd_max(r, rd_u8(r), VIDEO_VP9);
    p->quality = rd_be32(r);
}

enum rc msg_job_decode(struct slice body, struct msg_job *out, struct err *err)
{
    struct reader r = reader_of(body);

    out->seq = rd_i64(&r);
    out->duration_ms = (int32_t)rd_max(&r, rd_be32(&r), MSG_MAX_DURATION_MS);
    out->reinit = rd_bool(&r);
    out->clip_from_ms = (int64_t)rd_u64_max(&r, INT32_MAX);
    out->clip_to_ms = (int64_t)rd_u64_max(&r, INT32_MAX);
    out->segment_bytes = rd_u64_max(&r, MSG_MAX_SEGMENT);
    out->n_profiles = rd_max(&r, rd_u8(&r), MSG_MAX_RENDITIONS);
    for (size_t i = 0; i < out->n_profiles; i++)
        rd_profile(&r, &out->profiles[i]);
    return finish(&r, "JOB", err);
}

enum rc msg_rendition_decode(struct slice body, struct msg_rendition *out, struct err *err)
{
    struct reader r = reader_of(body);

    out->index = rd_max(&r, rd_be32(&r), MSG_MAX_RENDITIONS - 1);
    out->width = (int32_t)rd_max(&r, rd_be32(&r), MSG_MAX_SIDE);
    out->height = (int32_t)rd_max(&r, rd_be32(&r), MSG_MAX_SIDE);
    out->frames = (int32_t)rd_max(&r, rd_be32(&r), INT32_MAX);
    out->pixels = (int64_t)rd_u64_max(&r, INT64_MAX);
    out->bytes = rd_u64_max(&r, MSG_MAX_SEGMENT);
    return finish(&r, "RENDITION", err);
}

enum rc msg_done_decode(struct slice body, struct msg_done *out, struct err *err)
{
    struct reader r = reader_of(body);

    out->rc = (enum rc)rd_max(&r, rd_u8(&r), RC_COUNT - 1);
    out->decoded_pixels = (int64_t)rd_u64_max(&r, INT64_MAX);
    rd_text(&r, out->text, MSG_MAX_TEXT);
    rd_text(&r, out->detail, MSG_MAX_TEXT);
    return finish(&r, "DONE", err);
}
