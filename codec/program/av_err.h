/* codec/program/av_err.h: FFmpeg's error numbers as ours. */
#ifndef LEAT_CODEC_PROGRAM_AV_ERR_H
#define LEAT_CODEC_PROGRAM_AV_ERR_H

#include "base/err.h"

/* "what: FFmpeg's words". Memory that ran out is RC_LIMIT, whatever failed on it. */
enum rc av_err(struct err *err, enum rc rc, int averror, const char *what);

#endif
