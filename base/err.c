#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *name;
} codes[RC_COUNT] = {
#define X(code, http_status, text) [code] = {http_status, text},
    RC_LIST(X)
#undef X
};

enum rc err_set(struct err *err, enum rc rc, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return rc;
    err->code = rc;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return rc;
}

enum rc err_wrap(struct err *err, enum rc rc, const char *fmt, ...)
{
    char context[ERR_TEXT_MAX], whole[2 * ERR_TEXT_MAX + 4];
    va_list ap;

    if (!err)
        return rc;
    va_start(ap, fmt);
    vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    snprintf(whole, sizeof(whole), "%s: %s", context, err->text);
    err->code = rc;
    snprintf(err->text, sizeof(err->text), "%.*s", ERR_TEXT_MAX - 1, whole);
    return rc;
}

enum rc err_errno(struct err *err, enum rc rc, int errnum, const char *fmt, ...)
{
    char reason[128];
    va_list ap;
    size_t n;

    if (!err)
        return rc;
    err->code = rc;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    n = strlen(err->text);
    snprintf(err->text + n, sizeof(err->text) - n, ": %s",
             strerror_r(errnum, reason, sizeof(reason)));
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
