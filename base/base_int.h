/* base/base_int.h: what the sources of base/ share with each other only. */
#ifndef LEAT_BASE_BASE_INT_H
#define LEAT_BASE_BASE_INT_H

#include "base/slice.h"

/* Length of the well-formed UTF-8 sequence at s.p (1 to 4), 0 when there is none.
 * Source: Unicode, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t utf8_sequence(struct slice s);

/* The longest part of s that is at most `max` bytes and ends between two characters. */
size_t utf8_cut(struct slice s, size_t max);

/* ASCII only, whatever the locale says. */
static inline uint8_t ascii_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

static inline bool ascii_is_alnum(uint8_t c)
{
    uint8_t low = ascii_lower(c);

    return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9');
}

static inline bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

#endif
