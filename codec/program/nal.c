#include "codec/program/nal.h"

#include <string.h>

enum { NAL_SLICE = 1, NAL_IDR = 5, NAL_SEI = 6 };
enum { SEI_RECOVERY_POINT = 6 };

/* Index of the byte after the next start code, or s.n. */
static size_t after_start_code(struct slice s, size_t from)
{
    while (from + 3 < s.n) {
        const uint8_t *one = memchr(s.p + from + 2, 1, s.n - from - 3);

        if (!one)
            return s.n;
        size_t at = (size_t)(one - s.p);
        if (s.p[at - 1] == 0 && s.p[at - 2] == 0)
            return at + 1;
        from = at - 1;
    }
    return s.n;
}

static void look_at(struct slice nal, struct nal_summary *sum)
{
    unsigned type = nal.p[0] & 31;

    if (nal.n < 2)
        return;
    if (type == NAL_SLICE || type == NAL_IDR)
        sum->pictures += nal.p[1] >> 7; /* first_mb_in_slice is 0: one bit, set */
    if (type == NAL_IDR || (type == NAL_SEI && nal.p[1] == SEI_RECOVERY_POINT))
        sum->key = true;
}

struct nal_summary nal_summarize(struct slice packet)
{
    struct nal_summary sum = {0};
    size_t at = after_start_code(packet, 0);

    sum.annex_b = at < packet.n && (at == 3 || (at == 4 && packet.p[0] == 0));
    while (at < packet.n) {
        look_at(slice_skip(packet, at), &sum);
        at = after_start_code(packet, at);
    }
    return sum;
}
