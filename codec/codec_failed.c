#include "codec/codec_failed.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#define PREFIX "failed-"

enum { MAX_NAME = 160, MAX_FILES = 4096 };

struct keep_work {
    char *dir;
    size_t max_bytes;
    char name[MAX_NAME];
    struct blob *segment;
    enum rc rc;
    struct err err;
};

struct kept_file {
    char *name;
    size_t bytes;
    struct timespec written;
};

struct kept_files {
    struct kept_file at[MAX_FILES];
    size_t n, bytes;
};

static const char *extension(struct slice s)
{
    if (s.n && s.p[0] == 0x47)
        return "ts";
    if (slice_has_prefix(s, "FLV"))
        return "flv";
    return slice_has_prefix(slice_skip(s, 4), "ftyp") ? "mp4" : "bin";
}

static void make_name(char out[MAX_NAME], const char *stream, int64_t seq, struct slice segment)
{
    char safe[49];
    size_t n = 0;

    for (; stream[n] && n < sizeof(safe) - 1; n++)
        safe[n] = isalnum((unsigned char)stream[n]) ? stream[n] : '_';
    safe[n] = 0;
    snprintf(out, MAX_NAME, PREFIX "%s-%lld-%lld.%s", safe, (long long)seq,
             (long long)clock_wall_ms(), extension(segment));
}

/* ---- on the helper thread ---- */

static void add_file(struct kept_files *files, int dir, const char *name)
{
    struct stat st;

    if (files->n == MAX_FILES || strncmp(name, PREFIX, strlen(PREFIX)) ||
        fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return;
    files->at[files->n++] = (struct kept_file){xstrdup(name), (size_t)st.st_size, st.st_mtim};
    files->bytes += (size_t)st.st_size;
}

static int older_first(const void *a, const void *b)
{
    const struct timespec *x = &((const struct kept_file *)a)->written;
    const struct timespec *y = &((const struct kept_file *)b)->written;

    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Removes the oldest until `room` more bytes fit. */
static void make_room(DIR *d, size_t room, size_t max_bytes)
{
    struct kept_files *files = xcalloc(1, sizeof(*files));
    const struct dirent *entry;

    while ((entry = readdir(d)))
        add_file(files, dirfd(d), entry->d_name);
    qsort(files->at, files->n, sizeof(files->at[0]), older_first);
    for (size_t i = 0; i < files->n; i++) {
        if (files->bytes + room > max_bytes && unlinkat(dirfd(d), files->at[i].name, 0) == 0)
            files->bytes -= files->at[i].bytes;
        free(files->at[i].name);
    }
    free(files);
}

static enum rc write_file(int dir, const char *name, struct slice s, struct err *err)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    while (fd >= 0 && s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno != EINTR)
            break;
        s = slice_skip(s, n > 0 ? (size_t)n : 0);
    }
    enum rc rc = fd >= 0 && s.n == 0 ? RC_OK : err_errno(err, RC_IO, errno, "%s", name);
    if (fd >= 0)
        close(fd);
    return rc;
}

static void keep_run(void *arg)
{
    struct keep_work *w = arg;

    if (w->segment->n > w->max_bytes) {
        w->rc = err_set(&w->err, RC_LIMIT, "%zu bytes, at most %zu are kept", w->segment->n,
                        w->max_bytes);
        return;
    }
    (void)mkdir(w->dir, 0700); /* where it cannot be made, opening it tells why */
    DIR *d = opendir(w->dir);
    if (!d) {
        w->rc = err_errno(&w->err, RC_IO, errno, "%s", w->dir);
        return;
    }
    make_room(d, w->segment->n, w->max_bytes);
    w->rc = write_file(dirfd(d), w->name, blob_slice(w->segment), &w->err);
    closedir(d);
}

/* ---- on the loop ---- */

static void keep_done(void *arg, bool cancelled)
{
    struct keep_work *w = arg;

    if (!cancelled && w->rc == RC_OK)
        log_info(NULL, "the segment a codec died on is kept: %s/%s", w->dir, w->name);
    else if (!cancelled)
        log_peer(NULL, "the segment a codec died on is not kept: %s", w->err.text);
    blob_unref(&w->segment);
    free(w->dir);
    free(w);
}

void codec_failed_keep(struct loop *l, const char *dir, size_t max_bytes, const char *stream,
                       int64_t seq, struct blob *segment)
{
    struct keep_work *w = xcalloc(1, sizeof(*w));

    w->dir = xstrdup(dir);
    w->max_bytes = max_bytes;
    w->segment = blob_ref(segment);
    make_name(w->name, stream, seq, blob_slice(segment));
    threads_submit(l, w, keep_run, keep_done);
}
