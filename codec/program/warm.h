/* codec/program/warm.h: everything a segment needs, used once before the first fork.
 *
 * A child then finds its libraries' pages, tables and symbols in place and pays only for
 * what is its own. */
#ifndef LEAT_CODEC_PROGRAM_WARM_H
#define LEAT_CODEC_PROGRAM_WARM_H

#include "base/err.h"

/* Makes a segment of a few frames and transcodes it as a child would. RC_UNSUPPORTED when
 * the installed libraries lack a codec. */
MUST_CHECK enum rc warm_up(struct err *err);

#endif
