/* How often a publisher is read. Each look at a socket costs a wake-up, and between two key
 * frames nothing that comes is urgent: a segment is closed by the key frame after it. So a
 * publisher whose key frames keep time is read rarely, and at once when one is due. */
#include <stdlib.h>

#include "media/rtmp/rtmp_int.h"

enum {
    RARELY_MS = 80, /* adds to the delay of RTMP viewers; 64 KiB, what is read at once, at 6 Mb/s */
    OFTEN_MS = 20,
    UNSURE_MS = 10,        /* nobody knows when the next key frame comes */
    EARLY_MS = 40,         /* so much earlier than expected it may come */
    LATE_MS = 200,         /* ... and later */
    BUSY_BYTES = 48 * 1024 /* a look found so much: the next had better come sooner */
};

void rtmp_rhythm_key(struct rtmp_rhythm *r, int64_t now_ms)
{
    int64_t interval_ms = now_ms - r->key_ms;

    r->is_steady = llabs(interval_ms - r->interval_ms) < EARLY_MS;
    r->interval_ms = interval_ms;
    r->key_ms = now_ms;
}

int rtmp_rhythm_read_every(struct rtmp_rhythm *r, int64_t now_ms, size_t found)
{
    int64_t left_ms = r->key_ms + r->interval_ms - EARLY_MS - now_ms;

    r->found = now_ms == r->look_ms ? r->found + found : found;
    r->look_ms = now_ms;
    if (!r->is_steady || left_ms < -EARLY_MS - LATE_MS)
        return UNSURE_MS;
    if (left_ms >= RARELY_MS && r->found < BUSY_BYTES)
        return RARELY_MS;
    return left_ms >= OFTEN_MS ? OFTEN_MS : 0;
}
