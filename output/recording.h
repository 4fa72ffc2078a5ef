/* output/recording.h: keeps a live stream in an object store, in the reference's layout.
 *
 *   MANIFEST/NODE/TRACK/17.ts               each segment of source and renditions
 *   MANIFEST/NODE/playlist_<unix ns>.json   what there is; a new one after an hour of source
 *
 * The playlist is written again after segments were stored, at most one write at a time, and lists
 * each track in order. A segment that the store did not take is left out and logged.
 *
 * Ownership: recording_open/_close; close lets what is open end in the background.
 * Threads: loop.   Source: video.md 9.6.
 */
#ifndef LEAT_OUTPUT_RECORDING_H
#define LEAT_OUTPUT_RECORDING_H

#include "base/blob.h"
#include "store/objects.h"

enum { MAX_RECORDED_TRACKS = 32 };

struct recording;

struct recorded_track {
    const char *name;       /* "source", "P720p30fps16x9" */
    int64_t bandwidth;      /* bits per second; 0: not known */
    const char *resolution; /* "1280x720", NULL: not known */
};

struct recording_conf {
    struct objects *objects; /* its objects_free comes after recording_close */
    const char *manifest;
    const char *node;
    const struct recorded_track *tracks; /* the source first; copied */
    size_t n_tracks;                     /* at most MAX_RECORDED_TRACKS */
};

/* NULL and RC_BAD_INPUT: the names make no object's name, or there are too many tracks. */
struct recording *recording_open(const struct recording_conf *conf, struct err *err);

struct recorded_segment {
    size_t track;
    uint64_t seq;
    int64_t duration_ms;
    struct blob *body; /* referenced */
    bool is_mp4;       /* else MPEG-TS */
};
void recording_segment(struct recording *r, const struct recorded_segment *s);

/* NULL is fine. */
void recording_close(struct recording *r);

#endif
