#include "base/slice.h"

bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool slice_eq_str(struct slice a, const char *b)
{
    return slice_eq(a, slice_str(b));
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool slice_eq_nocase(struct slice a, const char *b)
{
    size_t n = strlen(b);

    if (a.n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (lower(a.p[i]) != lower((uint8_t)b[i]))
            return false;
    return true;
}

bool slice_has_prefix(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);

    return s.n >= n && (n == 0 || memcmp(s.p, prefix, n) == 0);
}

bool slice_has_suffix(struct slice s, const char *suffix)
{
    size_t n = strlen(suffix);

    return s.n >= n && (n == 0 || memcmp(s.p + s.n - n, suffix, n) == 0);
}

struct slice slice_sub(struct slice s, size_t from, size_t n)
{
    if (from >= s.n)
        return slice_of(NULL, 0);
    return slice_of(s.p + from, MIN(n, s.n - from));
}

struct slice slice_skip(struct slice s, size_t n)
{
    return slice_sub(s, n, s.n);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct slice slice_trim(struct slice s)
{
    while (s.n && is_space(s.p[0]))
        s = slice_skip(s, 1);
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

size_t slice_find(struct slice s, uint8_t c)
{
    const uint8_t *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

bool slice_split(struct slice *s, char sep, struct slice *head)
{
    size_t at = slice_find(*s, (uint8_t)sep);

    if (!s->p)
        return false;
    *head = slice_of(s->p, at);
    if (at < s->n)
        *s = slice_of(s->p + at + 1, s->n - at - 1); /* p stays set: "a," has an empty second */
    else
        *s = slice_of(NULL, 0);
    return true;
}

bool slice_u64(struct slice s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (!s.n)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    if (v > max)
        return false;
    *out = v;
    return true;
}

/* Length of the well-formed sequence at s, 0 when broken (RFC 3629 4). */
static size_t utf8_length(struct slice s)
{
    uint8_t c = s.p[0], low = 0x80, high = 0xbf;
    size_t n;

    if (c < 0x80)
        return c ? 1 : 0;
    if (c >= 0xc2 && c <= 0xdf)
        n = 2;
    else if (c >= 0xe0 && c <= 0xef)
        n = 3;
    else if (c >= 0xf0 && c <= 0xf4)
        n = 4;
    else
        return 0;
    if (c == 0xe0)
        low = 0xa0; /* no over-long forms */
    if (c == 0xed)
        high = 0x9f; /* no surrogates */
    if (c == 0xf0)
        low = 0x90;
    if (c == 0xf4)
        high = 0x8f; /* nothing above U+10FFFF */
    if (s.n < n || s.p[1] < low || s.p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s.p[i] < 0x80 || s.p[i] > 0xbf)
            return 0;
    return n;
}

bool slice_is_utf8(struct slice s)
{
    while (s.n) {
        size_t n = utf8_length(s);

        if (!n)
            return false;
        s = slice_skip(s, n);
    }
    return true;
}

bool slice_eq_secret(struct slice a, struct slice b)
{
    uint8_t differs = a.n != b.n;

    for (size_t i = 0; i < a.n; i++)
        differs |= (uint8_t)(a.p[i] ^ (b.n ? b.p[i % b.n] : 1));
    return !differs;
}

char *slice_dup(struct slice s)
{
    return xstrndup(s.n ? (const char *)s.p : "", s.n);
}
