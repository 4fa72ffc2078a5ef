/* codec/codec_template.h: the running leat-codec template, as the client sees it.
 *
 * Starts it, starts it again when it ends, sends it what it should do and tells what
 * happened. Knows no jobs and no sessions.
 *
 * Ownership: _start/_stop.   Threads: loop; events come from the loop, never from a call.
 */
#ifndef LEAT_CODEC_CODEC_TEMPLATE_H
#define LEAT_CODEC_CODEC_TEMPLATE_H

#include "base/err.h"
#include "codec/message.h"
#include "net/loop.h"

struct codec_template;

struct codec_template_events {
    void (*on_ready)(void *arg); /* also after it executed itself anew */
    void (*on_opened)(const struct msg_opened *m, int TAKES pidfd, void *arg);
    void (*on_died)(const struct msg_died *m, void *arg);
    /* It ended, and its children with it; it is being started again. What was asked of it
     * is forgotten. */
    void (*on_gone)(void *arg);
};

/* program: its path. NULL and *err when it cannot be run. */
struct codec_template *codec_template_start(struct loop *l, const char *program,
                                            const struct codec_template_events *events, void *arg,
                                            struct err *err);
void codec_template_stop(struct codec_template *t); /* NULL is fine */

void codec_template_open(struct codec_template *t, const struct msg_open *m, int TAKES session_fd);
void codec_template_budget(struct codec_template *t, const struct msg_budget *m);

#endif
