/* media/timeline.h: repairs a source's clock once, so that nobody after it has to.
 *
 * In: frames whose times are as the sender wrote them (modulo 2^32 ms, 2^31 ms or 2^33
 * ticks, jumping, repeated, jittered by rounding to milliseconds). Out: the same frames
 * with unwrapped 90 kHz times on one clock for both tracks, dts strictly rising within
 * a track, pts >= dts, `discontinuity` set where the source really jumped.
 *
 *   wraps          unwrapped by signed difference; also at 2^31 (delivery.md a.4)
 *   jumps          back, or ahead by more than 10 s: discontinuity on both tracks, the
 *                  clock goes on one frame after the last
 *   repeats        a dts not above the last: moved to the last + 1 when within 1 s, else jump
 *   rounding       steady video cadence and AAC frame counts replace millisecond rounding, so
 *                  durations sum exactly; variable frame rate is left as sent
 *   late audio     kept on the common clock; never rebased apart from the video
 *
 * Ownership: heap object.   Threads: one.   Source: delivery.md a.4, b.8.
 */
#ifndef LEAT_MEDIA_TIMELINE_H
#define LEAT_MEDIA_TIMELINE_H

#include "media/frame.h"

struct timeline;

struct timeline_conf {
    int64_t in_rate; /* ticks a second of what comes in: 1000 (RTMP) or 90000 (TS) */
    int in_bits;     /* the counter wraps at 2^in_bits: 32 or 33 */
};

/* start: 90 kHz time that the first frame gets (a publisher that returns goes on where the
 * stream was). Frames come out through `out`, inside timeline_frame or one frame later. */
struct timeline *timeline_new(const struct timeline_conf *conf, int64_t start,
                              const struct frame_sink *out);
void timeline_track(struct timeline *t, enum track_kind kind, const struct track *track);
void timeline_frame(struct timeline *t, const struct frame *f);
void timeline_flush(struct timeline *t); /* hands out what it still holds */
void timeline_free(struct timeline *t);

struct timeline_stats {
    int64_t wraps, jumps, repeats, late_audio_ms_max;
};
void timeline_stats_get(const struct timeline *t, struct timeline_stats *out);

#endif
