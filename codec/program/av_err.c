#include "codec/program/av_err.h"

#include <libavutil/error.h>

enum rc av_err(struct err *err, enum rc rc, int averror, const char *what)
{
    char words[AV_ERROR_MAX_STRING_SIZE];

    if (averror == AVERROR(ENOMEM))
        return err_set(err, RC_LIMIT, "codec out of memory: %s", what);
    return err_set(err, rc, "%s: %s", what, av_make_error_string(words, sizeof(words), averror));
}
