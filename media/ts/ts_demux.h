/* media/ts/ts_demux.h: MPEG-TS bytes to frames (H.264, AAC in ADTS).
 *
 * Takes any cut of the bytes; finds sync, the first programme, its first video and
 * audio stream. Damage (lost packets, wrong counters, bad CRC) loses the frame it is in
 * and no more. Times are 90 kHz modulo 2^33 as sent; feed a timeline with them.
 *
 * One PES is one picture, as all live senders have it; it is told when its stated length is
 * there, else when the next begins. Pictures before the first parameter sets are left out:
 * nobody could decode them. A stream that the PMT no longer names ends with a track of
 * CODEC_NONE.
 *
 * Source: ISO/IEC 13818-1 2.4.   Threads: one.
 */
#ifndef LEAT_MEDIA_TS_DEMUX_H
#define LEAT_MEDIA_TS_DEMUX_H

#include "base/err.h"
#include "media/frame.h"

struct ts_demux;

struct ts_demux *ts_demux_new(const struct frame_sink *sink);
void ts_demux_free(struct ts_demux *d);

/* RC_BAD_INPUT when 64 KiB in a row hold no MPEG-TS, with what was found instead. */
MUST_CHECK enum rc ts_demux_feed(struct ts_demux *d, struct slice bytes, struct err *err);
void ts_demux_flush(struct ts_demux *d); /* end of input: the last frame */

/* One look at a whole segment, for pushes: what is in it, without keeping frames. */
struct ts_probe {
    bool has_video, has_audio; /* declared in the PMT */
    char video_codec[16];      /* "h264", "hevc", or "type 0x.." for an unknown one */
    struct track video, audio; /* codec NONE when no parameter set was found */
    int video_frames, key_frames, audio_frames; /* video not H.264: PES with a time; no keys */
    int64_t first_pts, duration; /* 90 kHz of the video, else audio; -1 without frames */
    int64_t first_video_pts;
};
MUST_CHECK enum rc ts_probe(struct slice segment, struct ts_probe *out, struct err *err);
void ts_probe_cleanup(struct ts_probe *p);

#endif
