#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base_int.h"

static const struct {
    int status;
    const char *name;
} codes[RC_COUNT] = {
#define X(code, http_status, text) [code] = {http_status, text},
    RC_LIST(X)
#undef X
};

/* The sentence and its tail, cut between two characters. Formats beside err->text first,
 * since that may be among the arguments. */
PRINTF_LIKE(3, 0)
static void fill(struct err *err, enum rc rc, const char *fmt, va_list ap, const char *tail)
{
    char text[2 * ERR_TEXT_MAX] = "";
    size_t n;

    vsnprintf(text, sizeof(text), fmt, ap);
    n = strlen(text);
    snprintf(text + n, sizeof(text) - n, "%s", tail);
    n = utf8_cut(slice_str(text), ERR_TEXT_MAX - 1);
    memcpy(err->text, text, n);
    err->text[n] = '\0';
    err->code = rc;
}

enum rc err_set(struct err *err, enum rc rc, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return rc;
    va_start(ap, fmt);
    fill(err, rc, fmt, ap, "");
    va_end(ap);
    return rc;
}

enum rc err_wrap(struct err *err, enum rc rc, const char *fmt, ...)
{
    char tail[ERR_TEXT_MAX + 2];
    va_list ap;

    if (!err)
        return rc;
    snprintf(tail, sizeof(tail), ": %s", err->text);
    va_start(ap, fmt);
    fill(err, rc, fmt, ap, tail);
    va_end(ap);
    return rc;
}

enum rc err_errno(struct err *err, enum rc rc, int errnum, const char *fmt, ...)
{
    char reason[128], tail[160];
    va_list ap;

    if (!err)
        return rc;
    snprintf(tail, sizeof(tail), ": %s", strerror_r(errnum, reason, sizeof(reason)));
    va_start(ap, fmt);
    fill(err, rc, fmt, ap, tail);
    va_end(ap);
    return rc;
}

const char *rc_name(enum rc rc)
{
    assert(rc < RC_COUNT);
    return codes[rc].name;
}

int rc_http_status(enum rc rc)
{
    assert(rc < RC_COUNT);
    return codes[rc].status;
}
