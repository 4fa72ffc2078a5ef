/* H.264 packets of strangers, looked at before any codec sees them. */
#include <assert.h>

#include "codec/program/nal.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct nal_summary sum = nal_summarize(slice_of(p, n));

    assert(sum.pictures >= 0 && (size_t)sum.pictures <= n / 5 + 1); /* each takes five bytes */
    return 0;
}
