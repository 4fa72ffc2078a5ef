#include "codec/program/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/message.h"
#include "codec/program/pipe.h"
#include "codec/program/transcode.h"

struct session {
    int fd;
    struct transcoder *transcoder;
};

/* The client is gone, or nobody can be told anything any more. _exit: no library's
 * clean-up has a right to run here. */
static NORETURN void leave(int status)
{
    _exit(status);
}

static void send_message(struct session *s, struct buf *b)
{
    bool sent = pipe_write(s->fd, buf_slice(b));

    buf_cleanup(b);
    if (!sent)
        leave(0);
}

static void send_done(struct session *s, enum rc rc, int64_t decoded_pixels, const struct err *err)
{
    struct msg_done m = {.rc = rc, .decoded_pixels = decoded_pixels};
    const char *why = rc == RC_OK ? "" : err->text, *colon = strstr(why, ": ");
    struct buf b;

    snprintf(m.text, sizeof(m.text), "%.*s", colon ? (int)(colon - why) : MSG_MAX_TEXT, why);
    snprintf(m.detail, sizeof(m.detail), "%.*s", MSG_MAX_TEXT, colon ? colon + 2 : "");
    buf_init(&b, MSG_HEAD_BYTES + MSG_MAX_BODY);
    msg_done_encode(&b, &m);
    send_message(s, &b);
}

static enum rc send_rendition(size_t index, const struct rendition_result *r, void *arg,
                              struct err *err)
{
    struct session *s = arg;
    struct msg_rendition m = {.index = (uint32_t)index,
                              .width = r->width,
                              .height = r->height,
                              .frames = r->frames,
                              .pixels = r->pixels,
                              .bytes = r->media.n};
    struct buf b;

    buf_init(&b, MSG_HEAD_BYTES + MSG_MAX_BODY);
    msg_rendition_encode(&b, &m);
    send_message(s, &b);
    if (!pipe_write(s->fd, r->media))
        leave(0);
    return RC_OK;
}

static void do_job(struct session *s, const struct msg_job *job)
{
    size_t n = (size_t)job->segment_bytes;
    uint8_t *bytes = try_malloc(MAX(n, 1), MSG_MAX_SEGMENT);
    struct err err = {.text = ""};
    int64_t decoded_pixels = 0;
    enum rc rc;

    if (!bytes) {
        rc = err_set(&err, RC_LIMIT, "codec out of memory: a segment of %zu bytes", n);
    } else {
        if (!pipe_read(s->fd, bytes, n))
            leave(0);
        rc = transcoder_run(s->transcoder, job, slice_of(bytes, n), send_rendition, s,
                            &decoded_pixels, &err);
    }
    free(bytes);
    send_done(s, rc, decoded_pixels, &err);
    if (rc == RC_LIMIT || rc == RC_INTERNAL)
        leave(SESSION_EXIT_BROKEN); /* what such a failure leaves behind is not worth keeping */
}

static void next_job(struct session *s)
{
    uint8_t head_bytes[MSG_HEAD_BYTES], body[MSG_MAX_BODY];
    struct msg_head head;
    struct msg_job job;

    if (!pipe_read(s->fd, head_bytes, sizeof(head_bytes)))
        leave(0);
    if (msg_head_decode(slice_of(head_bytes, sizeof(head_bytes)), &head, NULL) != RC_OK ||
        head.kind != MSG_JOB)
        leave(SESSION_EXIT_PROTOCOL);
    if (!pipe_read(s->fd, body, head.body_bytes))
        leave(0);
    if (msg_job_decode(slice_of(body, head.body_bytes), &job, NULL) != RC_OK)
        leave(SESSION_EXIT_PROTOCOL);
    do_job(s, &job);
}

NORETURN void session_serve(int fd)
{
    struct session s = {.fd = fd, .transcoder = transcoder_new()};

    for (;;)
        next_job(&s);
}
