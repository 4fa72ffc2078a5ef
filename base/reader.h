/* base/reader.h: reads binary formats and remembers the first failure.
 *
 * A failed reader hands out zeros and empty slices and has nothing left, so no half-read
 * value can index memory and no loop over what is left goes on: parse to the end, then
 * check r.failed once.
 *
 * Ownership: borrows its input.   Threads: pure.
 */
#ifndef LEAT_BASE_READER_H
#define LEAT_BASE_READER_H

#include "base/slice.h"

struct reader {
    const uint8_t *p;
    size_t left;
    bool failed;
};

struct reader reader_of(struct slice s);
uint8_t rd_u8(struct reader *r);
uint16_t rd_be16(struct reader *r);
uint32_t rd_be24(struct reader *r);
uint32_t rd_be32(struct reader *r);
uint64_t rd_be64(struct reader *r);
uint32_t rd_le32(struct reader *r);
uint8_t rd_peek_u8(struct reader *r); /* does not advance */
void rd_skip(struct reader *r, size_t n);
struct slice rd_bytes(struct reader *r, size_t n); /* empty when cut short */
struct slice rd_rest(struct reader *r);

/* Bits, most significant first, for codec headers. Starts at a byte boundary of s. */
struct bitreader {
    const uint8_t *p;
    size_t bits; /* in all */
    size_t at;
    bool failed;
};

struct bitreader bitreader_of(struct slice s);
uint32_t rb_bits(struct bitreader *r, unsigned n); /* n <= 32 */
void rb_skip(struct bitreader *r, size_t n);
uint32_t rb_ue(struct bitreader *r); /* Exp-Golomb, H.264 9.1, to 2^32 - 2 */
int32_t rb_se(struct bitreader *r);

#endif
