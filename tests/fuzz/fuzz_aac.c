/* AudioSpecificConfig and ADTS. What one can say and the other too comes back the same. */
#include <assert.h>

#include "media/aac.h"

static void config(struct slice in)
{
    uint8_t frame[ADTS_HEADER_BYTES + 1] = {0};
    char codec[CODEC_STRING_MAX];
    struct adts_frame a;
    struct track t;

    if (aac_track_from_config(in, &t, NULL) == RC_OK) {
        assert(t.sample_rate > 0 && t.channels > 0 && t.channels <= 8);
        track_codec_string(&t, codec);
        assert(!strncmp(codec, "mp4a.40.", 8));
        if (aac_adts_header(&t, 1, frame)) {
            assert(aac_adts_parse(slice_of(frame, sizeof(frame)), &a, NULL) == RC_OK);
            assert(a.sample_rate == t.sample_rate && a.channels == t.channels && a.raw.n == 1);
        }
    }
    track_cleanup(&t);
}

static void adts(struct slice in)
{
    uint8_t header[ADTS_HEADER_BYTES];
    struct adts_frame a;
    struct track t;

    while (aac_adts_parse(in, &a, NULL) == RC_OK) {
        assert(a.length <= in.n && a.raw.n && a.raw.p + a.raw.n == in.p + a.length);
        assert(aac_track_from_config(slice_of(a.asc, 2), &t, NULL) == RC_OK);
        assert(t.sample_rate == a.sample_rate && t.channels == a.channels);
        assert(aac_adts_header(&t, a.raw.n, header));
        track_cleanup(&t);
        in = slice_skip(in, a.length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    config(slice_of(p, n));
    adts(slice_of(p, n));
    return 0;
}
