/* codec/program/cadence.h: when a rendition shows which frame.
 *
 * Times are in 1/90000 s. A segment's frames are measured as a whole. Where they come
 * regularly and at the rate that is asked, they pass one to one with their own times;
 * otherwise they are laid on a grid that starts at the segment's first frame.
 *
 * Threads: pure.   Source: issue of the first node, section 4; video.md 12.2 (fps).
 */
#ifndef LEAT_CODEC_PROGRAM_CADENCE_H
#define LEAT_CODEC_PROGRAM_CADENCE_H

#include "base/base.h"

enum { CLOCK_HZ = 90000 };

struct rate {
    uint32_t num, den; /* frames a second; num 0: as the source */
};

struct cadence {
    size_t frames;
    int64_t first; /* time of the first frame */
    int64_t last;
    int64_t end;  /* when the last frame's turn is over */
    bool regular; /* each frame within half an interval of its place */
};

/* Sorts the times. `only_frame_90k` is how long a single frame lasts. */
struct cadence cadence_measure(int64_t *times, size_t n, int64_t only_frame_90k);

/* The mean rate; 30 where a single frame tells none. */
struct rate cadence_rate(const struct cadence *c);

/* May these frames pass one to one when `asked` is wanted? */
bool cadence_passes(const struct cadence *c, struct rate asked);

/* The grid. Tick 0 is at c->first. */
int64_t grid_ticks(const struct cadence *c, struct rate grid);                 /* in the segment */
int64_t grid_tick_of(const struct cadence *c, struct rate grid, int64_t time); /* the nearest */
int64_t grid_time_of(const struct cadence *c, struct rate grid, int64_t tick);

#endif
