/* orchestrator/session.h: one gateway's stream here: its place, its queue, its results.
 *
 * Segments of a session are transcoded strictly one after the other; a fifth that waits is
 * answered "OrchestratorBusy". A session ends 70 s after its last use, or when its gateway
 * says so. A gateway renews its token shortly before it expires and goes on under a new id
 * (video.md 3.4): the new session takes the old one's place, also where all places are taken,
 * and the old one is kept a little, for results that are still to be fetched.
 *
 * Source: video.md 3.4, 4.3, 11.6.   Threads: loop.
 */
#ifndef LEAT_ORCHESTRATOR_SESSION_H
#define LEAT_ORCHESTRATOR_SESSION_H

#include "orchestrator/orchestrator_int.h"

enum { SESSION_QUEUE = 4, SESSION_IDLE_MS = 70 * 1000 };

struct session;

/* One segment that waits or runs. */
struct work {
    struct list_node node;
    const struct seg_data *seg;                                   /* borrowed until on_done */
    struct blob *source;                                          /* likewise */
    void (*on_done)(struct work *w, const struct task_result *r); /* once, unless dropped */
};

/* Finds or makes the session that a checked token names, and holds it for one upload. NULL:
 * RC_BUSY with the network's text; who was refused and why is logged. */
struct session *session_use(struct orchestrator *o, const struct auth_token *token,
                            struct slice manifest_id, const char *peer, struct err *err);
struct session *session_find(struct orchestrator *o, struct slice id);
const struct log_tag *session_log(const struct session *s);

/* The upload is queued or has failed. A session that never got a whole segment ends here. */
void session_release(struct session *s);

/* False: the queue is full. */
bool session_put(struct session *s, struct work *w);
/* Its gateway has gone. Work that runs is stopped at its worker too. */
void session_drop(struct session *s, struct work *w);

void session_keep(struct session *s, const struct profile *p, int64_t seq, struct blob *media,
                  struct blob *phash);
/* "/stream/SESSION/PROFILE/SEQ.ts"; borrowed or NULL. */
struct blob *session_result(const struct session *s, struct slice profile, struct slice file);

void session_end(struct session *s, const char *why); /* frees */

/* --- all of them --- */

/* Places there are: -maxSessions, and no more than the workers take. */
int64_t sessions_limit(const struct orchestrator *o);
int64_t sessions_live(const struct orchestrator *o);
/* A gateway at this address has a session whose token is about to expire. */
bool sessions_may_renew(const struct orchestrator *o, const char *peer);
/* Segments under way, uploads included. */
size_t sessions_working(const struct orchestrator *o);
/* One was used within least_ms, or within `factor` times the length of its segments. */
bool sessions_go_on(const struct orchestrator *o, int64_t least_ms, int factor);
void sessions_status(const struct orchestrator *o, struct json_out *j);
void sessions_end_all(struct orchestrator *o);

#endif
