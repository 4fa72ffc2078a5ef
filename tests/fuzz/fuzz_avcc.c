/* An AVCDecoderConfigurationRecord: what is accepted can be taken apart, and put together from its
 * parameter sets into one that says the same. */
#include <assert.h>

#include "media/h264.h"

enum { MAX_SETS = 255 };

struct sets {
    struct slice sps[MAX_SETS], pps[MAX_SETS];
    size_t n_sps, n_pps, n;
};

static void keep(struct slice nal, void *arg)
{
    struct sets *s = arg;

    s->n++;
    if ((nal.p[0] & 0x1f) == H264_NAL_SPS)
        s->sps[s->n_sps++] = nal;
    else if (s->n_pps < MAX_SETS)
        s->pps[s->n_pps++] = nal;
}

static void check_again(const struct track *t)
{
    struct sets s = {.n = 0}, again = {.n = 0};

    assert(h264_avcc_sets(blob_slice(t->config), keep, &s, NULL) == RC_OK);
    struct blob *b = h264_avcc_from_sets(s.sps, s.n_sps, s.pps, s.n_pps);
    if (!b)
        return; /* more SPS than avcC counts: some stood among the PPS */
    assert(h264_avcc_sets(blob_slice(b), keep, &again, NULL) == RC_OK);
    assert(again.n_sps == s.n_sps && again.n_pps == s.n_pps);
    for (size_t i = 0; i < s.n_sps; i++)
        assert(slice_eq(s.sps[i], again.sps[i]));
    for (size_t i = 0; i < s.n_pps; i++)
        assert(slice_eq(s.pps[i], again.pps[i]));
    blob_unref(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    char codec[CODEC_STRING_MAX];
    struct track t;

    if (h264_track_from_avcc(slice_of(p, n), &t, NULL) == RC_OK) {
        track_codec_string(&t, codec);
        assert(strlen(codec) == strlen("avc1.000000"));
        check_again(&t);
    }
    track_cleanup(&t);
    return 0;
}
