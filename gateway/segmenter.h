/* gateway/segmenter.h: cuts a stream of exact frames into closed segments.
 *
 * A segment ends where a key frame begins, no earlier than the target length; a source
 * whose key frames are further apart gets longer ones, as far as the playlist may list them
 * (segmenter_limit): then it is cut where it must be, and the next one continues it. Audio only is
 * cut by length; it is held until it is sure that no video comes. The bytes are muxed and hashed as
 * frames arrive, so closing costs nothing.
 */
#ifndef LEAT_GATEWAY_SEGMENTER_H
#define LEAT_GATEWAY_SEGMENTER_H

#include "gateway/segment.h"

struct segmenter;

struct segmenter_conf {
    int64_t target; /* 90 kHz: 2 s */
    bool hash;      /* keccak of the bytes: only what goes to orchestrators needs it */
    /* TAKES the reference. Called inside segmenter_frame for the frame that closes it. msn and
     * seq are the callee's to set. */
    void (*on_segment)(struct segment *TAKES s, void *arg);
    void *arg;
};

/* A segment above SEGMENT_MAX_BYTES is dropped. */
enum {
    AUDIO_ONLY_AFTER_TICKS = 2 * TICKS_PER_SECOND, /* audio without any video track for so long */
    HELD_MAX_FRAMES = 512,                         /* of it; more, or more bytes, end the wait */
    HELD_MAX_BYTES = 512 * 1024
};

struct segmenter *segmenter_new(const struct segmenter_conf *conf);
void segmenter_track(struct segmenter *s, enum track_kind kind, const struct track *t);
void segmenter_frame(struct segmenter *s, const struct frame *f);
/* No segment of pictures lasts longer, 90 kHz; 0, as at first: no limit. */
void segmenter_limit(struct segmenter *s, int64_t longest);
void segmenter_flush(struct segmenter *s); /* closes the last segment, whatever its length */
void segmenter_free(struct segmenter *s);

#endif
