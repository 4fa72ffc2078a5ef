/* codec/codec_child.h: one sandboxed leat-codec child, as the client sees it.
 *
 * A socket on which one job at a time goes out and its renditions come back. The child
 * may have been taken over by what it decodes: all it says is checked, and what it may
 * send is bounded.
 *
 * Ownership: codec_child_new; gone when codec_child_close was called and libuv is done.
 * Threads: loop; events come from the loop, never from a call.
 */
#ifndef LEAT_CODEC_CODEC_CHILD_H
#define LEAT_CODEC_CODEC_CHILD_H

#include "base/blob.h"
#include "base/err.h"
#include "base/list.h"
#include "codec/message.h"
#include "net/loop.h"

enum { CODEC_MAX_OUTPUT_BYTES = 600 * 1000 * 1000 }; /* all renditions of one job */

struct codec_child;

struct codec_output {
    struct blob *media[MSG_MAX_RENDITIONS]; /* the child object's; ref what you keep */
    struct msg_rendition about[MSG_MAX_RENDITIONS];
    size_t n; /* they came in the order of the profiles */
};

struct codec_child_events {
    void (*on_done)(const struct msg_done *m, const struct codec_output *out, void *arg);
    /* The socket ended, or the child said what it may not say (why tells, NULL: ended). */
    void (*on_lost)(const char *why, void *arg);
};

/* *their_end: the descriptor to give to the child. NULL with *err without descriptors. */
struct codec_child *codec_child_new(struct loop *l, const struct codec_child_events *events,
                                    void *arg, int *their_end, struct err *err);

/* One job at a time. The segment is referenced until it is written. */
void codec_child_send(struct codec_child *c, const struct msg_job *job, struct blob *segment);

/* No event after this. An idle child ends by itself when its socket does. */
void codec_child_close(struct codec_child *c);

#endif
