#include "store/objects.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/rand.h"
#include "base/text.h"
#include "store/sigv4.h"

enum {
    MAX_RUNNING = 8,
    MAX_RUNNING_FILES = 2, /* a disk that hangs leaves helper threads for others */
    FIRST_PAUSE_MS = 500,
    MAX_PAUSE_MS = 8000,
    MAX_ANSWER = 16384,
    MAX_SIGNED = 5, /* headers */
    MAX_AUTH = 1024,
    MAX_PATH = 3 * (OBJECT_BUCKET_MAX + 2 * OBJECT_PATH_MAX) + 4
};

struct job {
    struct list_node node;   /* in one of the lists of objects */
    struct objects *objects; /* NULL: gone while a helper thread has the job */
    struct list *list;       /* that it is in */
    struct object_put put;
    char *name;
    struct blob *body;
    char *file;                /* a folder's */
    char hash[SIGV4_HASH_MAX]; /* of body, once known */
    int tried;
    int64_t last_start_ms;
    struct timer *pause;
    struct deferred soon;
    struct web_call *call;
    bool in_thread;
    struct err err;
};

struct objects {
    struct objects_conf conf;
    char where[OBJECT_NAME_MAX];
    struct list waiting, running;
    struct list refused; /* told in this turn, their bodies are not kept */
    size_t bytes;        /* of waiting and running */
    struct deferred pump;
};

/* --- the end of a job --- */

static void job_free(struct job *j)
{
    blob_unref(&j->body);
    free(j->name);
    free(j->file);
    free(j);
}

static void job_enter(struct job *j, struct list *list)
{
    j->list = list;
    list_push(list, &j->node);
}

/* Takes the job out of the store; what a helper thread still sees stays until it is back. */
static void job_leave(struct job *j)
{
    struct objects *o = j->objects;

    web_cancel(j->call);
    timer_free(j->pause);
    loop_defer_cancel(o->conf.loop, &j->soon);
    list_remove(j->list, &j->node);
    if (j->list != &o->refused)
        o->bytes -= j->body->n;
    j->objects = NULL;
}

static void pump(void *arg);

static void finish(struct job *j, const struct err *err)
{
    struct objects *o = j->objects;
    struct object_put put = j->put;
    struct err copy = err ? *err : (struct err){0};

    job_leave(j);
    if (!j->in_thread)
        job_free(j);
    loop_defer(o->conf.loop, &o->pump, pump, o);
    if (put.on_done)
        put.on_done(err ? &copy : NULL, put.arg);
}

static void fail_now(void *arg)
{
    struct job *j = arg;

    finish(j, &j->err);
}

/* --- another try --- */

static void try_it(void *arg);

static bool may_work_later(enum rc rc)
{
    return rc == RC_TIMEOUT || rc == RC_UNAVAILABLE || rc == RC_CLOSED || rc == RC_IO ||
           rc == RC_BUSY;
}

/* Half the pause is by chance: nodes that lost the store together do not return together. */
static int64_t pause_of(const struct job *j)
{
    int64_t ms = j->objects->conf.first_pause_ms;

    for (int i = 1; i < j->tried && ms < MAX_PAUSE_MS; i++)
        ms *= 2;
    ms = MIN(ms, (int64_t)MAX_PAUSE_MS);
    return ms / 2 + (int64_t)(rand_unit() * (double)ms / 2);
}

static void tried(struct job *j, const struct err *err)
{
    struct loop *loop = j->objects->conf.loop;
    int64_t ms;

    if (!err) {
        finish(j, NULL);
        return;
    }
    j->err = *err;
    ms = pause_of(j);
    if (!may_work_later(err->code) || j->tried >= j->put.tries ||
        loop_now_ms(loop) + ms > j->last_start_ms) {
        if (j->tried > 1)
            (void)err_wrap(&j->err, j->err.code, "after %d tries", j->tried);
        fail_now(j);
        return;
    }
    timer_start(j->pause, ms);
}

/* --- a folder --- */

static enum rc make_folders(char *path, struct err *err)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        int rc;

        *slash = '\0';
        rc = mkdir(path, 0755);
        if (rc != 0 && errno != EEXIST)
            return err_errno(err, RC_IO, errno, "cannot make the folder %s", path);
        *slash = '/';
    }
    return RC_OK;
}

static enum rc write_all(int fd, struct slice bytes)
{
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);

        if (n < 0 && errno != EINTR)
            return RC_IO;
        bytes = slice_skip(bytes, n < 0 ? 0 : (size_t)n);
    }
    return fdatasync(fd) == 0 ? RC_OK : RC_IO;
}

static enum rc write_beside(const char *tmp, const char *path, struct slice bytes, struct err *err)
{
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), error = 0;

    if (fd < 0)
        return err_errno(err, RC_IO, errno, "cannot write %s (give this user the folder)", tmp);
    if (write_all(fd, bytes) != RC_OK)
        error = errno;
    if (close(fd) != 0 && !error)
        error = errno;
    if (!error && rename(tmp, path) != 0)
        error = errno;
    if (!error)
        return RC_OK;
    (void)unlink(tmp); /* best effort: the error to tell is the first one */
    return err_errno(err, RC_IO, error, "cannot write %s", path);
}

static void write_file(void *arg)
{
    struct job *j = arg;
    char *tmp = xasprintf("%s.%016llx.part", j->file, (unsigned long long)rand_u64());
    enum rc rc = make_folders(j->file, &j->err);

    if (rc == RC_OK)
        rc = write_beside(tmp, j->file, blob_slice(j->body), &j->err);
    j->err.code = rc;
    free(tmp);
}

/* A helper thread is done with j. False: nobody goes on with it. */
static bool is_back(struct job *j, bool cancelled)
{
    j->in_thread = false;
    if (!j->objects)
        job_free(j);
    else if (cancelled)
        tried(j, &(struct err){RC_CANCELLED, "the node stops"});
    else
        return true;
    return false;
}

static void file_written(void *arg, bool cancelled)
{
    struct job *j = arg;

    if (is_back(j, cancelled))
        tried(j, j->err.code == RC_OK ? NULL : &j->err);
}

/* --- S3 --- */

static const struct {
    int status; /* 0: all others */
    enum rc rc;
    const char *mend;
} answers[] = {
    {301, RC_BAD_INPUT, "the bucket lives in another region: name that one in the store's URL"},
    {307, RC_BAD_INPUT, "the bucket lives in another region: name that one in the store's URL"},
    {400, RC_BAD_INPUT, "look at region and bucket in the store's URL"},
    {401, RC_DENIED, "look at key and secret in the store's URL"},
    {403, RC_DENIED,
     "look at key and secret in the store's URL, what they may write, and this machine's clock"},
    {404, RC_NOT_FOUND, "make the bucket, or mend its name in the store's URL"},
    {408, RC_TIMEOUT, "the store is slow"},
    {413, RC_LIMIT, "the store takes only smaller objects"},
    {429, RC_BUSY, "the store asks for fewer requests"},
    {500, RC_UNAVAILABLE, "the store is in trouble"},
    {502, RC_UNAVAILABLE, "the store is in trouble"},
    {503, RC_BUSY, "the store is busy"},
    {504, RC_UNAVAILABLE, "the store is in trouble"},
    {0, RC_UNSUPPORTED, "is this an S3 server?"},
};

/* What stands between <Code> and </Code> of an error, if that is a word. */
static struct slice error_code(struct slice xml)
{
    static const char open[] = "<Code>";
    const uint8_t *at = xml.n ? memmem(xml.p, xml.n, open, sizeof(open) - 1) : NULL;
    struct slice rest;
    size_t n;

    if (!at)
        return slice_of(NULL, 0);
    rest = slice_skip(xml, (size_t)(at - xml.p) + sizeof(open) - 1);
    n = slice_find(rest, '<');
    return n < rest.n && n <= 64 ? slice_sub(rest, 0, n) : slice_of(NULL, 0);
}

static void refused(struct job *j, int status, struct slice answer)
{
    char code[256];
    struct err err;
    size_t i = 0;

    while (answers[i].status && answers[i].status != status)
        i++;
    text_printable(error_code(answer), code);
    (void)err_set(&err, answers[i].rc, "%s/%s: status %d %s: %s", j->objects->where, j->name,
                  status, code, answers[i].mend);
    tried(j, &err);
}

static void on_answer(int status, struct blob *body, const struct err *err, void *arg)
{
    struct job *j = arg;
    struct err told;

    j->call = NULL;
    if (!err && status >= 200 && status < 300) {
        tried(j, NULL);
    } else if (!err) {
        refused(j, status, blob_slice(body));
    } else {
        told = *err;
        if (told.code == RC_UNAVAILABLE)
            (void)err_set(&told, told.code, "%s; is the store up, and its address right?",
                          err->text);
        tried(j, &told);
    }
}

static void write_path(const struct job *j, struct buf *out)
{
    const struct object_url *u = &j->objects->conf.url;
    char *whole = xasprintf("/%s/%s%s%s", u->bucket, u->path, *u->path ? "/" : "", j->name);
    struct slice rest = slice_str(whole + 1), part;

    while (slice_split(&rest, '/', &part)) {
        buf_str(out, "/");
        percent_encode(out, part);
    }
    free(whole);
}

/* One request while it is put together. */
struct request {
    char time[SIGV4_TIME_MAX], duration[24];
    struct sigv4_header headers[MAX_SIGNED];
    size_t n;
    struct buf path, auth;
    char *lines[MAX_SIGNED];
};

static void sign(struct request *r, const struct job *j)
{
    const struct object_url *u = &j->objects->conf.url;

    sigv4_time(clock_wall_ms(), r->time);
    snprintf(r->duration, sizeof(r->duration), "%lld", (long long)j->put.duration_ms);
    r->headers[r->n++] = (struct sigv4_header){"content-type", j->put.type};
    r->headers[r->n++] = (struct sigv4_header){"host", u->host};
    r->headers[r->n++] = (struct sigv4_header){"x-amz-content-sha256", j->hash};
    r->headers[r->n++] = (struct sigv4_header){"x-amz-date", r->time};
    if (j->put.duration_ms > 0)
        r->headers[r->n++] = (struct sigv4_header){"x-amz-meta-duration", r->duration};
    write_path(j, &r->path);
    buf_str(&r->auth, "Authorization: ");
    sigv4_sign(&(struct sigv4_request){.key = u->key,
                                       .secret = u->secret,
                                       .region = u->region,
                                       .method = "PUT",
                                       .path = buf_cstr(&r->path),
                                       .headers = r->headers,
                                       .n_headers = r->n,
                                       .time = r->time,
                                       .content_sha256 = j->hash},
               &r->auth);
}

static void start_call(struct request *r, struct job *j)
{
    const struct object_url *u = &j->objects->conf.url;
    /* libcurl would wait for a "100 Continue" that many stores never send */
    const char *lines[MAX_SIGNED + 3] = {"Expect:", buf_cstr(&r->auth)};
    char *url = xasprintf("%s://%s%s", u->tls ? "https" : "http", u->host, buf_cstr(&r->path));

    for (size_t i = 0; i < r->n; i++)
        lines[i + 2] = r->lines[i] = xasprintf("%s: %s", r->headers[i].name, r->headers[i].value);
    j->call = web_start(j->objects->conf.web, &(struct web_conf){.method = "PUT",
                                                                 .url = url,
                                                                 .headers = lines,
                                                                 .blob = j->body,
                                                                 .stay = true,
                                                                 .timeout_ms = j->put.try_ms,
                                                                 .max_body = MAX_ANSWER,
                                                                 .on_done = on_answer,
                                                                 .arg = j});
    free(url);
}

static void send_put(struct job *j)
{
    struct request r = {0};

    buf_init(&r.path, MAX_PATH);
    buf_init(&r.auth, MAX_AUTH);
    sign(&r, j);
    start_call(&r, j);
    for (size_t i = 0; i < r.n; i++)
        free(r.lines[i]);
    buf_cleanup(&r.path);
    buf_cleanup(&r.auth);
    if (j->call)
        return;
    (void)err_set(&j->err, RC_CANCELLED, "the node stops");
    loop_defer(j->objects->conf.loop, &j->soon, fail_now, j);
}

static void hash_body(void *arg)
{
    struct job *j = arg;

    sigv4_hash(blob_slice(j->body), j->hash);
}

static void body_hashed(void *arg, bool cancelled)
{
    struct job *j = arg;

    if (is_back(j, cancelled))
        send_put(j);
}

/* --- who goes when --- */

static void try_it(void *arg)
{
    struct job *j = arg;
    struct loop *loop = j->objects->conf.loop;

    j->tried++;
    if (j->file) {
        j->in_thread = true;
        threads_submit(loop, j, write_file, file_written);
    } else if (!*j->hash) {
        j->in_thread = true;
        threads_submit(loop, j, hash_body, body_hashed);
    } else {
        send_put(j);
    }
}

static void pump(void *arg)
{
    struct objects *o = arg;
    size_t most = o->conf.url.kind == OBJECTS_IN_FOLDER ? MAX_RUNNING_FILES : MAX_RUNNING;
    struct job *j;

    while (o->running.n < most && (j = LIST_FIRST(&o->waiting, struct job, node))) {
        list_remove(&o->waiting, &j->node);
        job_enter(j, &o->running);
        try_it(j);
    }
}

/* --- the public functions --- */

struct objects *objects_new(const struct objects_conf *conf)
{
    struct objects *o = xcalloc(1, sizeof(*o));

    o->conf = *conf;
    if (!o->conf.first_pause_ms)
        o->conf.first_pause_ms = FIRST_PAUSE_MS;
    object_url_name(&o->conf.url, o->where);
    list_init(&o->waiting);
    list_init(&o->running);
    list_init(&o->refused);
    return o;
}

void objects_free(struct objects *o)
{
    const struct err err = {RC_CANCELLED, "the object store is closed"};
    struct job *j;

    if (!o)
        return;
    while ((j = LIST_FIRST(&o->running, struct job, node)) ||
           (j = LIST_FIRST(&o->waiting, struct job, node)) ||
           (j = LIST_FIRST(&o->refused, struct job, node)))
        finish(j, &err);
    loop_defer_cancel(o->conf.loop, &o->pump);
    OPENSSL_cleanse(o->conf.url.secret, sizeof(o->conf.url.secret));
    free(o);
}

const char *objects_where(const struct objects *o)
{
    return o->where;
}

static enum rc may_wait(const struct objects *o, const struct object_put *put, struct err *err)
{
    if (!object_name_is_fine(slice_str(put->name)))
        return err_set(err, RC_BAD_INPUT, "%s: the object's name is not possible", o->where);
    if (o->waiting.n + o->running.n >= MAX_OBJECTS || o->bytes > o->conf.max_bytes ||
        put->body->n > o->conf.max_bytes - o->bytes)
        return err_set(err, RC_BUSY,
                       "%s/%s is not kept: %zu objects with %zu bytes wait; the store is slower "
                       "than what comes",
                       o->where, put->name, o->waiting.n + o->running.n, o->bytes);
    return RC_OK;
}

void objects_put(struct objects *o, const struct object_put *put)
{
    struct job *j = xcalloc(1, sizeof(*j));

    assert(put->body && put->tries > 0 && put->try_ms > 0);
    j->objects = o;
    j->put = *put;
    j->name = xstrdup(put->name);
    j->body = blob_ref(put->body);
    j->last_start_ms = loop_now_ms(o->conf.loop) + put->whole_ms;
    j->pause = timer_new(o->conf.loop, try_it, j);
    if (o->conf.url.kind == OBJECTS_IN_FOLDER)
        j->file = xasprintf("%s/%s", o->conf.url.path, j->name);
    if (may_wait(o, put, &j->err) != RC_OK) {
        job_enter(j, &o->refused);
        loop_defer(o->conf.loop, &j->soon, fail_now, j);
        return;
    }
    job_enter(j, &o->waiting);
    o->bytes += j->body->n;
    loop_defer(o->conf.loop, &o->pump, pump, o);
}
