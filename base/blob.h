/* base/blob.h: immutable, counted bytes that many may hold.
 *
 * A segment that goes to an orchestrator, a playlist and a recording is one blob
 * with three references. Fill it right after blob_new, before anybody else sees
 * it; from the first blob_ref on its bytes never change.
 *
 * Ownership: each holder owns one reference.   Threads: counts are atomic, bytes
 * are read-only, so blobs may cross threads.
 */
#ifndef LEAT_BASE_BLOB_H
#define LEAT_BASE_BLOB_H

#include "base/buf.h"
#include "base/slice.h"

struct blob {
    const uint8_t *p;
    size_t n;
};

/* n bytes to fill through blob_bytes(); ends the process without memory, so the
 * size must have met a limit before. */
struct blob *blob_new(size_t n);
uint8_t *blob_bytes(struct blob *b); /* asserts a single reference */
struct blob *blob_copy(struct slice bytes);
/* No copy; *b is empty afterwards. A failed buf gives its prefix: ask buf_ok first. */
struct blob *blob_of_buf(struct buf *TAKES b);

/* A view of n bytes at `from` that keeps the parent alive. Clamped to the parent. */
struct blob *blob_sub(struct blob *parent, size_t from, size_t n);

struct blob *blob_ref(struct blob *b); /* NULL gives NULL */
void blob_unref(struct blob **b);      /* sets *b to NULL */
static inline struct slice blob_slice(const struct blob *b)
{
    return b ? slice_of(b->p, b->n) : slice_of(NULL, 0);
}

/* Bytes held by all living blobs of the process, views not counted; for metrics and tests. */
size_t blob_total_bytes(void);

#endif
