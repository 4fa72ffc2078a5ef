/* tests/unit/media_test.h: bytes from hex, and parameter sets that x264 wrote. */
#ifndef LEAT_TESTS_MEDIA_TEST_H
#define LEAT_TESTS_MEDIA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/blob.h"
#include "base/text.h"
#include "media/h264.h"

/* 320x240, 29.97 Hz, High with B-frames; 30 Hz, 640x360; 320x240, 25 Hz, Baseline. */
#define AVCC_NTSC                                                                                  \
    "0164000dffe100176764000dacd94141fb011000003e90000ea600f142996001000668ebe3cb22c0fdf8f800"
#define AVCC_HD "014d402affe10018674d402aeca03c0113f2e022000007d20003a9801e30632c01000468ce0fc8"
#define AVCC_25 "0142c00dffe100186742c00dd90141fb011000000300100000030320f142a48001000568cb83cb20"

static inline struct blob *from_hex(const char *hex)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(hex_decode(&b, slice_str(hex), NULL), RC_OK);
    return blob_of_buf(&b);
}

static inline struct track track_of(const char *avcc_hex)
{
    struct blob *avcc = from_hex(avcc_hex);
    struct track t;

    assert_int_equal(h264_track_from_avcc(blob_slice(avcc), &t, NULL), RC_OK);
    blob_unref(&avcc);
    return t;
}

static inline void assert_bytes(struct slice got, const char *hex)
{
    struct blob *want = from_hex(hex);
    struct buf text;

    buf_init(&text, 1 << 20);
    buf_hex(&text, got);
    assert_string_equal(buf_cstr(&text), hex);
    assert_true(slice_eq(got, blob_slice(want)));
    buf_cleanup(&text);
    blob_unref(&want);
}

/* The same numbers on each run: xorshift. */
struct dice {
    uint64_t state;
};
static inline uint64_t roll(struct dice *d, uint64_t sides)
{
    d->state ^= d->state << 13;
    d->state ^= d->state >> 7;
    d->state ^= d->state << 17;
    return (d->state >> 11) % sides;
}

#endif
