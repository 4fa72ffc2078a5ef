#include "media/h264.h"

#include "base/reader.h"

enum {
    MAX_SPS_BYTES = 4096, /* all scaling lists written out stay below */
    MAX_AVCC_BYTES = 64 * 1024,
    MAX_SIDE = 16384, /* pixels; level 6.2 ends at 8192 x 4320 */
    MAX_CPB = 32,     /* E.2.2 cpb_cnt_minus1 */
    AVCC_HEADER = 5,
    EXTENDED_SAR = 255,
};

/* ---- sequence parameter set ---- */

/* Takes the emulation prevention bytes out (7.4.1): 00 00 03 says 00 00. */
static size_t unescape(struct slice nal, uint8_t *out)
{
    size_t n = 0, zeros = 0;

    for (size_t i = 0; i < nal.n; i++) {
        if (zeros >= 2 && nal.p[i] == 3) {
            zeros = 0;
            continue;
        }
        zeros = nal.p[i] ? 0 : zeros + 1;
        out[n++] = nal.p[i];
    }
    return n;
}

/* A value above what the standard allows breaks the SPS: nothing after it would be in place. */
static uint32_t ue_max(struct bitreader *r, uint32_t max)
{
    uint32_t v = rb_ue(r);

    if (v <= max)
        return v;
    r->failed = true;
    return 0;
}

static bool has_chroma_fields(unsigned profile)
{
    static const uint8_t profiles[] = {100, 110, 122, 244, 44,  83, 86,
                                       118, 128, 138, 139, 134, 135};

    return memchr(profiles, (int)profile, sizeof(profiles)) != NULL;
}

static void skip_scaling_list(struct bitreader *r, int size)
{
    int last = 8, next = 8;

    for (int i = 0; i < size && !r->failed; i++) {
        if (next)
            next = (int)((uint32_t)last + (uint32_t)rb_se(r)) & 0xff;
        last = next ? next : last;
    }
}

static void read_chroma(struct bitreader *r, struct h264_sps *s)
{
    s->chroma_format_idc = (int)ue_max(r, 3);
    if (s->chroma_format_idc == 3)
        rb_skip(r, 1); /* separate colour planes */
    s->bit_depth = 8 + (int)ue_max(r, 6);
    (void)rb_ue(r); /* chroma's depth */
    rb_skip(r, 1);  /* lossless bypass */
    if (!rb_bits(r, 1))
        return;
    for (int i = 0, lists = s->chroma_format_idc == 3 ? 12 : 8; i < lists; i++)
        if (rb_bits(r, 1))
            skip_scaling_list(r, i < 6 ? 16 : 64);
}

static void skip_picture_order(struct bitreader *r)
{
    uint32_t type = rb_ue(r);

    if (type == 0) {
        (void)rb_ue(r);
    } else if (type == 1) {
        rb_skip(r, 1);
        (void)rb_se(r);
        (void)rb_se(r);
        for (uint32_t n = ue_max(r, 255); n && !r->failed; n--)
            (void)rb_se(r);
    }
}

static void read_size(struct bitreader *r, struct h264_sps *s)
{
    uint32_t width = ue_max(r, MAX_SIDE / 16 - 1), height = ue_max(r, MAX_SIDE / 16 - 1);
    uint32_t crop[4] = {0};
    bool frames_only = rb_bits(r, 1);
    uint32_t unit_x = s->chroma_format_idc == 1 || s->chroma_format_idc == 2 ? 2 : 1;
    uint32_t unit_y = (s->chroma_format_idc == 1 ? 2 : 1) * (frames_only ? 1 : 2);

    if (!frames_only)
        rb_skip(r, 1); /* adaptive frame and field */
    rb_skip(r, 1);     /* direct inference */
    if (rb_bits(r, 1))
        for (int i = 0; i < 4; i++)
            crop[i] = ue_max(r, MAX_SIDE);
    s->width = (int)((width + 1) * 16) - (int)((crop[0] + crop[1]) * unit_x);
    s->height = (int)((height + 1) * 16 * (frames_only ? 1 : 2)) -
                (int)((crop[2] + crop[3]) * unit_y);
}

static void skip_hrd(struct bitreader *r)
{
    uint32_t n = ue_max(r, MAX_CPB - 1) + 1;

    rb_skip(r, 8);
    for (; n && !r->failed; n--) {
        (void)rb_ue(r);
        (void)rb_ue(r);
        rb_skip(r, 1);
    }
    rb_skip(r, 20);
}

static void read_timing(struct bitreader *r, struct h264_sps *s)
{
    uint32_t tick = rb_bits(r, 32), scale = rb_bits(r, 32);

    rb_skip(r, 1); /* fixed rate: said wrongly too often to rely on */
    if (tick && scale && !r->failed)
        s->fps = (double)scale / 2 / tick; /* a tick is a field */
}

/* E.1.1. What cannot be read here is only a hint lost, never a stream refused: encoders
 * that cut the VUI short exist. */
static void read_vui(struct bitreader *r, struct h264_sps *s)
{
    if (rb_bits(r, 1) && rb_bits(r, 8) == EXTENDED_SAR)
        rb_skip(r, 32);
    if (rb_bits(r, 1)) /* overscan */
        rb_skip(r, 1);
    if (rb_bits(r, 1)) { /* video signal type */
        rb_skip(r, 4);
        if (rb_bits(r, 1))
            rb_skip(r, 24);
    }
    if (rb_bits(r, 1)) { /* chroma location */
        (void)rb_ue(r);
        (void)rb_ue(r);
    }
    if (rb_bits(r, 1))
        read_timing(r, s);
    bool nal_hrd = rb_bits(r, 1);
    if (nal_hrd)
        skip_hrd(r);
    bool vcl_hrd = rb_bits(r, 1);
    if (vcl_hrd)
        skip_hrd(r);
    if (nal_hrd || vcl_hrd)
        rb_skip(r, 1); /* low delay */
    rb_skip(r, 1);     /* picture structure */
    if (!rb_bits(r, 1))
        return;
    rb_skip(r, 1);
    for (int i = 0; i < 4; i++)
        (void)rb_ue(r);
    uint32_t reorder = rb_ue(r);
    if (!r->failed && reorder <= 16)
        s->max_reorder_frames = (int)reorder;
}

enum rc h264_sps_parse(struct slice nal, struct h264_sps *out, struct err *err)
{
    uint8_t raw[MAX_SPS_BYTES];

    *out = (struct h264_sps){.chroma_format_idc = 1, .bit_depth = 8, .max_reorder_frames = -1};
    if (nal.n > sizeof(raw))
        return err_set(err, RC_LIMIT, "SPS of %zu bytes, at most %d", nal.n, MAX_SPS_BYTES);
    if (!nal.n || (nal.p[0] & 0x1f) != H264_NAL_SPS)
        return err_set(err, RC_BAD_INPUT, "no SPS");
    struct bitreader r = bitreader_of(slice_of(raw, unescape(slice_skip(nal, 1), raw)));
    out->profile_idc = (uint8_t)rb_bits(&r, 8);
    out->constraints = (uint8_t)rb_bits(&r, 8);
    out->level_idc = (uint8_t)rb_bits(&r, 8);
    (void)rb_ue(&r); /* its id */
    if (has_chroma_fields(out->profile_idc))
        read_chroma(&r, out);
    (void)rb_ue(&r); /* frame number's length */
    skip_picture_order(&r);
    (void)rb_ue(&r); /* reference frames */
    rb_skip(&r, 1);  /* gaps allowed */
    read_size(&r, out);
    bool has_vui = rb_bits(&r, 1);
    if (r.failed)
        return err_set(err, RC_BAD_INPUT, "SPS of %zu bytes breaks off or is out of range", nal.n);
    if (out->width <= 0 || out->height <= 0)
        return err_set(err, RC_BAD_INPUT, "SPS crops the picture to %dx%d", out->width,
                       out->height);
    if (has_vui)
        read_vui(&r, out);
    return RC_OK;
}

/* ---- AVCDecoderConfigurationRecord ---- */

static struct slice read_set(struct reader *r)
{
    return rd_bytes(r, rd_be16(r));
}

enum rc h264_avcc_sets(struct slice avcc, void (*fn)(struct slice nal, void *arg), void *arg,
                       struct err *err)
{
    struct reader r = reader_of(avcc);

    rd_skip(&r, AVCC_HEADER);
    for (int kind = 0; kind < 2; kind++) { /* sequence sets, then picture sets */
        unsigned n = rd_u8(&r);

        if (kind == 0)
            n &= 0x1f;
        for (; n && !r.failed; n--) {
            struct slice nal = read_set(&r);

            if (nal.n)
                fn(nal, arg);
        }
    }
    if (r.failed)
        return err_set(err, RC_BAD_INPUT, "avcC of %zu bytes breaks off in its parameter sets",
                       avcc.n);
    return RC_OK;
}

struct first_sps {
    struct slice nal;
};

static void keep_first_sps(struct slice nal, void *arg)
{
    struct first_sps *first = arg;

    if (!first->nal.n && (nal.p[0] & 0x1f) == H264_NAL_SPS)
        first->nal = nal;
}

static enum rc avcc_check(struct slice avcc, struct h264_sps *sps, struct err *err)
{
    struct first_sps first = {.nal = {NULL, 0}};
    enum rc rc;

    if (avcc.n > MAX_AVCC_BYTES)
        return err_set(err, RC_LIMIT, "avcC of %zu bytes, at most %d", avcc.n, MAX_AVCC_BYTES);
    if (avcc.n <= AVCC_HEADER || avcc.p[0] != 1)
        return err_set(err, RC_BAD_INPUT, "avcC of %zu bytes with version %d", avcc.n,
                       avcc.n ? avcc.p[0] : -1);
    if ((avcc.p[4] & 3) == 2)
        return err_set(err, RC_BAD_INPUT, "avcC with NAL lengths of 3 bytes");
    rc = h264_avcc_sets(avcc, keep_first_sps, &first, err);
    if (rc != RC_OK)
        return rc;
    if (!first.nal.n)
        return err_set(err, RC_BAD_INPUT, "avcC without SPS");
    rc = h264_sps_parse(first.nal, sps, err);
    return rc == RC_OK ? RC_OK : err_wrap(err, rc, "avcC");
}

enum rc h264_track_from_avcc(struct slice avcc, struct track *out, struct err *err)
{
    struct h264_sps sps;
    enum rc rc = avcc_check(avcc, &sps, err);

    *out = (struct track){.codec = CODEC_NONE};
    if (rc != RC_OK)
        return rc;
    *out = (struct track){
        .codec = CODEC_H264,
        .config = blob_copy(avcc),
        .width = sps.width,
        .height = sps.height,
        .fps = sps.fps,
    };
    blob_bytes(out->config)[4] |= 3; /* a frame's NAL lengths have 4 bytes */
    return RC_OK;
}

static bool sets_fit(const struct slice *sets, size_t n, size_t max_sets, size_t *bytes)
{
    if (n > max_sets)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!sets[i].n || sets[i].n > UINT16_MAX)
            return false;
        *bytes += 2 + sets[i].n;
    }
    return true;
}

static void put_sets(struct buf *b, const struct slice *sets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_be16(b, (uint16_t)sets[i].n);
        buf_add_slice(b, sets[i]);
    }
}

struct blob *h264_avcc_from_sets(const struct slice *sps, size_t n_sps, const struct slice *pps,
                                 size_t n_pps)
{
    size_t bytes = AVCC_HEADER + 2 + 4;
    struct h264_sps first;
    struct buf b;

    if (!n_sps || !sets_fit(sps, n_sps, 31, &bytes) || !sets_fit(pps, n_pps, 255, &bytes) ||
        h264_sps_parse(sps[0], &first, NULL) != RC_OK)
        return NULL;
    buf_init(&b, bytes);
    buf_u8(&b, 1);
    buf_u8(&b, first.profile_idc);
    buf_u8(&b, first.constraints);
    buf_u8(&b, first.level_idc);
    buf_u8(&b, 0xff); /* lengths of 4 bytes */
    buf_u8(&b, (uint8_t)(0xe0 | n_sps));
    put_sets(&b, sps, n_sps);
    buf_u8(&b, (uint8_t)n_pps);
    put_sets(&b, pps, n_pps);
    if (has_chroma_fields(first.profile_idc)) { /* 14496-15 5.3.3.1.2 */
        buf_u8(&b, (uint8_t)(0xfc | first.chroma_format_idc));
        buf_u8(&b, (uint8_t)(0xf8 | (first.bit_depth - 8)));
        buf_u8(&b, (uint8_t)(0xf8 | (first.bit_depth - 8)));
        buf_u8(&b, 0);
    }
    return blob_of_buf(&b);
}

/* ---- walks ---- */

static uint32_t be_n(const uint8_t *p, size_t n)
{
    uint32_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* One unit behind a prefix of `prefix` bytes. A rest shorter than a prefix is the end: some
 * encoders pad. */
static bool next_unit(struct slice *s, size_t prefix, struct slice *nal, bool *bad)
{
    *bad = false;
    if (s->n < prefix)
        return false;
    size_t n = be_n(s->p, prefix);
    if (n > s->n - prefix) {
        *bad = true;
        return false;
    }
    *nal = slice_of(s->p + prefix, n);
    *s = slice_of(s->p + prefix + n, s->n - prefix - n);
    return true;
}

bool h264_next_avc(struct slice *s, struct slice *nal, bool *bad)
{
    return next_unit(s, 4, nal, bad);
}

/* Start of the next 00 00 01 in p..end, or end. memchr runs over what cannot be its last byte. */
static const uint8_t *find_start_code(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 3)
        return end;
    for (const uint8_t *q = p + 2; (q = memchr(q, 1, (size_t)(end - q))) != NULL; q++) {
        if (!q[-1] && !q[-2])
            return q - 2;
        if (q + 1 == end)
            break;
    }
    return end;
}

bool h264_next_annexb(struct slice *s, struct slice *nal)
{
    while (s->n) {
        const uint8_t *end = s->p + s->n;
        const uint8_t *code = find_start_code(s->p, end);
        const uint8_t *from = code == end ? end : code + 3;
        const uint8_t *next = find_start_code(from, end);
        const uint8_t *to = next;

        while (to > from && !to[-1]) /* a longer start code, or trailing zeros */
            to--;
        *s = slice_of(next, (size_t)(end - next));
        if (to > from) {
            *nal = slice_of(from, (size_t)(to - from));
            return true;
        }
    }
    return false;
}

static bool is_kept(struct slice nal)
{
    return nal.n && (nal.p[0] & 0x1f) != H264_NAL_AUD;
}

static enum rc normalized_size(struct slice in, size_t prefix, size_t *bytes, struct err *err)
{
    struct slice nal;
    bool bad;

    *bytes = 0;
    while (next_unit(&in, prefix, &nal, &bad))
        *bytes += is_kept(nal) ? 4 + nal.n : 0;
    if (bad)
        return err_set(err, RC_BAD_INPUT, "NAL unit longer than the %zu bytes that are left",
                       in.n - prefix);
    if (*bytes > MAX_FRAME_BYTES)
        return err_set(err, RC_LIMIT, "frame of %zu bytes, at most %d", *bytes, MAX_FRAME_BYTES);
    return RC_OK;
}

enum rc h264_normalize_avc(struct slice in, int length_size, struct blob **out, bool *has_idr,
                           struct err *err)
{
    size_t prefix = (size_t)length_size, bytes;
    struct slice nal;
    enum rc rc;
    bool bad;

    *out = NULL;
    *has_idr = false;
    if (length_size != 1 && length_size != 2 && length_size != 4)
        return err_set(err, RC_BAD_INPUT, "NAL lengths of %d bytes", length_size);
    rc = normalized_size(in, prefix, &bytes, err);
    if (rc != RC_OK || !bytes)
        return rc;
    *out = blob_new(bytes);
    for (uint8_t *to = blob_bytes(*out); next_unit(&in, prefix, &nal, &bad);) {
        if (!is_kept(nal))
            continue;
        uint32_t length = __builtin_bswap32((uint32_t)nal.n);
        memcpy(to, &length, 4);
        memcpy(to + 4, nal.p, nal.n);
        to += 4 + nal.n;
        *has_idr = *has_idr || (nal.p[0] & 0x1f) == H264_NAL_IDR;
    }
    return RC_OK;
}
