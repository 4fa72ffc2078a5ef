/* output/playback.h: HLS of live streams at the reference's URLs, from memory.
 *
 * The gateway tells it about streams, renditions and segments; it renders each playlist
 * once per change and answers viewers. One copy of the media: blobs are referenced.
 *
 *   /stream/NAME.m3u8                 multivariant playlist
 *   /stream/NAME/RENDITION.m3u8       media playlist, window of HLS_WINDOW segments
 *   /stream/NAME/RENDITION/SEQ.ts     segment
 *   /stream/current.m3u8              newest stream, when allowed
 *
 * Numbers: every rendition of a stream shows the same MEDIA-SEQUENCE for the same content;
 * EXT-X-MEDIA-SEQUENCE is the segment's own number `msn`. A rendition's segment that is known
 * to be lost is a GAP. TARGETDURATION is fixed with the first segment. Segments stay fetchable
 * after leaving the window for the window's length and their own, as far as memory allows.
 * A playlist that has nothing to list yet is held until it has: 9.5 s for the stream's first
 * segment, then 404; up to 3 target durations for a rendition's, then 503. So a stream is opened
 * when its publisher comes, and players that start with it find it.
 * Source: video.md 9.4; delivery.md b.2, b.3 (no directives here), b.6, b.7.
 */
#ifndef LEAT_OUTPUT_PLAYBACK_H
#define LEAT_OUTPUT_PLAYBACK_H

#include "base/blob.h"
#include "base/buf.h"
#include "media/frame.h"
#include "media/profile.h"
#include "net/http_server.h"

enum { HLS_WINDOW = 6, HLS_MAX_RENDITIONS = 16 };

struct playback; /* all streams of a gateway */
struct playback_stream;

struct playback_conf {
    bool current_manifest;       /* -currentManifest */
    size_t max_bytes_per_stream; /* media kept; 0: 256 MiB. Oldest go first, the newest never */
    int first_wait_ms;           /* for a stream's first segment; 0: 9500 */
};

struct playback *playback_new(struct loop *l, const struct playback_conf *conf);
void playback_free(struct playback *p);

/* True when the path belongs to playback: x was or will be answered (GET, HEAD, OPTIONS;
 * ranges, CORS, content types, cache headers, gzip of playlists). */
bool playback_handle(struct playback *p, struct http_exchange *x);

struct playback_stream_conf {
    const char *name;               /* "demo" */
    double target_duration_s;       /* at least; a longer first segment decides (rounded) */
    int64_t first_msn;              /* goes on where an earlier run stopped */
    int64_t discontinuity_sequence; /* before the first segment */
};

/* A name that exists and has ended is replaced. NULL when it is live. */
struct playback_stream *playback_stream_open(struct playback *p,
                                             const struct playback_stream_conf *conf);

/* Rendition 0 is the source. bitrate 0: measured from the first segments on; otherwise what was
 * asked (bits a second of video; container and audio are added). Renditions appear in
 * the multivariant playlist with their first segment. Returns its index. */
struct playback_rendition_conf {
    const char *name; /* "source", "P240p30fps16x9" */
    enum container container;
    int bitrate;
};
int playback_rendition_add(struct playback_stream *s, const struct playback_rendition_conf *conf);

struct playback_segment {
    int64_t msn;                       /* media sequence number, same in all renditions */
    int64_t url_seq;                   /* number in the URL: the pushed number, else msn. One that
                                          does not rise gets the next that does */
    int64_t duration;                  /* 90 kHz */
    bool discontinuity;                /* before this segment */
    bool continues;                    /* does not begin with a key frame */
    int64_t wall_ms;                   /* when its first frame was taken in; PROGRAM-DATE-TIME */
    struct blob *media;                /* NULL: GAP */
    const struct track *video, *audio; /* what it holds: CODECS, RESOLUTION, FRAME-RATE */
    double fps;                        /* of this segment, measured; 0: unknown */
};

/* Must come in rising msn per rendition for a live window; a segment older than what is
 * listed is refused (RC_STALE), a duplicate too (RC_EXISTS). A rendition that missed numbers
 * gets GAPs for them. url_seq, wall_ms and discontinuity count when the number is new to the
 * stream; later renditions repeat what the first said. */
MUST_CHECK enum rc playback_segment_add(struct playback_stream *s, int rendition,
                                        const struct playback_segment *seg, struct err *err);

/* TARGETDURATION, in seconds: no segment may last half a second longer. */
int playback_target_s(const struct playback_stream *s);

/* ENDLIST on this rendition's playlist: its last segment is in. */
void playback_rendition_end(struct playback_stream *s, int rendition);

/* ENDLIST on all playlists; viewers can fetch the rest for twice the window's length, then 404.
 * s is playback's own from here on and may be gone at any time: do not use it again. */
void playback_stream_end(struct playback_stream *TAKES s);

/* Gone at once (a stream replaced or refused). */
void playback_stream_close(struct playback_stream *TAKES s);

/* A rendition's newest segment bytes; NULL when none. Borrowed. For previews and pages. */
struct blob *playback_latest(struct playback_stream *s, int rendition, int64_t *msn);

/* For pages: measured over the window. */
struct playback_rendition_stats {
    const char *name;
    int width, height;
    double fps;
    int64_t peak_bps, average_bps;
    int64_t last_msn;
    int64_t gaps;
    size_t bytes_kept;
};
size_t playback_stats(const struct playback_stream *s,
                      struct playback_rendition_stats out[HLS_MAX_RENDITIONS]);

/* For tests: the text of a playlist as served now; path is not percent-encoded. */
MUST_CHECK bool playback_text(struct playback *p, const char *path, struct buf *out);

#endif
