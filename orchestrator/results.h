/* orchestrator/results.h: the renditions of one session, for its gateway to fetch.
 *
 * As in the reference, the last RESULTS_KEPT of each rendition stay (video.md 4.3). Names come
 * from a stranger: at most MAX_SHELVES of them are kept, the oldest goes.
 *
 * Ownership: init/cleanup on the session's memory.   Threads: loop.
 */
#ifndef LEAT_ORCHESTRATOR_RESULTS_H
#define LEAT_ORCHESTRATOR_RESULTS_H

#include "base/blob.h"
#include "media/profile.h"

enum { RESULTS_KEPT = 12, MAX_SHELVES = 2 * MAX_PROFILES };

struct result {
    int64_t seq;
    struct blob *media, *phash; /* NULL: none */
};

struct shelf { /* of one rendition */
    char name[PROFILE_NAME_MAX + 1];
    enum container container;
    struct result ring[RESULTS_KEPT];
    size_t n; /* ever kept */
};

struct results {
    struct shelf *shelves[MAX_SHELVES];
    size_t n; /* ever made */
};

void results_cleanup(struct results *r);
/* References both; phash may be NULL. */
void results_keep(struct results *r, const struct profile *p, int64_t seq, struct blob *media,
                  struct blob *phash);
/* file: "17.ts" or "17.ts.phash". Borrowed, or NULL. */
struct blob *results_find(const struct results *r, struct slice name, struct slice file);

#endif
