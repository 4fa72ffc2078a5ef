#include "codec/program/size.h"

/* H.264 as the network's encoders take it (video.md 12.2). */
enum { MIN_WIDTH = 146, MIN_HEIGHT = 50, MAX_SIDE = 4096 };
enum { MAX_RESULT_SIDE = 8192 }; /* of the side that follows, for very long or tall sources */

static int clamp(int v, int low, int high)
{
    return MIN(MAX(v, low), high);
}

/* `side` scaled by num / den to the nearest even number, as FFmpeg's scale filter does
 * for -2. */
static int64_t follow(int side, int num, int den)
{
    int64_t twice = 2 * (int64_t)den;

    return ((int64_t)side * num + twice / 2) / twice * 2;
}

/* The longer side becomes d, unless the shorter one would fall below its minimum. */
static void fit(int d, int longer, int shorter, int min_shorter, int64_t *out_longer,
                int64_t *out_shorter)
{
    if ((int64_t)d * shorter >= (int64_t)min_shorter * longer) {
        *out_longer = d & ~1;
        *out_shorter = follow(d & ~1, shorter, longer);
    } else {
        *out_shorter = min_shorter & ~1;
        *out_longer = follow(min_shorter & ~1, longer, shorter);
    }
}

enum rc size_fit(struct size source, struct size asked, struct size *out, struct err *err)
{
    int64_t w, h;

    if (source.width <= 0 || source.height <= 0)
        return err_set(err, RC_BAD_INPUT, "TranscoderInvalidVideo: picture of %dx%d", source.width,
                       source.height);
    int d = MAX(clamp(asked.width, MIN_WIDTH, MAX_SIDE), clamp(asked.height, MIN_HEIGHT, MAX_SIDE));
    if (source.width >= source.height)
        fit(d, source.width, source.height, MIN_HEIGHT, &w, &h);
    else
        fit(d, source.height, source.width, MIN_WIDTH, &h, &w);
    if (w > MAX_RESULT_SIDE || h > MAX_RESULT_SIDE)
        return err_set(err, RC_UNSUPPORTED,
                       "Error initializing filtergraph: %dx%d made of %dx%d is beyond %d pixels",
                       (int)MIN(w, INT32_MAX), (int)MIN(h, INT32_MAX), source.width, source.height,
                       (int)MAX_RESULT_SIDE);
    *out = (struct size){(int)w, (int)h};
    return RC_OK;
}
