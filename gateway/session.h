/* gateway/session.h: what one stream has negotiated with one orchestrator.
 *
 * GetOrchestrator asks with the job's need; the answer (where to send, token, what it
 * can do) is a session. It renews itself in the background before its token expires;
 * closing it says EndTranscodingSession. Answers are filtered here (video.md 7.4): every
 * refusal is a sentence.
 */
#ifndef LEAT_GATEWAY_SESSION_H
#define LEAT_GATEWAY_SESSION_H

#include "base/list.h"
#include "base/log.h"
#include "net/http_client.h"
#include "net/loop.h"
#include "wire/messages.h"

enum { GET_ORCHESTRATOR_TIMEOUT_MS = 6000, REFRESH_TIMEOUT_MS = 2500, SESSION_MAX_NODES = 8 };

enum session_state {
    SESSION_ASKING, /* GetOrchestrator is under way */
    SESSION_OPEN,   /* may take segments */
    SESSION_FAILED  /* refused or unreachable; `why` says */
};

struct session;

struct session_conf {
    struct loop *loop;
    struct http_client *client;
    const struct caps *need;      /* borrowed, outlives the session */
    const char *const *blocklist; /* lowercase hex, NULL ends; may be NULL */
    /* state became OPEN or FAILED, also after a renewal. */
    void (*on_change)(struct session *s, void *arg);
    void *arg;
};

struct session {
    struct list_node node; /* routing's */
    uint64_t id;           /* never used twice in a process */
    struct session_conf conf;
    struct log_tag log;
    enum session_state state;
    char *uri; /* as the candidate list names it */
    bool trusted;
    char transcoder[MAX_URI]; /* base of /segment */
    struct auth_token token;
    char version[CAPS_VERSION_MAX];
    char nodes[SESSION_MAX_NODES][256]; /* further instances it names */
    size_t n_nodes;
    struct err why;     /* of the last failure */
    int64_t latency_ms; /* of the last GetOrchestrator */
    int64_t asked_ms;

    /* routing's figures (video.md 8.2) */
    double score; /* round trip over duration; 0: unknown */
    int in_flight;
    int64_t oldest_sent_ms, oldest_duration_ms;
    bool held;     /* good answer, but suspended */
    bool unlisted; /* left the candidates: closed when nothing is in flight */
    int64_t segments, failures;
    char told[ERR_TEXT_MAX]; /* the last refusal that was logged; "" since it opened */

    struct http_call *call; /* private */
    struct timer *renew;
};

struct session *session_new(const struct session_conf *conf, const char *uri, bool trusted);
void session_free(struct session *s); /* tells an open one EndTranscodingSession */

/* Negotiates again now; what it has is used until the answer comes. */
void session_renew(struct session *s);

/* From an answer after a segment (video.md 4.7): perhaps another URI. Its token is the one the
 * segment carried, which may be older than what a renewal brought meanwhile. */
void session_refreshed(struct session *s, const struct orchestrator_info *info);

/* Its token is good for at least another `ms`. */
bool session_token_lasts(const struct session *s, int64_t ms);

#endif
