/* output/recorded.h: JSON playlists of recordings (output/recording.h, or the reference's) joined
 * to playlists for viewers.
 *
 * Add the playlists of earlier sessions first, then those of the session asked for. Segments of a
 * session are ordered by number, whatever node wrote them, each number once; where one session
 * follows another there is a discontinuity. Reads no store: bytes in, text out.
 *
 * Ownership: recorded_new/_free.   Threads: pure.   Source: video.md 9.6.
 */
#ifndef LEAT_OUTPUT_RECORDED_H
#define LEAT_OUTPUT_RECORDED_H

#include "base/buf.h"
#include "base/err.h"

enum { MAX_JOINED_SEGMENTS = 500000, MAX_JOINED_TRACKS = 64, MAX_JOINED_SESSIONS = 1000 };

struct recorded;

struct recorded *recorded_new(void);
void recorded_free(struct recorded *r);

/* A playlist_*.json below `session` (a manifest id; all of one session after another). Segments
 * whose address does not lie below the session are left out. RC_BAD_INPUT names what is wrong,
 * RC_LIMIT the limit; nothing of such a playlist counts. */
MUST_CHECK enum rc recorded_add(struct recorded *r, const char *session, struct slice json,
                                struct err *err);

/* The multivariant playlist, for MANIFEST/index.m3u8. RC_NOT_FOUND: no track has a segment. */
MUST_CHECK enum rc recorded_index(const struct recorded *r, struct buf *out, struct err *err);

/* One track, for MANIFEST/TRACK.m3u8 of the session added last. Addresses are relative to it, or
 * begin with `base` where that is not NULL. RC_NOT_FOUND: no such track. */
MUST_CHECK enum rc recorded_track(struct recorded *r, const char *name, const char *base,
                                  struct buf *out, struct err *err);

#endif
