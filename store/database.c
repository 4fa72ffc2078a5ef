#include "store/database.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

struct database {
    char *path;
    sqlite3 *db;     /* NULL: not open */
    bool is_damaged; /* seen by a statement; the next open sets the file aside */
};

static const char *const migrations[] = {
    "CREATE TABLE value(space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
    " written INTEGER NOT NULL, PRIMARY KEY(space, key)) WITHOUT ROWID",
};

struct database *database_new(const char *path)
{
    struct database *d = xcalloc(1, sizeof(*d));

    d->path = xstrdup(path);
    return d;
}

static void close_file(struct database *d)
{
    sqlite3_close(d->db);
    d->db = NULL;
}

void database_free(struct database *d)
{
    if (!d)
        return;
    close_file(d);
    free(d->path);
    free(d);
}

/* Whatever failed, the file is closed: a later call that opens it anew finds a disk with room
 * again, a file that was moved back, or a damaged one to set aside. */
static enum rc fail(struct database *d, struct err *err, const char *what)
{
    int code = d->db ? sqlite3_errcode(d->db) : SQLITE_CANTOPEN;
    enum rc rc = err_set(err, RC_IO, "%s: %s: %s", d->path, what,
                         d->db ? sqlite3_errmsg(d->db) : "no memory");

    d->is_damaged |= code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    close_file(d);
    return rc;
}

static enum rc run(struct database *d, const char *sql, const char *what, struct err *err)
{
    if (sqlite3_exec(d->db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return RC_OK;
    return fail(d, err, what);
}

/* The first column of the first row of a pragma, as text; "" without one. */
static enum rc ask(struct database *d, const char *sql, char answer[64], struct err *err)
{
    sqlite3_stmt *q = NULL;
    int code = sqlite3_prepare_v2(d->db, sql, -1, &q, NULL);

    answer[0] = 0;
    if (code == SQLITE_OK && (code = sqlite3_step(q)) == SQLITE_ROW)
        snprintf(answer, 64, "%s", (const char *)sqlite3_column_text(q, 0));
    sqlite3_finalize(q);
    return code == SQLITE_ROW || code == SQLITE_DONE ? RC_OK : fail(d, err, "check");
}

static enum rc check(struct database *d, struct err *err)
{
    char answer[64];
    enum rc rc = ask(d, "PRAGMA quick_check(1)", answer, err);

    if (rc != RC_OK || strcmp(answer, "ok") == 0)
        return rc;
    d->is_damaged = true;
    close_file(d);
    return err_set(err, RC_IO, "%s: damaged: %s", d->path, answer);
}

static enum rc migrate(struct database *d, struct err *err)
{
    char answer[64], sql[1024];
    enum rc rc = ask(d, "PRAGMA user_version", answer, err);
    size_t version = strtoul(answer, NULL, 10);

    if (rc == RC_OK && version > ARRAY_LEN(migrations)) {
        close_file(d);
        return err_set(err, RC_UNSUPPORTED,
                       "%s: made by a newer leat (version %zu, this one knows %zu): run that one, "
                       "or move the file away",
                       d->path, version, ARRAY_LEN(migrations));
    }
    for (; rc == RC_OK && version < ARRAY_LEN(migrations); version++) {
        snprintf(sql, sizeof(sql), "BEGIN IMMEDIATE; %s; PRAGMA user_version = %zu; COMMIT",
                 migrations[version], version + 1);
        rc = run(d, sql, "migration", err);
    }
    return rc;
}

static enum rc try_open(struct database *d, struct err *err)
{
    enum rc rc;

    if (sqlite3_open(d->path, &d->db) != SQLITE_OK)
        return fail(d, err, "cannot be opened");
    rc = run(d, "PRAGMA busy_timeout = 1000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
             "cannot be used", err);
    if (rc == RC_OK)
        rc = check(d, err);
    return rc == RC_OK ? migrate(d, err) : rc;
}

/* The log goes along: a new database must not meet the old one's. */
static bool set_aside(struct database *d)
{
    char *aside = xasprintf("%s.corrupt-%lld", d->path, (long long)clock_wall_ms() / 1000);
    char *wal = xasprintf("%s-wal", d->path), *wal_aside = xasprintf("%s-wal", aside);
    bool moved = rename(d->path, aside) == 0;

    if (moved) {
        (void)rename(wal, wal_aside); /* there may be none, and SQLite drops one without a file */
        log_peer(NULL, "%s is damaged; it was renamed to %s and a new one is begun", d->path,
                 aside);
    }
    free(aside);
    free(wal);
    free(wal_aside);
    return moved;
}

enum rc database_open(struct database *d, struct err *err)
{
    enum rc rc = RC_OK;

    if (d->db)
        return RC_OK;
    if (!d->is_damaged)
        rc = try_open(d, err);
    if (d->is_damaged && set_aside(d)) {
        d->is_damaged = false;
        rc = try_open(d, err);
    } else if (d->is_damaged) {
        d->is_damaged = false; /* somebody else moved it, perhaps */
        return err_set(err, RC_IO, "%s is damaged and cannot be renamed", d->path);
    }
    return rc;
}

/* --- writing --- */

enum rc database_begin(struct database *d, struct err *err)
{
    enum rc rc = database_open(d, err);

    return rc == RC_OK ? run(d, "BEGIN IMMEDIATE", "write", err) : rc;
}

enum rc database_commit(struct database *d, struct err *err)
{
    return run(d, "COMMIT", "write", err);
}

void database_rollback(struct database *d)
{
    if (d->db && !sqlite3_get_autocommit(d->db))
        sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
}

static void bind_bytes(sqlite3_stmt *q, int i, struct slice s)
{
    sqlite3_bind_blob64(q, i, s.n ? (const void *)s.p : "", s.n, SQLITE_STATIC);
}

/* ?1 is the space in every statement. NULL: not open, or a defect of the SQL. */
static sqlite3_stmt *prepare(struct database *d, const char *sql, const char *space)
{
    sqlite3_stmt *q = NULL;

    if (d->db && sqlite3_prepare_v2(d->db, sql, -1, &q, NULL) == SQLITE_OK)
        sqlite3_bind_text(q, 1, space, -1, SQLITE_STATIC);
    return q;
}

static enum rc finish(struct database *d, sqlite3_stmt *q, struct err *err)
{
    bool done = q && sqlite3_step(q) == SQLITE_DONE;

    sqlite3_finalize(q);
    return done ? RC_OK : fail(d, err, "write");
}

enum rc database_put(struct database *d, const char *space, struct slice key, struct slice value,
                     int64_t written_ms, struct err *err)
{
    sqlite3_stmt *q = prepare(d,
                              "INSERT INTO value VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET "
                              "value = ?3, written = ?4",
                              space);

    if (q) {
        bind_bytes(q, 2, key);
        bind_bytes(q, 3, value);
        sqlite3_bind_int64(q, 4, written_ms);
    }
    return finish(d, q, err);
}

enum rc database_delete(struct database *d, const char *space, struct slice key, struct err *err)
{
    sqlite3_stmt *q = prepare(d, "DELETE FROM value WHERE space = ?1 AND key = ?2", space);

    if (q)
        bind_bytes(q, 2, key);
    return finish(d, q, err);
}

enum rc database_expire(struct database *d, const char *space, int64_t before_ms, struct err *err)
{
    sqlite3_stmt *q = prepare(d, "DELETE FROM value WHERE space = ?1 AND written < ?2", space);

    if (q)
        sqlite3_bind_int64(q, 2, before_ms);
    return finish(d, q, err);
}

/* --- reading --- */

static struct blob *column(sqlite3_stmt *q, int i)
{
    return blob_copy(slice_of(sqlite3_column_blob(q, i), (size_t)sqlite3_column_bytes(q, i)));
}

enum rc database_get(struct database *d, const char *space, struct slice key, struct blob **value,
                     struct err *err)
{
    enum rc rc = database_open(d, err);
    sqlite3_stmt *q;
    int code = SQLITE_ERROR;

    *value = NULL;
    if (rc != RC_OK)
        return rc;
    q = prepare(d, "SELECT value FROM value WHERE space = ?1 AND key = ?2", space);
    if (q) {
        bind_bytes(q, 2, key);
        code = sqlite3_step(q);
    }
    if (code == SQLITE_ROW)
        *value = column(q, 0);
    sqlite3_finalize(q);
    return code == SQLITE_ROW || code == SQLITE_DONE ? RC_OK : fail(d, err, "read");
}

enum rc database_list(struct database *d, const char *space, struct slice prefix, size_t max,
                      struct database_rows *out, struct err *err)
{
    enum rc rc = database_open(d, err);
    sqlite3_stmt *q;
    int code = SQLITE_DONE;

    *out = (struct database_rows){xcalloc(max + 1, sizeof(*out->rows)),
                                  xcalloc(max + 1, 2 * sizeof(*out->kept)), 0};
    if (rc != RC_OK)
        return rc;
    q = prepare(d,
                "SELECT key, value FROM value WHERE space = ?1 AND "
                "substr(key, 1, length(?2)) = ?2 ORDER BY key",
                space);
    if (!q)
        return fail(d, err, "read");
    bind_bytes(q, 2, prefix);
    while (out->n < max && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct blob **kept = &out->kept[2 * out->n];

        kept[0] = column(q, 0);
        kept[1] = column(q, 1);
        out->rows[out->n++] = (struct store_row){blob_slice(kept[0]), blob_slice(kept[1])};
    }
    sqlite3_finalize(q);
    return code == SQLITE_ROW || code == SQLITE_DONE ? RC_OK : fail(d, err, "read");
}

void database_rows_cleanup(struct database_rows *r)
{
    for (size_t i = 0; i < 2 * r->n; i++)
        blob_unref(&r->kept[i]);
    free(r->kept);
    free(r->rows);
    *r = (struct database_rows){NULL, NULL, 0};
}
