#include "store/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"

/* Work goes to the database thread as requests in a queue and comes back, done, in another. The
 * mutex guards both queues and nothing else. */
enum { BATCH_MS = 1000, RETRY_MS = 5000, MAX_QUEUED = 100000 };

enum kind { OPEN, PUT, DELETE, GET, LIST, EXPIRE };

struct request {
    struct list_node node;
    enum kind kind;
    char space[64];
    struct blob *key, *value;           /* LIST: key is the prefix; GET: value is the answer */
    enum durability durability;
    size_t max;
    struct err err;                     /* code RC_OK: it worked */
    struct store_row *rows;             /* LIST */
    size_t n_rows;
    struct blob **kept;                 /* what the rows borrow from */
    void (*on_done)(const struct err *err, void *arg);
    void (*on_value)(struct blob *value, const struct err *err, void *arg);
    void (*on_rows)(const struct store_row *rows, size_t n, const struct err *err, void *arg);
    void *arg;
};

struct store {
    struct loop *loop;
    char *path;
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t wake;
    struct list todo, done;             /* guarded by lock */
    bool closing;                       /* guarded by lock */
    uv_async_t answers;
    struct store_health health;         /* loop only */

    /* the database thread's own */
    sqlite3 *db;
    bool in_batch;
    int64_t batch_since_ms, next_open_ms;
};

static const char *const migrations[] = {
    "CREATE TABLE value(space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
    " written INTEGER NOT NULL, PRIMARY KEY(space, key)) WITHOUT ROWID",
};

/* --- the database thread --- */

static enum rc sql_error(struct store *s, struct err *err, const char *what)
{
    return err_set(err, RC_IO, "%s: %s: %s", s->path, what,
                   s->db ? sqlite3_errmsg(s->db) : "not open");
}

static enum rc run_sql(struct store *s, const char *sql, struct err *err)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return RC_OK;
    return sql_error(s, err, "database");
}

static int user_version(sqlite3 *db)
{
    sqlite3_stmt *q;
    int version = -1;

    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW)
        version = sqlite3_column_int(q, 0);
    sqlite3_finalize(q);
    return version;
}

static enum rc migrate(struct store *s, struct err *err)
{
    int version = user_version(s->db);
    enum rc rc = version < 0 ? sql_error(s, err, "no database") : RC_OK;
    char sql[64];

    for (size_t i = (size_t)MAX(version, 0); rc == RC_OK && i < ARRAY_LEN(migrations); i++) {
        rc = run_sql(s, "BEGIN IMMEDIATE", err);
        if (rc == RC_OK)
            rc = run_sql(s, migrations[i], err);
        snprintf(sql, sizeof(sql), "PRAGMA user_version = %zu", i + 1);
        if (rc == RC_OK)
            rc = run_sql(s, sql, err);
        if (rc == RC_OK)
            rc = run_sql(s, "COMMIT", err);
    }
    return rc;
}

static void close_db(struct store *s)
{
    sqlite3_close(s->db);
    s->db = NULL;
    s->in_batch = false;
}

static enum rc try_open(struct store *s, struct err *err)
{
    enum rc rc;

    if (sqlite3_open(s->path, &s->db) != SQLITE_OK)
        rc = sql_error(s, err, "cannot be opened");
    else if ((rc = run_sql(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                              " PRAGMA busy_timeout = 2000",
                           err)) == RC_OK)
        rc = migrate(s, err);
    if (rc != RC_OK)
        close_db(s);
    return rc;
}

static bool is_broken_file(struct store *s)
{
    sqlite3 *db = NULL;
    int code = sqlite3_open(s->path, &db);

    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "PRAGMA schema_version", NULL, NULL, NULL);
    sqlite3_close(db);
    return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

/* A file that is no database any more is set aside, never deleted. */
static bool set_aside(struct store *s)
{
    char *aside = xasprintf("%s.corrupt-%lld", s->path, (long long)clock_wall_ms() / 1000);
    bool moved = rename(s->path, aside) == 0;

    if (moved)
        log_peer(NULL, "%s is damaged; it was renamed to %s and a new one is begun", s->path, aside);
    free(aside);
    return moved;
}

static enum rc open_db(struct store *s, struct err *err)
{
    enum rc rc;

    if (s->db)
        return RC_OK;
    if (clock_mono_ms() < s->next_open_ms)
        return err_set(err, RC_IO, "%s cannot be used; it is tried again soon", s->path);
    rc = try_open(s, err);
    if (rc != RC_OK && is_broken_file(s) && set_aside(s))
        rc = try_open(s, err);
    s->next_open_ms = rc == RC_OK ? 0 : clock_mono_ms() + RETRY_MS;
    return rc;
}

static enum rc commit(struct store *s, struct err *err)
{
    if (!s->in_batch)
        return RC_OK;
    s->in_batch = false;
    return run_sql(s, "COMMIT", err);
}

static enum rc begin(struct store *s, struct err *err)
{
    if (s->in_batch)
        return RC_OK;
    s->in_batch = true;
    s->batch_since_ms = clock_mono_ms();
    return run_sql(s, "BEGIN IMMEDIATE", err);
}

static sqlite3_stmt *prepare(struct store *s, const char *sql, const struct request *r)
{
    struct slice key = blob_slice(r->key);
    sqlite3_stmt *q;

    if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
        return NULL;
    sqlite3_bind_text(q, 1, r->space, -1, SQLITE_STATIC);
    if (r->key)
        sqlite3_bind_blob(q, 2, key.n ? (const void *)key.p : "", (int)key.n, SQLITE_STATIC);
    return q;
}

static enum rc finish(struct store *s, sqlite3_stmt *q, struct err *err)
{
    int code = q ? sqlite3_step(q) : SQLITE_ERROR;
    enum rc rc = code == SQLITE_DONE || code == SQLITE_ROW ? RC_OK : sql_error(s, err, "write");

    sqlite3_finalize(q);
    return rc;
}

static enum rc do_write(struct store *s, struct request *r)
{
    enum rc rc = begin(s, &r->err);
    sqlite3_stmt *q;

    if (rc != RC_OK)
        return rc;
    if (r->kind == PUT) {
        q = prepare(s, "INSERT INTO value VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET "
                       "value = ?3, written = ?4",
                    r);
        if (q) {
            sqlite3_bind_blob(q, 3, r->value->n ? (const void *)r->value->p : "",
                              (int)r->value->n, SQLITE_STATIC);
            sqlite3_bind_int64(q, 4, clock_wall_ms());
        }
    } else if (r->kind == DELETE) {
        q = prepare(s, "DELETE FROM value WHERE space = ?1 AND key = ?2", r);
    } else {
        q = prepare(s, "DELETE FROM value WHERE space = ?1 AND written < ?3", r);
        if (q)
            sqlite3_bind_int64(q, 3, clock_wall_ms() - (int64_t)r->max * 86400000);
    }
    rc = finish(s, q, &r->err);
    if (rc == RC_OK && r->durability == STORE_NOW)
        rc = commit(s, &r->err);
    return rc;
}

static struct blob *column(sqlite3_stmt *q, int i)
{
    return blob_copy(slice_of(sqlite3_column_blob(q, i), (size_t)sqlite3_column_bytes(q, i)));
}

static enum rc do_get(struct store *s, struct request *r)
{
    sqlite3_stmt *q = prepare(s, "SELECT value FROM value WHERE space = ?1 AND key = ?2", r);
    int code = q ? sqlite3_step(q) : SQLITE_ERROR;
    enum rc rc = RC_OK;

    if (code == SQLITE_ROW)
        r->value = column(q, 0);
    else if (code != SQLITE_DONE)
        rc = sql_error(s, &r->err, "read");
    sqlite3_finalize(q);
    return rc;
}

static enum rc do_list(struct store *s, struct request *r)
{
    sqlite3_stmt *q = prepare(s, "SELECT key, value FROM value WHERE space = ?1 AND "
                                 "substr(key, 1, length(?2)) = ?2 ORDER BY key",
                              r);
    int code = SQLITE_ERROR;

    r->rows = xcalloc(MAX(r->max, (size_t)1), sizeof(*r->rows));
    r->kept = xcalloc(2 * MAX(r->max, (size_t)1), sizeof(*r->kept));
    while (q && r->n_rows < r->max && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct blob **kept = &r->kept[2 * r->n_rows];

        kept[0] = column(q, 0);
        kept[1] = column(q, 1);
        r->rows[r->n_rows++] = (struct store_row){blob_slice(kept[0]), blob_slice(kept[1])};
    }
    sqlite3_finalize(q);
    return code == SQLITE_ROW || code == SQLITE_DONE ? RC_OK : sql_error(s, &r->err, "read");
}

/* A failed write closes the database: the next request opens it anew, so a full disk that has
 * room again or a file that was moved heals by itself. */
static void work(struct store *s, struct request *r)
{
    enum rc rc = open_db(s, &r->err);

    if (rc == RC_OK) {
        switch (r->kind) {
        case OPEN:
            break;
        case PUT:
        case DELETE:
        case EXPIRE:
            rc = do_write(s, r);
            break;
        case GET:
            rc = do_get(s, r);
            break;
        case LIST:
            rc = do_list(s, r);
            break;
        }
        if (rc != RC_OK)
            close_db(s);
    }
    r->err.code = rc;
}

static bool batch_is_due(const struct store *s)
{
    return s->in_batch && clock_mono_ms() - s->batch_since_ms >= BATCH_MS;
}

static void commit_batch(struct store *s)
{
    struct err err;

    if (commit(s, &err) == RC_OK)
        return;
    log_peer(NULL, "%s", err.text);
    close_db(s);
}

/* The next request, or NULL: a batch is due, or the store closes. Waits for either. */
static struct request *next_request(struct store *s, bool *closing)
{
    struct request *r;

    uv_mutex_lock(&s->lock);
    while (!(r = LIST_FIRST(&s->todo, struct request, node)) && !s->closing && !batch_is_due(s)) {
        if (s->in_batch)
            uv_cond_timedwait(&s->wake, &s->lock, (uint64_t)BATCH_MS * 1000000);
        else
            uv_cond_wait(&s->wake, &s->lock);
    }
    if (r)
        list_remove(&s->todo, &r->node);
    *closing = s->closing && !r;
    uv_mutex_unlock(&s->lock);
    return r;
}

static void thread_main(void *arg)
{
    struct store *s = arg;
    bool closing = false;

    while (!closing) {
        struct request *r = next_request(s, &closing);

        if (r) {
            work(s, r);
            uv_mutex_lock(&s->lock);
            list_push(&s->done, &r->node);
            uv_mutex_unlock(&s->lock);
            uv_async_send(&s->answers);
        }
        if (closing || batch_is_due(s))
            commit_batch(s);
    }
    close_db(s);
}

/* --- the loop's side --- */

static void request_free(struct request *r)
{
    for (size_t i = 0; r->kept && i < 2 * r->n_rows; i++)
        blob_unref(&r->kept[i]);
    free(r->kept);
    free(r->rows);
    blob_unref(&r->key);
    blob_unref(&r->value);
    free(r);
}

static void note_health(struct store *s, const struct request *r)
{
    bool failed = r->err.code != RC_OK;

    if (failed && s->health.ok)
        log_peer(NULL, "state cannot be kept: %s; is the disk full?", r->err.text);
    if (!failed && !s->health.ok)
        log_info(NULL, "%s works", s->path);
    s->health.ok = !failed;
    s->health.queued--;
    if (failed)
        snprintf(s->health.last_error, sizeof(s->health.last_error), "%s", r->err.text);
}

static void answer(struct store *s, struct request *r)
{
    const struct err *err = r->err.code == RC_OK ? NULL : &r->err;

    note_health(s, r);
    if (r->on_done)
        r->on_done(err, r->arg);
    if (r->on_value)
        r->on_value(r->value, err, r->arg);
    if (r->on_rows)
        r->on_rows(r->rows, r->n_rows, err, r->arg);
    request_free(r);
}

static struct request *take_done(struct store *s)
{
    struct request *r;

    uv_mutex_lock(&s->lock);
    r = LIST_FIRST(&s->done, struct request, node);
    if (r)
        list_remove(&s->done, &r->node);
    uv_mutex_unlock(&s->lock);
    return r;
}

static void on_answers(uv_async_t *h)
{
    struct store *s = h->data;
    struct request *r;

    while ((r = take_done(s)))
        answer(s, r);
}

/* A waiting put to the same key is replaced: only the newest value counts. */
static struct request *find_waiting_put(struct store *s, const struct request *r)
{
    struct request *last = LIST_LAST(&s->todo, struct request, node);

    if (last && last->kind == PUT && !last->on_done && strcmp(last->space, r->space) == 0 &&
        slice_eq(blob_slice(last->key), blob_slice(r->key)))
        return last;
    return NULL;
}

static void submit(struct store *s, struct request *TAKES r)
{
    struct request *old = NULL;

    uv_mutex_lock(&s->lock);
    if (r->kind == PUT)
        old = find_waiting_put(s, r);
    if (!old && s->todo.n >= MAX_QUEUED && r->kind == PUT && !r->on_done)
        old = LIST_FIRST(&s->todo, struct request, node);
    if (old && (old->kind != PUT || old->on_done))
        old = NULL; /* somebody waits for that one */
    if (old)
        list_remove(&s->todo, &old->node);
    list_push(&s->todo, &r->node);
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
    if (old)
        request_free(old);
    else
        s->health.queued++;
}

static struct request *request_new(enum kind kind, const char *space, struct slice key)
{
    struct request *r = xcalloc(1, sizeof(*r));

    r->kind = kind;
    snprintf(r->space, sizeof(r->space), "%s", space);
    r->key = blob_copy(key);
    return r;
}

struct store *store_open(struct loop *l, const char *dir,
                         void (*on_open)(const struct err *err, void *arg), void *arg)
{
    struct store *s = xcalloc(1, sizeof(*s));
    struct request *r = request_new(OPEN, "", slice_of(NULL, 0));

    s->loop = l;
    s->path = xasprintf("%s/leat.sqlite3", dir);
    s->health.ok = true;
    list_init(&s->todo);
    list_init(&s->done);
    uv_mutex_init(&s->lock);
    uv_cond_init(&s->wake);
    uv_async_init(loop_uv(l), &s->answers, on_answers);
    s->answers.data = s;
    uv_thread_create(&s->thread, thread_main, s);
    r->on_done = on_open;
    r->arg = arg;
    submit(s, r);
    return s;
}

static void on_closed(uv_handle_t *h)
{
    struct store *s = h->data;

    uv_mutex_destroy(&s->lock);
    uv_cond_destroy(&s->wake);
    free(s->path);
    free(s);
}

void store_close(struct store *s)
{
    struct request *r;

    if (!s)
        return;
    uv_mutex_lock(&s->lock);
    s->closing = true;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
    uv_thread_join(&s->thread); /* SQLite's busy timeout bounds each request still queued */
    while ((r = take_done(s)))
        answer(s, r);
    uv_close((uv_handle_t *)&s->answers, on_closed);
}

void store_put(struct store *s, const char *space, struct slice key, struct slice value,
               enum durability d, void (*on_done)(const struct err *err, void *arg), void *arg)
{
    struct request *r = request_new(PUT, space, key);

    r->value = blob_copy(value);
    r->durability = d;
    r->on_done = on_done;
    r->arg = arg;
    submit(s, r);
}

void store_delete(struct store *s, const char *space, struct slice key)
{
    submit(s, request_new(DELETE, space, key));
}

void store_get(struct store *s, const char *space, struct slice key,
               void (*on_value)(struct blob *value, const struct err *err, void *arg), void *arg)
{
    struct request *r = request_new(GET, space, key);

    r->on_value = on_value;
    r->arg = arg;
    submit(s, r);
}

void store_list(struct store *s, const char *space, struct slice prefix, size_t max,
                void (*on_rows)(const struct store_row *rows, size_t n, const struct err *err,
                                void *arg),
                void *arg)
{
    struct request *r = request_new(LIST, space, prefix);

    r->max = max;
    r->on_rows = on_rows;
    r->arg = arg;
    submit(s, r);
}

void store_expire(struct store *s, const char *space, int days)
{
    struct request *r = request_new(EXPIRE, space, slice_of(NULL, 0));

    r->max = (size_t)days;
    submit(s, r);
}

void store_health_get(const struct store *s, struct store_health *out)
{
    *out = s->health;
}
