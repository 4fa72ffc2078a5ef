/* gateway/candidates.h: which orchestrators may be asked: the fixed list or the webhook's.
 *
 * The webhook is asked at start and each minute in the background; on failure the last
 * good list stays. Entries with a score strictly between 0 and 1 are used by nobody.
 * Source: video.md 7.1, 7.2.   Threads: loop.
 */
#ifndef LEAT_GATEWAY_CANDIDATES_H
#define LEAT_GATEWAY_CANDIDATES_H

#include "base/err.h"
#include "net/loop.h"
#include "net/web.h"

enum {
    MAX_CANDIDATES = 512,
    CANDIDATES_EVERY_MS = 60 * 1000,
    WEBHOOK_TIMEOUT_MS = 3000,
    MAX_WEBHOOK_BODY = 1024 * 1024
};

struct candidate {
    char *uri;    /* "https://host:8935" */
    bool trusted; /* score 1 or above */
};

struct candidates;

/* uris borrowed for the call; webhook_url NULL: the list is fixed. on_change when the list
 * was replaced by another. */
struct candidates *candidates_new(struct loop *l, struct web *web, const char *const *uris,
                                  const char *webhook_url, void (*on_change)(void *arg), void *arg);
void candidates_free(struct candidates *c);
size_t candidates_count(const struct candidates *c);
const struct candidate *candidates_at(const struct candidates *c, size_t i);

/* Why the list is empty or old; "" when all is well. */
const char *candidates_trouble(const struct candidates *c);

#endif
