/* store/database.h: the SQLite file, as the database thread sees it. Every call blocks.
 *
 * One table of named values, migrated from whatever version the file has. A file that is damaged
 * is set aside (renamed to NAME.corrupt-TIME, its log beside it) and a new one is begun; nothing
 * is ever deleted.
 *
 * Ownership: database_new/_free.   Threads: one, any.
 */
#ifndef LEAT_STORE_DATABASE_H
#define LEAT_STORE_DATABASE_H

#include "base/blob.h"
#include "base/err.h"
#include "store/store.h"

struct database;

struct database *database_new(const char *path); /* touches no disk yet */
void database_free(struct database *d);

/* Opens when it is not open; the others call it themselves. After an error that may mend itself
 * (disk full, file moved) the next call opens anew. */
MUST_CHECK enum rc database_open(struct database *d, struct err *err);

/* Writes go between begin and commit. commit is on disk when it returns RC_OK; rollback, or a
 * failed call of these, forgets all since begin. */
MUST_CHECK enum rc database_begin(struct database *d, struct err *err);
MUST_CHECK enum rc database_commit(struct database *d, struct err *err);
void database_rollback(struct database *d);

MUST_CHECK enum rc database_put(struct database *d, const char *space, struct slice key,
                                struct slice value, int64_t written_ms, struct err *err);
MUST_CHECK enum rc database_delete(struct database *d, const char *space, struct slice key,
                                   struct err *err);
MUST_CHECK enum rc database_expire(struct database *d, const char *space, int64_t before_ms,
                                   struct err *err);

/* *value is a new reference, or NULL when absent. */
MUST_CHECK enum rc database_get(struct database *d, const char *space, struct slice key,
                                struct blob **value, struct err *err);

/* At most max rows in order of their keys. kept holds what rows borrow from, two a row. */
struct database_rows {
    struct store_row *rows;
    struct blob **kept;
    size_t n;
};
MUST_CHECK enum rc database_list(struct database *d, const char *space, struct slice prefix,
                                 size_t max, struct database_rows *out, struct err *err);
void database_rows_cleanup(struct database_rows *r);

#endif
