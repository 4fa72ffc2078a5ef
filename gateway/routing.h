/* gateway/routing.h: which orchestrator gets this segment; the one place that decides.
 *
 * One per stream. Asks all candidates at once when the stream starts, so the next one is
 * negotiated before it is needed; chooses, suspends and asks again by video.md 7.3 and 8.
 * Another policy replaces routing_pick() and routing_done() and nothing else.
 *
 * Differences from the reference, on purpose: good answers are used the moment they
 * come; a failed candidate is asked again in the background; the only candidate left is
 * used although suspended.
 */
#ifndef LEAT_GATEWAY_ROUTING_H
#define LEAT_GATEWAY_ROUTING_H

#include "base/err.h"
#include "gateway/candidates.h"
#include "gateway/session.h"

struct routing;

enum {
    MAX_POOL = 64, /* sessions of a stream; candidates beyond wait until another leaves the list */
    ROUTING_ENOUGH = 8,
    ROUTING_RETRY_MIN_MS = 500,
    ROUTING_RETRY_MAX_MS = 5000,
    ROUTING_ROUND_MS = 6000,
    SUSPENSION_WHY_MAX = 256,
    REFUSALS_LOGGED_A_MINUTE = 60 /* of the whole process; a stream's status has them all */
};

enum { HEDGE_CHANCES = 3, HEDGE_EARNED_PER_CHANCE = 4 };

struct routing_conf {
    struct loop *loop;
    struct http_client *client;
    struct candidates *candidates;
    struct caps need;
    const char *const *blocklist;
    int first_wait_ms; /* -discoveryTimeout */
    int extra_nodes;
    const struct log_tag *log;
    /* A session can be picked now, or the last hope went: jobs that wait look again. */
    void (*on_change)(void *arg);
    void *arg;
};

struct routing *routing_new(const struct routing_conf *conf);
void routing_free(struct routing *r);

/* The session for a segment of duration_ms; NULL when none is free. tried: ids of sessions that
 * this segment has been sent to. Borrowed, valid while a segment is in flight on it. */
struct session *routing_pick(struct routing *r, int64_t duration_ms, const uint64_t *tried,
                             size_t n_tried);

/* Bookkeeping of the segment in flight. */
void routing_sent(struct routing *r, struct session *s, int64_t duration_ms);

enum outcome {
    OUTCOME_GOOD,
    OUTCOME_BAD_INPUT, /* the segment's own fault: nobody is to blame */
    OUTCOME_FAILED,    /* suspended, leaves the pool */
    OUTCOME_CANCELLED  /* another was faster, or nobody waits any more */
};
/* round_trip_ms counts for OUTCOME_GOOD and, as a lower bound, for OUTCOME_CANCELLED. */
void routing_done(struct routing *r, struct session *s, enum outcome outcome, int64_t round_trip_ms,
                  int64_t duration_ms, const char *why);

/* May an overdue segment be sent to a second orchestrator too? Each costs one of a few chances,
 * which good answers earn back: when all are slow, sending everything twice makes them slower. */
bool routing_take_hedge(struct routing *r);

/* Nothing open and nobody being asked: `why` lists each candidate's reason with a remedy. */
bool routing_is_hopeless(struct routing *r, struct err *why);

/* Typical round trip of the last good segments in ms, 0 when unknown. */
int64_t routing_usual_ms(const struct routing *r);
/* What a segment sent now is to be reckoned with: the usual, or more where the best orchestrator
 * has lately taken more. 0: unknown. */
int64_t routing_expected_ms(const struct routing *r, int64_t duration_ms);

/* What became of each candidate, for pages: calls fn for every URI known. reason: why it failed or
 * is suspended, and when it is used again; "" else. Borrowed for the call. */
void routing_each(struct routing *r,
                  void (*fn)(const char *uri, const char *state, const char *reason,
                             const struct session *s, void *arg),
                  void *arg);

/* The candidates changed. */
void routing_refresh(struct routing *r);

#endif
