#include "media/flv.h"

#include <stdlib.h>

#include "base/reader.h"
#include "base/text.h"
#include "media/aac.h"
#include "media/h264.h"

enum { VIDEO_EXTENDED = 0x80, VIDEO_COMMAND = 5, VIDEO_AVC = 7 };
enum { AUDIO_AAC = 10, AUDIO_EXTENDED = 9 };

/* The same three packets in both old headers and in the extended ones' first three. */
enum { PACKET_CONFIG = 0, PACKET_FRAME = 1, PACKET_END = 2 };
enum {
    PACKET_FRAME_X = 3,
    PACKET_METADATA = 4,
    PACKET_MULTITRACK_AUDIO = 5,
    PACKET_MULTITRACK_VIDEO = 6,
    PACKET_MOD_EX = 7
};

enum { FILE_HEADER = 9, BACK_POINTER = 4 };

void flv_item_cleanup(struct flv_item *i)
{
    track_cleanup(&i->track);
    frame_cleanup(&i->frame);
}

/* --- H.264 --- */

static int32_t rd_si24(struct reader *r)
{
    uint32_t v = rd_be24(r);

    return v & 0x800000 ? (int32_t)v - 0x1000000 : (int32_t)v;
}

static enum rc read_avcc(struct slice avcc, int *length_size, struct flv_item *out, struct err *err)
{
    enum rc rc;

    out->what = FLV_TRACK;
    rc = h264_track_from_avcc(avcc, &out->track, err);
    if (rc == RC_OK)
        *length_size = (avcc.p[4] & 3) + 1;
    return rc;
}

enum nal_form { FORM_GOOD, FORM_REWRITE, FORM_BROKEN };

/* Nearly all senders write frames as we keep them; only the others pay for a copy. */
static enum nal_form nal_form_of(struct slice units, bool *has_idr)
{
    enum nal_form form = FORM_GOOD;
    struct slice nal;
    bool bad = false;

    *has_idr = false;
    while (h264_next_avc(&units, &nal, &bad)) {
        unsigned type = nal.n ? nal.p[0] & 0x1f : 0;

        if (!nal.n || type == H264_NAL_AUD)
            form = FORM_REWRITE;
        *has_idr |= type == H264_NAL_IDR;
    }
    if (units.n)
        form = FORM_REWRITE; /* padding behind the last unit */
    return bad ? FORM_BROKEN : form;
}

static enum rc read_picture(struct blob *body, struct slice units, int length_size,
                            int32_t composition_ms, struct flv_item *out, struct err *err)
{
    struct frame *f = &out->frame;
    enum nal_form form = FORM_REWRITE;

    if (!units.n || !length_size)
        return RC_OK;
    out->what = FLV_FRAME;
    f->pts = f->dts + composition_ms;
    if (length_size == 4)
        form = nal_form_of(units, &f->key);
    if (form == FORM_BROKEN)
        return err_set(err, RC_BAD_INPUT, "a NAL unit is longer than its frame of %zu bytes",
                       units.n);
    if (form == FORM_GOOD) {
        f->data = blob_sub(body, (size_t)(units.p - body->p), units.n);
        return RC_OK;
    }
    enum rc rc = h264_normalize_avc(units, length_size, &f->data, &f->key, err);
    if (rc == RC_OK && !f->data)
        out->what = FLV_NOTHING;
    return rc;
}

static enum rc read_h264(int packet, struct blob *body, struct reader *r, int *length_size,
                         struct flv_item *out, struct err *err)
{
    int32_t composition_ms = 0;

    if (packet == PACKET_END) {
        out->what = FLV_END_OF_SEQUENCE;
        return RC_OK;
    }
    if (packet == PACKET_CONFIG)
        return read_avcc(rd_rest(r), length_size, out, err);
    if (packet == PACKET_FRAME)
        composition_ms = rd_si24(r);
    else if (packet != PACKET_FRAME_X)
        return RC_OK;
    if (r->failed)
        return RC_OK; /* a header and no picture: some encoders say so at their end */
    return read_picture(body, rd_rest(r), *length_size, composition_ms, out, err);
}

/* --- the headers --- */

/* Skips ModEx packets (more about this one message, such as nanoseconds) up to the real one. */
static int skip_mod_ex(struct reader *r, int packet)
{
    while (packet == PACKET_MOD_EX && !r->failed) {
        size_t size = rd_u8(r) + 1u;

        if (size == 256)
            size = rd_be16(r) + 1u;
        rd_skip(r, size);
        packet = rd_u8(r) & 0xf;
    }
    return packet;
}

static enum rc refuse_fourcc(struct slice fourcc, const char *want, struct err *err)
{
    char name[256];

    return err_set(err, RC_UNSUPPORTED, "codec '%s' is not supported; %s",
                   text_printable(fourcc, name), want);
}

#define WANT_VIDEO "send video as H.264 (avc1)"
#define WANT_AUDIO "send audio as AAC (mp4a)"

static enum rc read_extended_video(uint8_t first, struct blob *body, struct reader *r,
                                   int *length_size, struct flv_item *out, struct err *err)
{
    int packet = skip_mod_ex(r, first & 0xf);
    struct slice fourcc;

    if (packet == PACKET_METADATA || (first >> 4 & 7) == VIDEO_COMMAND)
        return RC_OK;
    if (packet == PACKET_MULTITRACK_VIDEO)
        return err_set(err, RC_UNSUPPORTED,
                       "several video tracks in one stream are not "
                       "supported; send one, as H.264 (avc1)");
    fourcc = rd_bytes(r, 4);
    if (r->failed)
        return err_set(err, RC_BAD_INPUT, "video header cut short at %zu bytes", body->n);
    if (!slice_eq_str(fourcc, "avc1"))
        return refuse_fourcc(fourcc, WANT_VIDEO, err);
    return read_h264(packet, body, r, length_size, out, err);
}

static enum rc read_video(struct blob *body, struct reader *r, int *length_size,
                          struct flv_item *out, struct err *err)
{
    static const char *const names[16] = {
        [2] = "Sorenson H.263", [3] = "Screen Video",   [4] = "VP6",
        [5] = "VP6 with alpha", [6] = "Screen Video 2", [8] = "H.263",
        [9] = "MPEG-4",         [12] = "HEVC",          [13] = "AV1",
    };
    uint8_t first = rd_u8(r);
    int codec = first & 0xf;

    if (first & VIDEO_EXTENDED)
        return read_extended_video(first, body, r, length_size, out, err);
    if (first >> 4 == VIDEO_COMMAND)
        return RC_OK;
    if (codec != VIDEO_AVC)
        return err_set(err, RC_UNSUPPORTED, "video codec %d (%s) is not supported; " WANT_VIDEO,
                       codec, names[codec] ? names[codec] : "unknown");
    codec = rd_u8(r);
    if (codec > PACKET_END)
        return RC_OK;
    if (codec != PACKET_FRAME)
        rd_skip(r, 3); /* composition time, without meaning here */
    return r->failed ? RC_OK : read_h264(codec, body, r, length_size, out, err);
}

static enum rc read_aac(int packet, struct blob *body, struct slice data, struct flv_item *out,
                        struct err *err)
{
    if (packet == PACKET_END)
        out->what = FLV_END_OF_SEQUENCE;
    if (packet == PACKET_CONFIG) {
        out->what = FLV_TRACK;
        return aac_track_from_config(data, &out->track, err);
    }
    if (packet == PACKET_FRAME && data.n) {
        out->what = FLV_FRAME;
        out->frame.key = true;
        out->frame.data = blob_sub(body, (size_t)(data.p - body->p), data.n);
    }
    return RC_OK;
}

static enum rc read_extended_audio(uint8_t first, struct blob *body, struct reader *r,
                                   struct flv_item *out, struct err *err)
{
    int packet = skip_mod_ex(r, first & 0xf);
    struct slice fourcc;

    if (packet == PACKET_MULTITRACK_AUDIO)
        return err_set(err, RC_UNSUPPORTED,
                       "several audio tracks in one stream are not "
                       "supported; send one, as AAC (mp4a)");
    fourcc = rd_bytes(r, 4);
    if (r->failed)
        return err_set(err, RC_BAD_INPUT, "audio header cut short at %zu bytes", body->n);
    if (!slice_eq_str(fourcc, "mp4a"))
        return refuse_fourcc(fourcc, WANT_AUDIO, err);
    return read_aac(packet, body, rd_rest(r), out, err);
}

static enum rc read_audio(struct blob *body, struct reader *r, struct flv_item *out,
                          struct err *err)
{
    static const char *const names[16] = {
        [0] = "PCM",          [1] = "ADPCM",      [2] = "MP3",        [3] = "PCM",
        [4] = "Nellymoser",   [5] = "Nellymoser", [6] = "Nellymoser", [7] = "G.711 A-law",
        [8] = "G.711 mu-law", [11] = "Speex",     [13] = "Opus",      [14] = "MP3",
    };
    uint8_t first = rd_u8(r);
    int codec = first >> 4, packet;

    if (codec == AUDIO_EXTENDED)
        return read_extended_audio(first, body, r, out, err);
    if (codec != AUDIO_AAC)
        return err_set(err, RC_UNSUPPORTED, "audio codec %d (%s) is not supported; " WANT_AUDIO,
                       codec, names[codec] ? names[codec] : "unknown");
    packet = rd_u8(r);
    return r->failed || packet > PACKET_FRAME ? RC_OK
                                              : read_aac(packet, body, rd_rest(r), out, err);
}

enum rc flv_read(int tag_type, struct blob *body, uint32_t time_ms, int *length_size,
                 struct flv_item *out, struct err *err)
{
    struct reader r = reader_of(blob_slice(body));

    *out = (struct flv_item){
        .kind = tag_type == FLV_AUDIO ? TRACK_AUDIO : TRACK_VIDEO,
        .frame = {.dts = time_ms, .pts = time_ms},
    };
    out->frame.kind = out->kind;
    if (!body->n)
        return RC_OK; /* of audio, a marker that there is silence now */
    if (tag_type == FLV_AUDIO)
        return read_audio(body, &r, out, err);
    return tag_type == FLV_VIDEO ? read_video(body, &r, length_size, out, err) : RC_OK;
}

size_t flv_frame_header(const struct frame *f, int32_t composition_ms, uint8_t out[5])
{
    out[0] = f->kind == TRACK_AUDIO ? 0xaf : f->key ? 0x17 : 0x27;
    out[1] = PACKET_FRAME;
    if (f->kind == TRACK_AUDIO)
        return 2;
    out[2] = (uint8_t)(composition_ms >> 16);
    out[3] = (uint8_t)(composition_ms >> 8);
    out[4] = (uint8_t)composition_ms;
    return 5;
}

size_t flv_config_header(enum track_kind kind, uint8_t out[5])
{
    memset(out, 0, 5);
    out[0] = kind == TRACK_AUDIO ? 0xaf : 0x17;
    return kind == TRACK_AUDIO ? 2 : 5;
}

/* --- a file as it arrives --- */

struct flv_file {
    struct buf held; /* what does not make a whole tag yet */
    size_t skip;     /* bytes to pass over before the next tag */
    bool started;    /* the file header is behind us */
};

struct flv_file *flv_file_new(void)
{
    struct flv_file *f = xcalloc(1, sizeof(*f));

    buf_init(&f->held, FLV_TAG_HEADER + MAX_FRAME_BYTES);
    return f;
}

void flv_file_free(struct flv_file *f)
{
    if (!f)
        return;
    buf_cleanup(&f->held);
    free(f);
}

static enum rc read_file_header(struct flv_file *f, struct slice in, size_t *used, struct err *err)
{
    struct reader r = reader_of(in);
    struct slice magic = rd_bytes(&r, 3);
    uint32_t length;

    rd_skip(&r, 2); /* version, which tracks: tags tell better */
    length = rd_be32(&r);
    if (r.failed)
        return RC_NOT_FOUND;
    if (!slice_eq_str(magic, "FLV") || length < FILE_HEADER)
        return err_set(err, RC_BAD_INPUT, "not an FLV file: it begins with 0x%02x%02x%02x", in.p[0],
                       in.p[1], in.p[2]);
    f->started = true;
    f->skip = length - FILE_HEADER + (size_t)BACK_POINTER;
    *used = FILE_HEADER;
    return RC_OK;
}

/* The next tag at the front of `in`. RC_NOT_FOUND: more bytes are needed. */
static enum rc read_tag(struct slice in, struct flv_tag *tag, size_t *used, struct err *err)
{
    struct reader r = reader_of(in);
    uint32_t size, low, high;

    tag->type = rd_u8(&r) & 0x1f;
    size = rd_be24(&r);
    low = rd_be24(&r);
    high = rd_u8(&r); /* the high byte comes last */
    rd_skip(&r, 3);   /* stream id, always zero */
    if (r.failed)
        return RC_NOT_FOUND;
    if (size > MAX_FRAME_BYTES)
        return err_set(err, RC_BAD_INPUT, "FLV tag of %u bytes, at most %d are taken", size,
                       MAX_FRAME_BYTES);
    tag->time_ms = low | high << 24;
    tag->body = rd_bytes(&r, size);
    *used = FLV_TAG_HEADER + size;
    return r.failed ? RC_NOT_FOUND : RC_OK;
}

/* Takes one piece off the front of *in. RC_NOT_FOUND: what is left is no whole piece. */
static enum rc file_step(struct flv_file *f, struct slice *in,
                         void (*on_tag)(const struct flv_tag *tag, void *arg), void *arg,
                         struct err *err)
{
    size_t skip = MIN(f->skip, in->n), used = 0;
    struct flv_tag tag;
    enum rc rc;

    *in = slice_skip(*in, skip);
    f->skip -= skip;
    if (!in->n)
        return RC_NOT_FOUND;
    if (!f->started) {
        rc = read_file_header(f, *in, &used, err);
    } else {
        rc = read_tag(*in, &tag, &used, err);
        if (rc == RC_OK) {
            f->skip = BACK_POINTER;
            on_tag(&tag, arg);
        }
    }
    if (rc == RC_OK)
        *in = slice_skip(*in, used);
    return rc;
}

enum rc flv_file_feed(struct flv_file *f, struct slice bytes,
                      void (*on_tag)(const struct flv_tag *tag, void *arg), void *arg,
                      struct err *err)
{
    enum rc rc = RC_OK;

    /* Large inputs go through in pieces, so that what is held stays one tag. */
    while (bytes.n && rc != RC_BAD_INPUT) {
        size_t piece = MIN(bytes.n, f->held.max - f->held.n);
        struct slice left;

        buf_add(&f->held, bytes.p, piece);
        bytes = slice_skip(bytes, piece);
        left = buf_slice(&f->held);
        while ((rc = file_step(f, &left, on_tag, arg, err)) == RC_OK)
            ;
        buf_consume(&f->held, f->held.n - left.n);
    }
    return rc == RC_NOT_FOUND ? RC_OK : rc;
}
