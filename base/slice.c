#include "base/slice.h"

#include "base/base_int.h"

bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool slice_eq_str(struct slice a, const char *b)
{
    return slice_eq(a, slice_str(b));
}

bool slice_eq_nocase(struct slice a, const char *b)
{
    size_t n = strlen(b);

    if (a.n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (ascii_lower(a.p[i]) != ascii_lower((uint8_t)b[i]))
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

/* What the second byte may be, by the first; bytes after it are 80..BF. */
static bool second_fits(uint8_t first, uint8_t second)
{
    uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80; /* no overlong forms */
    uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;  /* surrogates, too high */

    return second >= least && second <= most;
}

size_t utf8_sequence(struct slice s)
{
    uint8_t first = s.n ? s.p[0] : 0xff;
    size_t n = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;

    if (first < 0x80)
        return 1;
    if (n == 0 || s.n < n || !second_fits(first, s.p[1]))
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s.p[i] < 0x80 || s.p[i] > 0xbf)
            return 0;
    return n;
}

size_t utf8_cut(struct slice s, size_t max)
{
    size_t n = max;

    if (s.n <= max)
        return s.n;
    while (n > 0 && max - n < 4 && (s.p[n] & 0xc0) == 0x80) /* byte n goes on with a character */
        n--;
    return max - n < 4 ? n : max; /* no character is that long: not UTF-8, any cut will do */
}

bool slice_is_utf8(struct slice s)
{
    while (s.n) {
        size_t n = s.p[0] ? utf8_sequence(s) : 0;

        if (!n)
            return false;
        s = slice_skip(s, n);
    }
    return true;
}

bool slice_eq_secret(struct slice a, struct slice b)
{
    volatile uint8_t differs = a.n != b.n; /* volatile: no early way out for the compiler */

    for (size_t i = 0; i < a.n; i++)
        differs |= (uint8_t)(a.p[i] ^ (b.n ? b.p[i % b.n] : (uint8_t)~a.p[i]));
    return !differs;
}

char *slice_dup(struct slice s)
{
    char *copy = xmalloc(s.n + 1);

    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}
