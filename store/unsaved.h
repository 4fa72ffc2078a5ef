/* store/unsaved.h: writes that are not on disk yet, the newest for each key.
 *
 * Full disks come and go; until then this is where the values are. Bounded: beyond MAX_UNSAVED
 * the oldest are dropped, and counted.
 * Ownership: init/cleanup; keeps references to keys and values.   Threads: one.
 */
#ifndef LEAT_STORE_UNSAVED_H
#define LEAT_STORE_UNSAVED_H

#include "base/blob.h"
#include "base/list.h"
#include "base/map.h"

enum { MAX_UNSAVED = 20000, SPACE_MAX = 63 };

enum write_kind { WRITE_PUT, WRITE_DELETE, WRITE_EXPIRE };

struct write {
    struct list_node node;
    enum write_kind kind;
    char space[SPACE_MAX + 1];
    struct blob *key, *value;
    int64_t time_ms; /* wall clock: PUT: written then; EXPIRE: all written before */
};

struct unsaved {
    struct list writes; /* struct write, in the order to apply */
    struct map *by_key;
    int64_t since_ms; /* monotonic: when the oldest of the batch came */
    int64_t dropped;
};

void unsaved_init(struct unsaved *u);
void unsaved_cleanup(struct unsaved *u);
void unsaved_clear(struct unsaved *u); /* all of them are on disk */

/* Takes references to key and value, replaces an older write of that key. */
void unsaved_add(struct unsaved *u, const struct write *w);

/* The write that decides this key's value, or NULL: the database knows. */
const struct write *unsaved_find(const struct unsaved *u, const char *space, struct slice key);

#endif
