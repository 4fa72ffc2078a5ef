/* codec/program/session.h: a child's life: jobs in, renditions out, on one socket.
 * Runs inside the sandbox and never returns. Source: codec/message.h. */
#ifndef LEAT_CODEC_PROGRAM_SESSION_H
#define LEAT_CODEC_PROGRAM_SESSION_H

#include "base/base.h"

enum { SESSION_EXIT_PROTOCOL = 2, SESSION_EXIT_BROKEN = 3 };

NORETURN void session_serve(int fd);

#endif
