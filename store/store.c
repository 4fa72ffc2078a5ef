#include "store/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "store/database.h"
#include "store/unsaved.h"

/* Requests go to the database thread through one queue and come back, done, through another. That
 * thread keeps writes in `unsaved` until a commit has them on disk: at once for STORE_NOW, else
 * within BATCH_MS. A commit that fails is tried again every RETRY_MS with all of them. */
enum { BATCH_MS = 1000, RETRY_MS = 1000, CLOSE_MS = 2000, MAX_QUEUED = 20000, MAX_DAYS = 36500 };

enum kind { OPEN, WRITE, GET, LIST };

struct request {
    struct list_node node;
    enum kind kind;
    struct write write; /* what it is about; LIST: key is the prefix */
    enum durability durability;
    size_t max;                /* LIST */
    struct blob *value;        /* GET's answer */
    struct database_rows rows; /* LIST's answer */
    struct err err;            /* code RC_OK: it worked */
    void (*on_done)(const struct err *err, void *arg);
    void (*on_value)(struct blob *value, const struct err *err, void *arg);
    void (*on_rows)(const struct store_row *rows, size_t n, const struct err *err, void *arg);
    void *arg;
};

struct store {
    char *path;
    uv_thread_t thread;
    uv_async_t answers;
    uv_mutex_t lock; /* guards what follows, up to the empty line */
    uv_cond_t wake;
    struct list todo, done;
    struct request *current; /* with the thread */
    struct store_health health;
    bool closing, ended, abandoned;

    /* the database thread's own */
    struct database *db;
    struct unsaved unsaved;
    bool failing;
    int64_t next_try_ms;
    int64_t told_dropped;
};

/* --- the database thread --- */

static void tell_health(struct store *s, const struct err *err)
{
    uv_mutex_lock(&s->lock);
    s->health.ok = !s->failing;
    s->health.queued = (int64_t)s->unsaved.writes.n;
    if (err)
        snprintf(s->health.last_error, sizeof(s->health.last_error), "%s", err->text);
    uv_mutex_unlock(&s->lock);
}

/* Told once when it begins and once when it ends, not at every try. */
static enum rc note(struct store *s, enum rc rc, const struct err *err)
{
    if (rc != RC_OK) {
        if (!s->failing)
            log_peer(NULL,
                     "state cannot be kept on disk: %s; it stays in memory and is tried again "
                     "(is the disk full?)",
                     err->text);
        s->failing = true;
        s->next_try_ms = clock_mono_ms() + RETRY_MS;
    } else if (s->failing && list_is_empty(&s->unsaved.writes)) {
        log_info(NULL, "%s works again", s->path);
        s->failing = false;
    }
    tell_health(s, rc == RC_OK ? NULL : err);
    return rc;
}

static enum rc apply(struct store *s, const struct write *w, struct err *err)
{
    switch (w->kind) {
    case WRITE_PUT:
        return database_put(s->db, w->space, blob_slice(w->key), blob_slice(w->value), w->time_ms,
                            err);
    case WRITE_DELETE:
        return database_delete(s->db, w->space, blob_slice(w->key), err);
    case WRITE_EXPIRE:
        return database_expire(s->db, w->space, w->time_ms, err);
    }
    return RC_OK;
}

/* A transaction that holds all unsaved writes. */
static enum rc begin_with_unsaved(struct store *s, struct err *err)
{
    enum rc rc = database_begin(s->db, err);

    LIST_EACH (&s->unsaved.writes, struct write, node, w)
        if (rc == RC_OK)
            rc = apply(s, w, err);
    return rc;
}

static void tell_dropped(struct store *s)
{
    if (s->unsaved.dropped > s->told_dropped)
        log_peer(NULL, "%lld values were lost: more than %d waited for the disk",
                 (long long)(s->unsaved.dropped - s->told_dropped), MAX_UNSAVED);
    s->told_dropped = s->unsaved.dropped;
}

static enum rc save(struct store *s, struct err *err)
{
    enum rc rc;

    if (list_is_empty(&s->unsaved.writes))
        return RC_OK;
    rc = begin_with_unsaved(s, err);
    if (rc == RC_OK)
        rc = database_commit(s->db, err);
    if (rc == RC_OK) {
        unsaved_clear(&s->unsaved);
        tell_dropped(s);
    } else {
        database_rollback(s->db);
    }
    return note(s, rc, err);
}

static enum rc do_write(struct store *s, struct request *r)
{
    unsaved_add(&s->unsaved, &r->write);
    if (r->durability == STORE_NOW)
        return save(s, &r->err);
    tell_health(s, NULL);
    return RC_OK;
}

static enum rc do_get(struct store *s, struct request *r)
{
    const struct write *w = unsaved_find(&s->unsaved, r->write.space, blob_slice(r->write.key));
    enum rc rc;

    if (w) {
        r->value = w->kind == WRITE_PUT ? blob_ref(w->value) : NULL;
        return RC_OK;
    }
    rc = database_get(s->db, r->write.space, blob_slice(r->write.key), &r->value, &r->err);
    return note(s, rc, &r->err);
}

/* What is unsaved is seen through a transaction that is then forgotten. */
static enum rc do_list(struct store *s, struct request *r)
{
    bool any = !list_is_empty(&s->unsaved.writes);
    enum rc rc = any ? begin_with_unsaved(s, &r->err) : RC_OK;

    if (rc == RC_OK)
        rc = database_list(s->db, r->write.space, blob_slice(r->write.key), r->max, &r->rows,
                           &r->err);
    database_rollback(s->db);
    return note(s, rc, &r->err);
}

static void work(struct store *s, struct request *r)
{
    enum rc rc = RC_OK;

    switch (r->kind) {
    case OPEN:
        rc = note(s, database_open(s->db, &r->err), &r->err);
        break;
    case WRITE:
        rc = do_write(s, r);
        break;
    case GET:
        rc = do_get(s, r);
        break;
    case LIST:
        rc = do_list(s, r);
        break;
    }
    r->err.code = rc;
}

/* When the thread must save although nobody asks; 0: nothing is unsaved. */
static int64_t save_due_ms(const struct store *s)
{
    if (list_is_empty(&s->unsaved.writes))
        return 0;
    return s->failing ? s->next_try_ms : s->unsaved.since_ms + BATCH_MS;
}

static bool is_due(const struct store *s)
{
    int64_t due = save_due_ms(s);

    return due && clock_mono_ms() >= due;
}

/* NULL: time to save, or to end. */
static struct request *next_request(struct store *s, bool *ending)
{
    struct request *r;

    uv_mutex_lock(&s->lock);
    while (!(r = LIST_FIRST(&s->todo, struct request, node)) && !s->closing && !is_due(s)) {
        int64_t due = save_due_ms(s), left = due - clock_mono_ms();

        if (due)
            uv_cond_timedwait(&s->wake, &s->lock, (uint64_t)MAX(left, (int64_t)1) * 1000000);
        else
            uv_cond_wait(&s->wake, &s->lock);
    }
    if (r)
        list_remove(&s->todo, &r->node);
    s->current = r;
    *ending = s->closing && !r;
    uv_mutex_unlock(&s->lock);
    return r;
}

static void give_back(struct store *s, struct request *r)
{
    uv_mutex_lock(&s->lock);
    if (!s->abandoned) { /* else it was answered without us */
        s->current = NULL;
        list_push(&s->done, &r->node);
        uv_async_send(&s->answers);
    }
    uv_mutex_unlock(&s->lock);
}

static void thread_main(void *arg)
{
    struct store *s = arg;
    bool ending = false;
    struct err err;

    while (!ending) {
        struct request *r = next_request(s, &ending);

        if (r) {
            work(s, r);
            give_back(s, r);
        }
        if (ending || is_due(s))
            (void)save(s, &err); /* told by note(), tried again later */
    }
    database_free(s->db);
    unsaved_cleanup(&s->unsaved);
    uv_mutex_lock(&s->lock);
    s->ended = true;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
}

/* --- the loop's side --- */

static void request_free(struct request *r)
{
    database_rows_cleanup(&r->rows);
    blob_unref(&r->write.key);
    blob_unref(&r->write.value);
    blob_unref(&r->value);
    free(r);
}

static void answer(const struct request *r, const struct err *err)
{
    if (r->on_done)
        r->on_done(err, r->arg);
    if (r->on_value)
        r->on_value(err ? NULL : r->value, err, r->arg);
    if (r->on_rows)
        r->on_rows(r->rows.rows, err ? 0 : r->rows.n, err, r->arg);
}

static struct request *take(struct store *s, struct list *from)
{
    struct request *r;

    uv_mutex_lock(&s->lock);
    r = LIST_FIRST(from, struct request, node);
    if (r)
        list_remove(from, &r->node);
    uv_mutex_unlock(&s->lock);
    return r;
}

static void on_answers(uv_async_t *h)
{
    struct store *s = h->data;
    struct request *r;

    while ((r = take(s, &s->done))) {
        answer(r, r->err.code == RC_OK ? NULL : &r->err);
        request_free(r);
    }
}

static bool is_plain_put(const struct request *r)
{
    return r->kind == WRITE && r->write.kind == WRITE_PUT && !r->on_done &&
           r->durability == STORE_SOON;
}

/* The waiting put that a new put to the same key makes needless. Only the last of the queue can
 * be: between others somebody may read. */
static struct request *find_needless(struct store *s, const struct request *r)
{
    struct request *last = LIST_LAST(&s->todo, struct request, node);

    if (last && is_plain_put(last) && r->kind == WRITE && r->write.kind == WRITE_PUT &&
        strcmp(last->write.space, r->write.space) == 0 &&
        slice_eq(blob_slice(last->write.key), blob_slice(r->write.key)))
        return last;
    return NULL;
}

/* With a disk that hangs the queue must end somewhere: the oldest put that nobody waits for goes.
 * When all are waited for, the new request is refused. */
static struct request *find_oldest_put(struct store *s)
{
    LIST_EACH (&s->todo, struct request, node, r)
        if (is_plain_put(r))
            return r;
    return NULL;
}

static void submit(struct store *s, struct request *TAKES r)
{
    struct request *old;

    uv_mutex_lock(&s->lock);
    old = find_needless(s, r);
    if (!old && s->todo.n >= MAX_QUEUED)
        old = find_oldest_put(s);
    if (old)
        list_remove(&s->todo, &old->node);
    if (s->todo.n < MAX_QUEUED) {
        list_push(&s->todo, &r->node);
        uv_cond_signal(&s->wake);
    } else {
        err_set(&r->err, RC_BUSY, "%d requests wait for the disk", MAX_QUEUED);
        list_push(&s->done, &r->node);
        uv_async_send(&s->answers);
    }
    uv_mutex_unlock(&s->lock);
    if (old)
        request_free(old);
}

static struct request *request_new(enum kind kind, const char *space, struct slice key)
{
    struct request *r = xcalloc(1, sizeof(*r));

    assert(strlen(space) <= SPACE_MAX);
    r->kind = kind;
    snprintf(r->write.space, sizeof(r->write.space), "%s", space);
    r->write.key = blob_copy(key);
    return r;
}

struct store *store_open(struct loop *l, const char *dir,
                         void (*on_open)(const struct err *err, void *arg), void *arg)
{
    struct store *s = xcalloc(1, sizeof(*s));
    struct request *r = request_new(OPEN, "", slice_of(NULL, 0));

    s->path = xasprintf("%s/leat.sqlite3", dir);
    s->db = database_new(s->path);
    s->health.ok = true;
    unsaved_init(&s->unsaved);
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

/* --- closing --- */

static void store_free(struct store *s)
{
    uv_mutex_destroy(&s->lock);
    uv_cond_destroy(&s->wake);
    free(s->path);
    free(s);
}

static void on_closed(uv_handle_t *h)
{
    struct store *s = h->data;

    /* A thread that hangs in a system call keeps its memory; the process is about to end. */
    if (!s->abandoned)
        store_free(s);
}

/* True when the thread ended in time. */
static bool wait_for_end(struct store *s)
{
    int64_t until = clock_mono_ms() + CLOSE_MS, left;
    bool ended;

    uv_mutex_lock(&s->lock);
    s->closing = true;
    uv_cond_signal(&s->wake);
    while (!s->ended && (left = until - clock_mono_ms()) > 0)
        uv_cond_timedwait(&s->wake, &s->lock, (uint64_t)left * 1000000);
    ended = s->ended;
    s->abandoned = !ended;
    uv_mutex_unlock(&s->lock);
    return ended;
}

static void answer_lost(struct store *s)
{
    struct request *r;
    struct err err;

    err_set(&err, RC_CANCELLED, "the node stops and the disk did not answer");
    while ((r = take(s, &s->todo))) {
        answer(r, &err);
        request_free(r);
    }
    if (s->current)
        answer(s->current, &err);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    if (wait_for_end(s)) {
        uv_thread_join(&s->thread);
    } else {
        log_peer(NULL, "%s: the disk did not answer for %d s; what was not saved is lost", s->path,
                 CLOSE_MS / 1000);
        answer_lost(s);
    }
    on_answers(&s->answers);
    uv_close((uv_handle_t *)&s->answers, on_closed);
}

/* --- calls --- */

void store_put(struct store *s, const char *space, struct slice key, struct slice value,
               enum durability d, void (*on_done)(const struct err *err, void *arg), void *arg)
{
    struct request *r = request_new(WRITE, space, key);

    r->write.kind = WRITE_PUT;
    r->write.value = blob_copy(value);
    r->write.time_ms = clock_wall_ms();
    r->durability = d;
    r->on_done = on_done;
    r->arg = arg;
    submit(s, r);
}

void store_delete(struct store *s, const char *space, struct slice key)
{
    struct request *r = request_new(WRITE, space, key);

    r->write.kind = WRITE_DELETE;
    submit(s, r);
}

void store_expire(struct store *s, const char *space, int days)
{
    struct request *r = request_new(WRITE, space, slice_of(NULL, 0));

    r->write.kind = WRITE_EXPIRE;
    r->write.time_ms = clock_wall_ms() - MIN(days, (int)MAX_DAYS) * INT64_C(86400000);
    submit(s, r);
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

void store_health_get(struct store *s, struct store_health *out)
{
    uv_mutex_lock(&s->lock);
    *out = s->health;
    out->queued += (int64_t)s->todo.n;
    uv_mutex_unlock(&s->lock);
}
