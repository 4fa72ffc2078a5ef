/* media/frame.h: one coded picture or audio frame on its way through the node.
 *
 * Every source (RTMP, MPEG-TS) becomes frames; the timeline repairs their times
 * once; after it, times are exact and monotonic and nobody corrects them again.
 *
 *   video data: NAL units, each behind a 4-byte big-endian length (AVC form), without
 *               access unit delimiters; parameter sets are in the track
 *   audio data: one raw AAC frame without ADTS header
 *
 * Ownership: a frame holds one reference to its blob; frame_ref/frame_cleanup.
 */
#ifndef LEAT_MEDIA_FRAME_H
#define LEAT_MEDIA_FRAME_H

#include "base/blob.h"

enum { TICKS_PER_SECOND = 90000 }; /* all times after the timeline */
enum { MAX_FRAME_BYTES = 8 * 1024 * 1024 };

enum track_kind { TRACK_VIDEO, TRACK_AUDIO, TRACK_KINDS };
enum codec { CODEC_NONE, CODEC_H264, CODEC_AAC };

struct frame {
    enum track_kind kind;
    bool key;           /* IDR picture; true for all audio */
    bool discontinuity; /* set by the timeline: does not continue the frame before */
    int64_t dts, pts;   /* 90 kHz; unwrapped */
    int64_t duration;   /* 90 kHz; 0 when not known */
    struct blob *data;
};

static inline struct frame frame_ref(const struct frame *f)
{
    struct frame r = *f;
    r.data = blob_ref(f->data);
    return r;
}
static inline void frame_cleanup(struct frame *f)
{
    blob_unref(&f->data);
}

/* What a decoder must know before the first frame. Plain value with one blob reference. */
struct track {
    enum codec codec;          /* CODEC_NONE: the stream has no such track */
    struct blob *config;       /* AVCDecoderConfigurationRecord; AudioSpecificConfig */
    int width, height;         /* pixels shown, after cropping */
    int sample_rate, channels; /* Hz */
    double fps;                /* from the bitstream's timing; 0 when it tells none */
};

struct track track_ref(const struct track *t);
void track_cleanup(struct track *t);
bool track_same(const struct track *a, const struct track *b); /* same codec and config bytes */

/* "avc1.64001f", "mp4a.40.2" (delivery.md b.9); empty when codec is CODEC_NONE. */
enum { CODEC_STRING_MAX = 32 };
void track_codec_string(const struct track *t, char out[CODEC_STRING_MAX]);

/* Where frames go. Times are the sender's own until a timeline has seen them. */
struct frame_sink {
    void (*on_track)(enum track_kind kind, const struct track *t, void *arg); /* new or changed */
    void (*on_frame)(const struct frame *f, void *arg);                       /* ref to keep */
    void *arg;
};

#endif
