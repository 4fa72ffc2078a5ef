/* gateway/segment.h: one closed piece of a live source, counted, unchanged once made.
 *
 * The segmenter (RTMP) or a push makes it; playback, the queue and every attempt hold
 * references. It begins with a key frame unless it is audio only, or continues a group of pictures
 * that is longer than a segment may be (group.h).
 */
#ifndef LEAT_GATEWAY_SEGMENT_H
#define LEAT_GATEWAY_SEGMENT_H

#include "base/keccak.h"
#include "media/frame.h"
#include "media/profile.h"

enum { SEGMENT_MAX_BYTES = 64 * 1024 * 1024, SEGMENT_MAX_CUTS = 11 };

struct segment {
    unsigned refs;
    int64_t msn; /* number in this stream's playlists */
    int64_t seq; /* number on the wire and in URLs: msn, or the one pushed */
    struct blob *media;
    struct hash hash; /* keccak-256 of media; of one that continues: of all since the key frame */
    enum container container;
    int64_t first_pts; /* 90 kHz, of the video (audio only: of the audio) */
    int64_t duration;  /* 90 kHz */
    bool discontinuity;
    bool continues, cut_short; /* does not begin, end with a key frame */
    int64_t wall_ms;           /* when its first frame came in */
    int64_t closed_ms;         /* monotonic: when it was complete */
    struct track video, audio; /* CODEC_NONE where it has none */
    double fps;
    int64_t clip_from_ms, clip_to_ms; /* Content-Slice-*; both 0: whole */
    bool reinit;                      /* the source changed: encoders start anew */
    int64_t cuts[SEGMENT_MAX_CUTS];   /* of a joined group: first_pts of its further pieces */
    size_t n_cuts;
};

struct segment *segment_new(void); /* one reference, all zero */
struct segment *segment_ref(struct segment *s);
struct segment *segment_without_media(const struct segment *s); /* what playlists need of it */
void segment_unref(struct segment **s);
/* Differences of 33-bit clocks, signed. */
int64_t ticks_apart(int64_t a, int64_t b);
int32_t segment_duration_ms(const struct segment *s); /* rounded, at least 1 */
static inline bool segment_is_clip(const struct segment *s)
{
    return s->clip_from_ms > 0 || s->clip_to_ms > 0; /* one bound alone: from there, or up to it */
}
static inline bool segment_has_video(const struct segment *s)
{
    return s->video.codec != CODEC_NONE;
}

#endif
