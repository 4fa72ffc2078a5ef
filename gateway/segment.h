/* gateway/segment.h: one closed piece of a live source, counted, unchanged once made.
 *
 * The segmenter (RTMP) or a push makes it; playback, the queue and every attempt hold
 * references. It begins with a key frame unless it is audio only.
 */
#ifndef LEAT_GATEWAY_SEGMENT_H
#define LEAT_GATEWAY_SEGMENT_H

#include "base/keccak.h"
#include "media/frame.h"
#include "media/profile.h"

struct segment {
    unsigned refs;
    int64_t msn; /* number in this stream's playlists */
    int64_t seq; /* number on the wire and in URLs: msn, or the one pushed */
    struct blob *media;
    struct hash hash; /* keccak-256 of media */
    enum container container;
    int64_t first_pts; /* 90 kHz, of the video (audio only: of the audio) */
    int64_t duration;  /* 90 kHz */
    bool discontinuity;
    int64_t wall_ms;           /* when its first frame came in */
    int64_t closed_ms;         /* monotonic: when it was complete */
    struct track video, audio; /* CODEC_NONE where it has none */
    double fps;
    int64_t clip_from_ms, clip_to_ms; /* Content-Slice-*; both 0: whole */
    bool reinit;                      /* the source changed: encoders start anew */
};

struct segment *segment_new(void); /* one reference, all zero */
struct segment *segment_ref(struct segment *s);
void segment_unref(struct segment **s);
int32_t segment_duration_ms(const struct segment *s); /* rounded, at least 1 */
static inline bool segment_has_video(const struct segment *s)
{
    return s->video.codec != CODEC_NONE;
}

#endif
