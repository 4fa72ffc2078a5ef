/* NAL units in both framings. Annex B units, written with lengths of 1, 2 or 4 bytes, come out of
 * h264_normalize_avc as they were; the same bytes taken for lengths break nothing. */
#include <assert.h>

#include "media/h264.h"

static bool next_kept(struct slice *s, struct slice *nal)
{
    while (h264_next_annexb(s, nal))
        if ((nal->p[0] & 0x1f) != H264_NAL_AUD)
            return true;
    return false;
}

static void check_units(struct slice annexb, const struct blob *avc)
{
    struct slice rest = blob_slice(avc), want, got;
    bool bad;

    while (next_kept(&annexb, &want)) {
        assert(h264_next_avc(&rest, &got, &bad) && slice_eq(want, got));
        assert(!memmem(got.p, got.n, "\0\0\1", 3) && got.p[got.n - 1]);
    }
    assert(!h264_next_avc(&rest, &got, &bad) && !bad && !rest.n);
}

static void round_trip(struct slice annexb, int length_size)
{
    size_t most = length_size == 4 ? UINT32_MAX : (1u << 8 * length_size) - 1;
    struct slice rest = annexb, nal;
    struct blob *out;
    struct buf b;
    bool idr;

    buf_init(&b, 64 * 1024 * 1024);
    while (h264_next_annexb(&rest, &nal)) {
        uint8_t length[4] = {(uint8_t)(nal.n >> 24), (uint8_t)(nal.n >> 16), (uint8_t)(nal.n >> 8),
                             (uint8_t)nal.n};

        if (nal.n > most)
            goto out;
        buf_add(&b, length + 4 - length_size, (size_t)length_size);
        buf_add_slice(&b, nal);
    }
    assert(h264_normalize_avc(buf_slice(&b), length_size, &out, &idr, NULL) == RC_OK);
    check_units(annexb, out);
    blob_unref(&out);
out:
    buf_cleanup(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const int sizes[] = {1, 2, 4, 3};
    struct blob *out;
    bool idr;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        if (sizes[i] != 3)
            round_trip(slice_of(p, n), sizes[i]);
        enum rc rc = h264_normalize_avc(slice_of(p, n), sizes[i], &out, &idr, NULL);
        assert(rc == RC_OK || !out);
        blob_unref(&out);
    }
    return 0;
}
