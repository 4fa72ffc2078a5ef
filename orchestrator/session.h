/* orchestrator/session.h: one gateway's stream here: its queue and its results.
 *
 * Segments of a session are transcoded strictly one after the other; a fifth that waits
 * is answered "OrchestratorBusy". Results stay in a ring of RESULTS_KEPT per rendition. A
 * session ends 70 s after its last use, or when the gateway says so.
 * Source: video.md 4.3, 11.6.
 */
#ifndef LEAT_ORCHESTRATOR_SESSION_H
#define LEAT_ORCHESTRATOR_SESSION_H

#include "orchestrator/orchestrator_int.h"

enum { RESULTS_KEPT = 12, SESSION_QUEUE = 4, SESSION_IDLE_MS = 70 * 1000 };

struct session;

/* One segment that waits or runs. */
struct work {
    struct list_node node;
    const struct seg_data *seg;         /* borrowed until on_done */
    struct blob *source;                /* likewise */
    void (*on_done)(struct work *w, const struct task_result *r);   /* once, from the loop */
};

/* Finds or makes the session a token names. NULL: OrchestratorCapped, with the figures in *err. */
struct session *session_use(struct orchestrator *o, const struct auth_token *token,
                            struct slice manifest_id, const char *peer, struct err *err);
struct session *session_find(struct orchestrator *o, struct slice id);
const struct log_tag *session_log(const struct session *s);

/* False: the queue is full. */
bool session_put(struct session *s, struct work *w);
void session_drop(struct session *s, struct work *w);      /* its gateway has gone */

void session_keep_result(struct session *s, const struct profile *p, int64_t seq,
                         struct blob *media);
/* "/stream/SESSION/PROFILE/SEQ.ts"; borrowed or NULL. */
struct blob *session_result(struct session *s, struct slice profile, struct slice file);

void session_end(struct session *s, const char *why);      /* frees */
/* A gateway at this address has work here: its renewals pass the session limit. */
bool sessions_have_peer(struct orchestrator *o, const char *peer);
bool sessions_are_full(const struct orchestrator *o);
int64_t sessions_limit(const struct orchestrator *o);
void sessions_status(struct orchestrator *o, struct json_out *j);
void sessions_end_all(struct orchestrator *o);
bool sessions_are_idle(struct orchestrator *o);

#endif
