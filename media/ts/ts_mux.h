/* media/ts/ts_mux.h: frames to MPEG-TS, segment by segment.
 *
 * Each segment starts with PAT, PMT, then an access unit with delimiter and, on key
 * frames, SPS and PPS; PCR at least each 100 ms; continuity counters run on across
 * segments; PTS wrap at 2^33. Bytes appear as frames arrive (nothing is done at the
 * end of a segment), so hashing can follow.
 * Video PID 0x100, audio PID 0x101, PMT 0x1000. AAC frames are grouped into PES of up to
 * 200 ms (100 ms without video). A PES carries exactly its frame's times; no offset is added.
 * Instead PCR runs 700 ms behind the dts it comes with, so that data is there before its time;
 * a stream whose times begin below 63000 begins with PCR values just below 2^33.
 * Source: ISO/IEC 13818-1 2.4; delivery.md b.5.   Threads: one.
 */
#ifndef LEAT_MEDIA_TS_MUX_H
#define LEAT_MEDIA_TS_MUX_H

#include "base/buf.h"
#include "base/err.h"
#include "media/frame.h"

struct ts_mux;

struct ts_mux *ts_mux_new(void);
void ts_mux_free(struct ts_mux *m);

/* A track the following segments have; CODEC_NONE removes it. Takes effect at the next
 * ts_mux_begin. */
void ts_mux_track(struct ts_mux *m, enum track_kind kind, const struct track *t);

/* Starts a segment: PAT and PMT are appended to out. discontinuity sets the PCR's indicator. */
void ts_mux_begin(struct ts_mux *m, struct buf *out, bool discontinuity);
void ts_mux_frame(struct ts_mux *m, const struct frame *f, struct buf *out);
void ts_mux_end(struct ts_mux *m, struct buf *out); /* audio still being grouped */

#endif
