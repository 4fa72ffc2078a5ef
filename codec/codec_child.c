#include "codec/codec_child.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum { READ_BYTES = 64 * 1024 };

/* What the next byte from the child belongs to. */
enum part { PART_HEAD, PART_BODY, PART_MEDIA };

struct codec_child {
    uv_pipe_t pipe;
    struct codec_child_events events;
    void *arg;
    bool closed;
    bool has_job;
    size_t n_profiles; /* of the job */

    enum part part;
    struct msg_head head;
    struct buf text;  /* head or body so far */
    struct buf media; /* of the rendition that is coming */
    uint64_t media_left;
    size_t output_bytes;
    struct codec_output out;
    uint8_t bytes[READ_BYTES];
};

static void forget_output(struct codec_child *c)
{
    for (size_t i = 0; i < c->out.n; i++)
        blob_unref(&c->out.media[i]);
    c->out.n = 0;
    c->output_bytes = 0;
    buf_cleanup(&c->media);
}

/* ---- out ---- */

struct write {
    uv_write_t req;
    struct buf head;
    struct blob *segment;
};

static void on_written(uv_write_t *req, int status)
{
    struct write *w = CONTAINER_OF(req, struct write, req);

    blob_unref(&w->segment); /* an error shows as the end of the socket */
    buf_cleanup(&w->head);
    free(w);
}

void codec_child_send(struct codec_child *c, const struct msg_job *job, struct blob *segment)
{
    struct write *w = xcalloc(1, sizeof(*w));

    assert(!c->closed && !c->has_job && job->segment_bytes == segment->n);
    forget_output(c);
    c->has_job = true;
    c->n_profiles = job->n_profiles;
    buf_init(&w->head, MSG_HEAD_BYTES + MSG_MAX_BODY);
    msg_job_encode(&w->head, job);
    assert(buf_ok(&w->head));
    w->segment = blob_ref(segment);

    uv_buf_t parts[] = {uv_buf_init((char *)w->head.p, (unsigned)w->head.n),
                        uv_buf_init((char *)segment->p, (unsigned)segment->n)};
    if (uv_write(&w->req, (uv_stream_t *)&c->pipe, parts, ARRAY_LEN(parts), on_written) != 0)
        on_written(&w->req, 0);
}

/* ---- in ---- */

static const char *on_rendition(struct codec_child *c, struct slice body)
{
    struct msg_rendition m;

    if (msg_rendition_decode(body, &m, NULL) != RC_OK)
        return "a malformed rendition";
    if (!c->has_job || m.index != c->out.n || m.index >= c->n_profiles)
        return "a rendition that nobody asked for";
    if (m.bytes > CODEC_MAX_OUTPUT_BYTES - c->output_bytes)
        return "more output than any job may have";
    c->output_bytes += (size_t)m.bytes;
    c->out.about[c->out.n] = m;
    c->media_left = m.bytes;
    buf_init(&c->media, (size_t)m.bytes);
    c->part = PART_MEDIA;
    return NULL;
}

static const char *on_done(struct codec_child *c, struct slice body)
{
    struct msg_done m;

    if (msg_done_decode(body, &m, NULL) != RC_OK)
        return "a malformed end of a job";
    if (!c->has_job)
        return "the end of a job that it was not given";
    if (m.rc == RC_OK && c->out.n != c->n_profiles)
        return "the end of a job before all renditions";
    c->has_job = false;
    c->part = PART_HEAD;
    c->events.on_done(&m, &c->out, c->arg);
    return NULL;
}

/* NULL, or what is wrong. */
static const char *on_message(struct codec_child *c)
{
    struct slice body = buf_slice(&c->text);

    if (c->head.kind == MSG_RENDITION)
        return on_rendition(c, body);
    if (c->head.kind == MSG_DONE)
        return on_done(c, body);
    return "a message that children do not send";
}

static const char *on_media_complete(struct codec_child *c)
{
    c->out.media[c->out.n++] = blob_of_buf(&c->media);
    c->part = PART_HEAD;
    return NULL;
}

/* How many bytes complete the current part. */
static uint64_t bytes_missing(const struct codec_child *c)
{
    switch (c->part) {
    case PART_HEAD:
        return MSG_HEAD_BYTES - c->text.n;
    case PART_BODY:
        return c->head.body_bytes - c->text.n;
    case PART_MEDIA:
        return c->media_left;
    }
    return 0;
}

static const char *on_part_complete(struct codec_child *c)
{
    const char *wrong = NULL;

    switch (c->part) {
    case PART_HEAD:
        if (msg_head_decode(buf_slice(&c->text), &c->head, NULL) != RC_OK)
            return "bytes that are no message";
        c->part = PART_BODY;
        break;
    case PART_BODY:
        wrong = on_message(c);
        break;
    case PART_MEDIA:
        wrong = on_media_complete(c);
        break;
    }
    if (!c->closed)
        buf_clear(&c->text);
    return wrong;
}

/* NULL, or what is wrong. The object may be closed on return. */
static const char *take_bytes(struct codec_child *c, struct slice in)
{
    const char *wrong = NULL;

    while (!wrong && !c->closed) {
        size_t n = (size_t)MIN(bytes_missing(c), in.n);

        buf_add(c->part == PART_MEDIA ? &c->media : &c->text, in.p, n);
        if (c->part == PART_MEDIA)
            c->media_left -= n;
        in = slice_skip(in, n);
        if (bytes_missing(c))
            break; /* the rest is on its way */
        wrong = on_part_complete(c);
    }
    return wrong;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct codec_child *c = h->data;

    *out = uv_buf_init((char *)c->bytes, sizeof(c->bytes));
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct codec_child *c = h->data;
    const char *wrong = NULL;

    if (n == 0)
        return;
    if (n > 0)
        wrong = take_bytes(c, slice_of(c->bytes, (size_t)n));
    if (c->closed || (n > 0 && !wrong))
        return;
    uv_read_stop(h);
    c->events.on_lost(wrong, c->arg);
}

/* ---- life ---- */

static struct codec_child *child_of_socket(struct loop *l, int fd)
{
    struct codec_child *c = xcalloc(1, sizeof(*c));

    uv_pipe_init(loop_uv(l), &c->pipe, 0);
    c->pipe.data = c;
    buf_init(&c->text, MSG_MAX_BODY);
    buf_init(&c->media, 0);
    int e = uv_pipe_open(&c->pipe, fd);
    assert(e == 0); /* a socket of ours, just made */
    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
    return c;
}

struct codec_child *codec_child_new(struct loop *l, const struct codec_child_events *events,
                                    void *arg, int *their_end, struct err *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        err_errno(err, RC_IO, errno, "socket pair for a codec");
        return NULL;
    }
    struct codec_child *c = child_of_socket(l, pair[0]);
    c->events = *events;
    c->arg = arg;
    *their_end = pair[1];
    return c;
}

static void on_closed(uv_handle_t *h)
{
    struct codec_child *c = h->data;

    buf_cleanup(&c->text);
    free(c);
}

void codec_child_close(struct codec_child *c)
{
    if (c->closed)
        return;
    c->closed = true;
    forget_output(c);
    uv_close((uv_handle_t *)&c->pipe, on_closed);
}
