/* codec/message.h: what the client, the template and the children of leat-codec say.
 *
 * Two conversations use one form: a head of four bytes (kind, length of the body in
 * 24 bits, big endian) and a body. Media bytes follow a JOB or RENDITION as they are,
 * as many as its body says.
 *
 *   control socket (SOCK_SEQPACKET, one message a packet), client and template:
 *     READY    <-  the template is warm; again after each re-execution
 *     OPEN      -> fork a child; carries the child's end of a socket pair
 *     OPENED   <-  its process id; carries a pidfd
 *     DIED     <-  reaped, with the status of wait(2)
 *     BUDGET    -> processor seconds the child may use from now on
 *   session socket (SOCK_STREAM), client and child:
 *     JOB       -> one segment and what to make of it, then the segment's bytes
 *     RENDITION <- one result, then its bytes; as soon as it is complete
 *     DONE     <-  the job is over
 *
 * Either side may be hostile (a child may have been taken over by what it decodes), so
 * every field meets a limit in the decoder.
 *
 * Ownership: plain values, no heap.   Threads: pure.   Fuzzed: tests/fuzz/fuzz_codec_message.c
 */
#ifndef LEAT_CODEC_MESSAGE_H
#define LEAT_CODEC_MESSAGE_H

#include "base/buf.h"
#include "base/err.h"
#include "media/profile.h"

enum msg_kind {
    MSG_READY = 1,
    MSG_OPEN,
    MSG_OPENED,
    MSG_DIED,
    MSG_BUDGET,
    MSG_JOB,
    MSG_RENDITION,
    MSG_DONE
};

enum {
    MSG_HEAD_BYTES = 4,
    MSG_MAX_BODY = 4096, /* ten profiles with the longest names are 1700 bytes */
    MSG_MAX_SEGMENT = 300 * 1000 * 1000,
    MSG_MAX_RENDITIONS = MAX_PROFILES,
    MSG_MAX_ID = 64,
    MSG_MAX_TEXT = 240,
    MSG_MAX_SIDE = 16384, /* pixels */
    MSG_MAX_DURATION_MS = 300 * 1000
};

struct msg_head {
    enum msg_kind kind;
    uint32_t body_bytes;
};

struct msg_open {
    uint32_t session; /* the client's number, comes back in OPENED */
    uint64_t memory_limit_bytes;
    char id[MSG_MAX_ID + 1]; /* becomes the process's name */
};

struct msg_opened {
    uint32_t session;
    int32_t pid; /* negative: -errno, there is no child */
};

struct msg_died {
    int32_t pid;
    int32_t status;
};

struct msg_budget {
    int32_t pid;
    uint32_t cpu_s;
};

struct msg_job {
    int64_t seq;
    int32_t duration_ms; /* declared by the sender; 0: unknown */
    bool reinit;         /* forget encoders and decoder first */
    int64_t clip_from_ms, clip_to_ms;
    uint64_t segment_bytes;
    size_t n_profiles;
    struct profile profiles[MSG_MAX_RENDITIONS];
};

struct msg_rendition {
    uint32_t index; /* into the job's profiles */
    int32_t width, height, frames;
    int64_t pixels;
    uint64_t bytes;
};

struct msg_done {
    enum rc rc;
    int64_t decoded_pixels;
    char text[MSG_MAX_TEXT + 1];   /* the network's error text, alone; empty with RC_OK */
    char detail[MSG_MAX_TEXT + 1]; /* why, for the log */
};

MUST_CHECK enum rc msg_head_decode(struct slice four_bytes, struct msg_head *out, struct err *err);

/* Each _encode appends head and body; each _decode reads a whole body and nothing else. */
void msg_ready_encode(struct buf *b);
void msg_open_encode(struct buf *b, const struct msg_open *m);
void msg_opened_encode(struct buf *b, const struct msg_opened *m);
void msg_died_encode(struct buf *b, const struct msg_died *m);
void msg_budget_encode(struct buf *b, const struct msg_budget *m);
void msg_job_encode(struct buf *b, const struct msg_job *m);
void msg_rendition_encode(struct buf *b, const struct msg_rendition *m);
void msg_done_encode(struct buf *b, const struct msg_done *m);

MUST_CHECK enum rc msg_open_decode(struct slice body, struct msg_open *out, struct err *err);
MUST_CHECK enum rc msg_opened_decode(struct slice body, struct msg_opened *out, struct err *err);
MUST_CHECK enum rc msg_died_decode(struct slice body, struct msg_died *out, struct err *err);
MUST_CHECK enum rc msg_budget_decode(struct slice body, struct msg_budget *out, struct err *err);
MUST_CHECK enum rc msg_job_decode(struct slice body, struct msg_job *out, struct err *err);
MUST_CHECK enum rc msg_rendition_decode(struct slice body, struct msg_rendition *out,
                                        struct err *err);
MUST_CHECK enum rc msg_done_decode(struct slice body, struct msg_done *out, struct err *err);

#endif
