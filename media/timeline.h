/* media/timeline.h: repairs a source's clock once, so that nobody after it has to.
 *
 * In: frames whose times are as the sender wrote them (modulo 2^32 ms, 2^31 ms or 2^33
 * ticks, jumping, repeated, jittered by rounding to milliseconds). Out: the same frames
 * with unwrapped 90 kHz times on one clock for both tracks, dts strictly rising within
 * a track, pts >= dts, `discontinuity` set where the source really jumped.
 *
 *   wraps          unwrapped by signed difference; also at 2^31 (delivery.md a.4)
 *   jumps          back by more than 1 s, or ahead by more than 10 s: discontinuity on both
 *                  tracks, the clock goes on one frame after the last. The first frame that
 *                  jumps waits for the next one's word: alone, it only had a wrong stamp
 *   repeats        a dts not above the last: moved to the last + 1 when within 1 s, else jump
 *   rounding       steady video cadence and AAC frame counts replace millisecond rounding, so
 *                  durations sum exactly (cadence.h); variable frame rate is left as sent, and
 *                  so is what came in 90 kHz
 *   reordering     a sender whose pts fall before dts has its dts moved back, once; pts stay
 *   late audio     kept on the common clock; never rebased apart from the video, unless their
 *                  clocks are more than 10 s apart and so have nothing in common
 *
 * Nothing else is held back: a key frame comes out in the call that brought it. A frame's
 * duration is told where the cadence knows it (all audio, steady video), else it is 0.
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

/* start: 90 kHz time that the first frame gets, and none is before it (a publisher that returns
 * goes on where the stream was). Frames come out through `out`, inside timeline_frame; one that
 * jumps with the next frame of its track, or with timeline_flush. A track that is the same again
 * is not passed on. */
struct timeline *timeline_new(const struct timeline_conf *conf, int64_t start,
                              const struct frame_sink *out);
void timeline_track(struct timeline *t, enum track_kind kind, const struct track *track);
void timeline_frame(struct timeline *t, const struct frame *f);
void timeline_flush(struct timeline *t); /* hands out what it still holds */
void timeline_free(struct timeline *t);

struct timeline_stats {
    int64_t wraps, jumps, repeats; /* repeats: also stamps that were wrong for one frame */
    int64_t late_audio_ms_max;     /* how far sound was behind the pictures sent before it */
};
void timeline_stats_get(const struct timeline *t, struct timeline_stats *out);

#endif
