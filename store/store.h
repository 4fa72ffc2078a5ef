/* store/store.h: what must survive a restart, asynchronous from the first day.
 *
 * One SQLite database in the data directory, used by one thread of its own (WAL). Calls
 * queue there and answer on the loop; order is kept. A second backend (PostgreSQL) joins
 * behind the same calls. Today: a table of named values, each in a space, e.g. the last
 * segment number of each stream ("stream.seq", "demo").
 * The reference's file name lpdb.sqlite3 is left to it; ours is leat.sqlite3.
 */
#ifndef LEAT_STORE_STORE_H
#define LEAT_STORE_STORE_H

#include "base/blob.h"
#include "base/err.h"
#include "net/loop.h"

struct store;

/* Opens or makes dir/leat.sqlite3 and migrates it. on_open on the loop, once. A full or broken
 * disk never stops the node: the call that meets it fails with RC_IO and a sentence, values stay
 * in memory, are read from there, and are tried again every second. A damaged file is renamed and
 * a new one begun. */
struct store *store_open(struct loop *l, const char *dir,
                         void (*on_open)(const struct err *err, void *arg), void *arg);

/* Saves what is queued (for at most 2 s), answers everything that is open from within, closes.
 * NULL is fine. */
void store_close(struct store *s);

enum durability {
    STORE_SOON, /* within a second, may be lost in a crash */
    STORE_NOW   /* on disk before on_done */
};

/* on_done may be NULL. Several puts to the same key that wait are merged into the last. space is
 * at most 63 bytes. RC_IO with STORE_NOW: not on disk yet, and tried again. RC_BUSY: the disk
 * hangs and too much waits for it. */
void store_put(struct store *s, const char *space, struct slice key, struct slice value,
               enum durability d, void (*on_done)(const struct err *err, void *arg), void *arg);
void store_delete(struct store *s, const char *space, struct slice key);

/* value NULL: absent (err NULL) or failed (err set). */
void store_get(struct store *s, const char *space, struct slice key,
               void (*on_value)(struct blob *value, const struct err *err, void *arg), void *arg);

/* Every entry of a space whose key begins with prefix, at most max; on_end once. */
struct store_row {
    struct slice key;
    struct slice value;
};
void store_list(struct store *s, const char *space, struct slice prefix, size_t max,
                void (*on_rows)(const struct store_row *rows, size_t n, const struct err *err,
                                void *arg),
                void *arg);

/* Removes entries of a space not written for `days`. */
void store_expire(struct store *s, const char *space, int days);

struct store_health {
    bool ok; /* false: what was put last is not on disk */
    char last_error[200];
    int64_t queued; /* requests and values that wait */
};
void store_health_get(struct store *s, struct store_health *out);

#endif
