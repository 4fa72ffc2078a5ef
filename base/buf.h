/* base/buf.h: bytes that grow, up to a ceiling told at birth.
 *
 * A write beyond the ceiling (or beyond the machine's memory) marks the buffer failed;
 * it and all later ones write nothing, so a writer reads like the format it writes and
 * checks buf_ok() once at the end.
 *
 * Ownership: init/cleanup on caller's memory.   Threads: one at a time.
 */
#ifndef LEAT_BASE_BUF_H
#define LEAT_BASE_BUF_H

#include <stdarg.h>

#include "base/slice.h"

struct buf {
    uint8_t *p;
    size_t n;    /* bytes in use */
    size_t cap;  /* private */
    size_t max;  /* never holds more than this */
    bool failed; /* a write did not fit; what is in it is a prefix */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_cleanup(struct buf *b); /* frees; b may be used again after buf_init */
static inline bool buf_ok(const struct buf *b)
{
    return !b->failed;
}
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->p, b->n);
}
void buf_clear(struct buf *b); /* n = 0, failed = false, keeps memory */

/* Room for n more bytes at the end, or NULL (failed is set). Add to b->n what you used. */
uint8_t *buf_reserve(struct buf *b, size_t n);

void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_slice(struct buf *b, struct slice s);
void buf_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void buf_u8(struct buf *b, uint8_t v);
void buf_be16(struct buf *b, uint16_t v);
void buf_be24(struct buf *b, uint32_t v);
void buf_be32(struct buf *b, uint32_t v);
void buf_be64(struct buf *b, uint64_t v);
void buf_le32(struct buf *b, uint32_t v);
void buf_hex(struct buf *b, struct slice bytes); /* lowercase */

/* Drops n bytes from the front (moves the rest), at most what is there. */
void buf_consume(struct buf *b, size_t n);

/* NUL-terminates without counting the NUL and returns the text; owned by b.
 * An empty string when b failed or is empty. */
const char *buf_cstr(struct buf *b);

/* Hands the memory over; b is empty afterwards. The caller frees it. */
uint8_t *buf_take(struct buf *b, size_t *n);

#endif
