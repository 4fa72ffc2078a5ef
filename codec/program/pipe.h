/* codec/program/pipe.h: whole reads and writes on a blocking descriptor. */
#ifndef LEAT_CODEC_PROGRAM_PIPE_H
#define LEAT_CODEC_PROGRAM_PIPE_H

#include "base/slice.h"

/* False at the end of the stream, or on an error: the other side is gone. */
MUST_CHECK bool pipe_read(int fd, void *p, size_t n);
MUST_CHECK bool pipe_write(int fd, struct slice s);

#endif
