/* base/slice.h: a borrowed run of bytes.
 *
 * Owns nothing; valid as long as what it points into. Text in a slice is not
 * NUL-terminated.   Threads: pure.
 */
#ifndef LEAT_BASE_SLICE_H
#define LEAT_BASE_SLICE_H

#include <string.h>

#include "base/base.h"

struct slice {
    const uint8_t *p;
    size_t n;
};

#define SLICE_LIT(s) ((struct slice){(const uint8_t *)(s), sizeof(s) - 1})
#define SLICE_FMT "%.*s"
#define SLICE_ARG(s) (int)MIN((s).n, (size_t)4096), (const char *)(s).p

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){(const uint8_t *)p, n};
}

static inline struct slice slice_str(const char *s)
{
    return slice_of(s, s ? strlen(s) : 0);
}

bool slice_eq(struct slice a, struct slice b);
bool slice_eq_str(struct slice a, const char *b);
bool slice_eq_nocase(struct slice a, const char *b); /* ASCII */
bool slice_has_prefix(struct slice s, const char *prefix);
bool slice_has_suffix(struct slice s, const char *suffix);
struct slice slice_sub(struct slice s, size_t from, size_t n); /* clamped to s */
struct slice slice_skip(struct slice s, size_t n);             /* clamped to s */
struct slice slice_trim(struct slice s);                       /* ASCII white space, both ends */

/* Splits at the first `sep`: *head is what is before it, *s what follows it.
 * False when *s is used up, which is when it points nowhere. An input without `sep` gives
 * one head, "a," gives "a" and an empty one, and an empty text one empty head. */
bool slice_split(struct slice *s, char sep, struct slice *head);

/* Index of byte c, or s.n. */
size_t slice_find(struct slice s, uint8_t c);

/* Whole slice as a decimal number; false on anything else, on overflow, or above max. */
MUST_CHECK bool slice_u64(struct slice s, uint64_t max, uint64_t *out);

/* True when every byte sequence is well-formed UTF-8 without NUL. */
bool slice_is_utf8(struct slice s);

/* Equal without telling by its time how much matched: for secrets. */
bool slice_eq_secret(struct slice a, struct slice b);

/* Copy as NUL-terminated heap text; the caller frees it. */
char *slice_dup(struct slice s);

#endif
