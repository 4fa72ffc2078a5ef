/* base/arena.h: memory that lives exactly as long as one request.
 *
 * Everything made for a request comes from its arena and dies with it; nothing
 * that outlives the request may point inside.
 */
#ifndef LEAT_BASE_ARENA_H
#define LEAT_BASE_ARENA_H

#include "base/slice.h"

struct arena;

struct arena *arena_new(size_t max_bytes);
void arena_free(struct arena *a); /* NULL is fine */

/* Zeroed, aligned for anything. arena_alloc and those below it assert that it fits: sizes that
 * a peer chose go through arena_try_alloc. */
void *arena_alloc(struct arena *a, size_t n);
MUST_CHECK void *arena_try_alloc(struct arena *a, size_t n); /* NULL above the ceiling */
char *arena_strdup(struct arena *a, const char *s);
char *arena_text(struct arena *a, struct slice s); /* NUL-terminated copy */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
