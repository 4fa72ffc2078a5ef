/* output/history.h: what all renditions of a stream agree on, by segment number.
 *
 * The first rendition to bring a number (the source) decides when it was, how long it lasts, what
 * its URL says and whether it continues what was before. The others repeat it, also where all they
 * have is a gap, so a player that switches meets the same numbers, dates and discontinuities.
 *
 * Ownership: plain value.   Threads: one.   Source: delivery.md b.2, b.8.
 */
#ifndef LEAT_OUTPUT_HISTORY_H
#define LEAT_OUTPUT_HISTORY_H

#include "output/playback.h"

enum { HISTORY_KEPT = 64 };

struct moment {
    int64_t msn, url_seq;
    int64_t duration; /* 90 kHz */
    int64_t wall_ms;
    bool discontinuity; /* before it */
};

struct history {
    struct moment kept[HISTORY_KEPT]; /* rising msn without holes */
    size_t n;
    int64_t discontinuities; /* in those that were dropped, and before the stream */
    int target_s;            /* TARGETDURATION: raised by the first moment, then fixed */
};

/* The moment of seg's number, made when it is new; NULL for one older than all that is kept.
 * Numbers left out get moments too, at most a window of them. Valid until the next call. */
const struct moment *history_note(struct history *h, const struct playback_segment *seg);

const struct moment *history_find(const struct history *h, int64_t msn); /* or NULL */

/* EXT-X-DISCONTINUITY-SEQUENCE of a list that begins with msn. */
int64_t history_discontinuities_before(const struct history *h, int64_t msn);

#endif
