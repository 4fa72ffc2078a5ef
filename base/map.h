/* base/map.h: text (or bytes) to pointer. Keys are copied, values are the caller's.
 *
 * Hashing is keyed with a random seed, so a stranger cannot choose colliding keys.
 */
#ifndef LEAT_BASE_MAP_H
#define LEAT_BASE_MAP_H

#include "base/slice.h"

struct map;

struct map *map_new(void);
void map_free(struct map *m);                         /* values stay; NULL is fine */
void *map_get(const struct map *m, struct slice key); /* NULL when absent */
/* Returns the value it replaced. A value of NULL cannot be told from an absent one. */
void *map_put(struct map *m, struct slice key, void *value);
void *map_remove(struct map *m, struct slice key); /* returns what was there */
size_t map_count(const struct map *m);

/* In insertion order. Start with *at = 0; false at the end. The entry just handed out may be
 * removed (its key is gone then); none may be added meanwhile. key and value may be NULL. */
bool map_next(const struct map *m, size_t *at, struct slice *key, void **value);

#endif
