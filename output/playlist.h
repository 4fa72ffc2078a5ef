/* output/playlist.h: the window of one rendition and the text of its media playlist.
 * Knows no network: segments in, text out. Source: delivery.md b.2; video.md 9.4. */
#ifndef LEAT_OUTPUT_PLAYLIST_H
#define LEAT_OUTPUT_PLAYLIST_H

#include "base/buf.h"
#include "output/playback.h"

/* Listed, and fetchable after leaving the window for its length and their own (HLS 6.2.2). */
enum { PLAYLIST_KEPT = 2 * HLS_WINDOW + 1 };

struct entry {
    int64_t msn, url_seq;
    int64_t duration;           /* 90 kHz */
    int64_t wall_ms;
    bool discontinuity;
    struct blob *media;         /* NULL: GAP */
};

struct playlist {
    char name[PROFILE_NAME_MAX + 1];
    char *path;                 /* "/stream/NAME/RENDITION", escaped for URIs */
    const char *ext;            /* ".ts" */
    int target_duration;        /* seconds, fixed */
    int bitrate;                /* asked, bits a second; 0: unknown */

    struct entry kept[PLAYLIST_KEPT];
    size_t n;                   /* kept; the last HLS_WINDOW of them are listed */
    int64_t discontinuities;    /* removed from the window so far */
    bool ended;
    int64_t gaps;
    size_t bytes;

    struct track video, audio;  /* of the newest segment */
    double fps;
    int64_t peak_bps, sum_bits, sum_ticks;   /* measured since the start */

    struct blob *text, *gzip;   /* rendered once per change, shared */
};

void playlist_init(struct playlist *p, const char *stream_path, const char *name,
                   enum container container, int bitrate, int target_duration,
                   int64_t discontinuities);
void playlist_cleanup(struct playlist *p);

/* RC_STALE, RC_EXISTS; numbers left out become gaps as long as `duration` says. */
MUST_CHECK enum rc playlist_add(struct playlist *p, const struct playback_segment *seg,
                                struct err *err);
void playlist_end(struct playlist *p);
void playlist_drop_oldest(struct playlist *p);          /* out of the list's reach first */
struct blob *playlist_text(struct playlist *p);         /* borrowed; NULL without a segment */
struct blob *playlist_segment(const struct playlist *p, int64_t url_seq); /* borrowed, or NULL */

/* BANDWIDTH and AVERAGE-BANDWIDTH: never below what was measured. */
void playlist_bandwidth(const struct playlist *p, int64_t *peak, int64_t *average);

#endif
