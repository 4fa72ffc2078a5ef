/* output/playlist.h: the window of one rendition and the text of its media playlist.
 * Knows no network: segments in, text out. Source: delivery.md b.2, b.7; video.md 9.4. */
#ifndef LEAT_OUTPUT_PLAYLIST_H
#define LEAT_OUTPUT_PLAYLIST_H

#include "media/frame.h"
#include "output/history.h"
#include "output/shared_text.h"

/* Listed, and fetchable after leaving the window: for the window's length and their own, which is
 * more than twice the window where lengths differ. */
enum { PLAYLIST_KEPT = 3 * HLS_WINDOW, PLAYLIST_LEAST = 3 };

struct entry {
    struct moment at;
    int64_t duration;   /* 90 kHz, this rendition's own */
    struct blob *media; /* NULL: a gap, or dropped for want of memory */
    bool gap;
};

struct playlist {
    char name[PROFILE_NAME_MAX + 1];
    char *path; /* "/stream/NAME/RENDITION", escaped for URIs */
    const char *ext;
    int bitrate;                   /* asked, bits a second; 0: unknown */
    const struct history *history; /* the stream's */

    struct entry kept[PLAYLIST_KEPT];
    size_t n; /* kept; the last HLS_WINDOW of them are listed */
    bool ended;
    int64_t gaps;
    size_t bytes;

    struct track video, audio; /* of the newest segment that had media */
    double fps;
    int64_t peak_bps, sum_bits, sum_ticks; /* measured; sums over about an hour */

    struct shared_text text; /* rendered once per change */
};

void playlist_init(struct playlist *p, const struct history *history, const char *stream_path,
                   const struct playback_rendition_conf *conf);
void playlist_cleanup(struct playlist *p);

/* `at` is the history's moment of seg's number. RC_STALE, RC_EXISTS, RC_CLOSED; numbers left out
 * become gaps. */
MUST_CHECK enum rc playlist_add(struct playlist *p, const struct playback_segment *seg,
                                const struct moment *at, struct err *err);
void playlist_end(struct playlist *p);

/* Frees the oldest media: of what is listed no more, then of the list down to PLAYLIST_LEAST
 * entries, then of all but the newest. False: nothing is left to free. */
bool playlist_drop_oldest(struct playlist *p);

/* NULL without a segment. */
struct shared_text *playlist_text(struct playlist *p);
const struct entry *playlist_segment(const struct playlist *p, int64_t url_seq); /* or NULL */
bool playlist_has_media(const struct playlist *p); /* since its beginning */

/* BANDWIDTH and AVERAGE-BANDWIDTH: never below what was measured. */
void playlist_bandwidth(const struct playlist *p, int64_t *peak, int64_t *average);
int64_t playlist_average_bps(const struct playlist *p); /* as measured, 0: not yet */

#endif
