/* base/err.h: how every fallible function of leat reports.
 *
 * A function that can fail returns `enum rc` and fills an optional `struct err`
 * with one sentence for a person. The code lets the caller choose what to do
 * (retry, next orchestrator, which HTTP status); the sentence travels up and
 * grows context on its way: "orchestrator https://a:8935: quote expired".
 *
 * Ownership: plain value, no heap.   Threads: pure.
 */
#ifndef LEAT_BASE_ERR_H
#define LEAT_BASE_ERR_H

#include "base/base.h"

/* One list makes the codes, their names and the HTTP status an answer carries. */
#define RC_LIST(X)                                                                                 \
    X(RC_OK, 200, "ok")                                                                            \
    X(RC_BAD_INPUT, 400, "bad input") /* the peer's bytes break a rule */                          \
    X(RC_DENIED, 403, "denied")       /* credentials, signature, secret */                         \
    X(RC_NOT_FOUND, 404, "not found")                                                              \
    X(RC_TIMEOUT, 504, "timed out") /* a wait for a peer ended */                                  \
    X(RC_EXISTS, 409, "exists already")                                                            \
    X(RC_LIMIT, 413, "over a limit")        /* a named limit, the sentence says which */           \
    X(RC_UNSUPPORTED, 422, "not supported") /* well-formed, but no retry will help */              \
    X(RC_BUSY, 503, "busy")                 /* full now, later may work */                         \
    X(RC_UNAVAILABLE, 503, "unavailable")   /* nobody can do it now */                             \
    X(RC_STALE, 410, "stale")               /* expired or superseded */                            \
    X(RC_CLOSED, 499, "closed")             /* the other side went away */                         \
    X(RC_CANCELLED, 499, "cancelled")       /* our side stopped it */                              \
    X(RC_IO, 500, "input/output failed")    /* disk, socket, child process */                      \
    X(RC_CRASHED, 500, "crashed")           /* a child process died on this input */               \
    X(RC_INTERNAL, 500, "internal error")   /* our own defect */

enum rc {
#define X(code, status, name) code,
    RC_LIST(X)
#undef X
        RC_COUNT
};

enum { ERR_TEXT_MAX = 480 };

struct err {
    enum rc code;
    char text[ERR_TEXT_MAX]; /* UTF-8, NUL-terminated, cut when too long */
};

/* Fills *err (when not NULL) and returns rc, so `return err_set(...)` reads well. */
enum rc err_set(struct err *err, enum rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Prefixes the sentence with "context: " and returns rc. */
enum rc err_wrap(struct err *err, enum rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* err_set with ": " and the text of errno value `errnum`. */
enum rc err_errno(struct err *err, enum rc rc, int errnum, const char *fmt, ...) PRINTF_LIKE(4, 5);

const char *rc_name(enum rc rc); /* "timed out" */
int rc_http_status(enum rc rc);  /* 504 */

#endif
