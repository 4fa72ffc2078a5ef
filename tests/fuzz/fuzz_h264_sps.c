/* A sequence parameter set of a stranger: what is accepted has sane numbers. */
#include <assert.h>

#include "media/h264.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct h264_sps s;

    if (h264_sps_parse(slice_of(p, n), &s, NULL) != RC_OK)
        return 0;
    assert(s.width > 0 && s.width <= 16384 && s.height > 0 && s.height <= 32768);
    assert(s.fps >= 0 && s.chroma_format_idc >= 0 && s.chroma_format_idc <= 3);
    assert(s.bit_depth >= 8 && s.bit_depth <= 14 && s.max_reorder_frames >= -1);
    return 0;
}
