/* codec/program/sandbox.h: what a child of leat-codec may still do.
 *
 * After sandbox_enter: read and write the descriptors that are open, memory up to a
 * limit, the clock. No file can be opened (EACCES: libraries that look for tables carry
 * on without), no socket, no process, no program, no executable memory, no privilege
 * gained, no core dump. Anything else ends the process (SIGSYS).
 *
 * The filter is compiled once, in the template; entering costs three system calls.
 * Builds with AddressSanitizer keep the filter, let through what the sanitizer needs to
 * report, and have no memory limit.
 */
#ifndef LEAT_CODEC_PROGRAM_SANDBOX_H
#define LEAT_CODEC_PROGRAM_SANDBOX_H

#include "base/err.h"

struct sandbox;

struct sandbox *sandbox_new(struct err *err);
void sandbox_free(struct sandbox *s);

/* Closes every descriptor but keep_fd, which becomes descriptor 3. */
void sandbox_close_descriptors(int keep_fd);

/* memory_bytes: what may be allocated on top of what the process has now. */
MUST_CHECK enum rc sandbox_enter(const struct sandbox *s, size_t memory_bytes, struct err *err);

#endif
