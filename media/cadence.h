/* media/cadence.h: the steady beat behind times that were rounded to milliseconds.
 *
 * A camera at 29.97 Hz arrives over RTMP as steps of 33 and 34 ms. A cadence finds the
 * period (from the bitstream's own timing, or by watching), and gives each frame its
 * place on the grid anchor + n * period, exactly. Times that are on no grid come out as
 * they were sent. It never looks ahead and holds nothing back.
 *
 * Ownership: plain values.   Threads: one.   Source: delivery.md a.4, AUTH 8.1 there.
 */
#ifndef LEAT_MEDIA_CADENCE_H
#define LEAT_MEDIA_CADENCE_H

#include "base/base.h"

/* Times at + n * num / den, rounded to whole ticks of 90 kHz. */
struct grid {
    int64_t num, den; /* one period; num 0: there is no grid */
    int64_t at, n;    /* n: the place of the last frame, kept below den */
};

enum { CADENCE_GUESSES = 24 };

struct guess {
    int64_t last;      /* place of the last frame on this grid */
    int64_t low, high; /* distances from it, so far */
    int single;        /* frames one place after the one before */
    bool alive;
};

struct video_cadence {
    int64_t unit;               /* ticks that times were rounded to; 1: they are exact */
    int64_t hint_num, hint_den; /* period that the bitstream tells; 0: none */
    bool started;
    struct grid grid;
    int64_t step; /* places from frame to frame, the smaller of the last two */
    int64_t last_step;
    uint32_t misses;             /* of the last frames, newest in bit 0 */
    int64_t drift, drift_frames; /* how far the grid was led in this window */
    struct guess guess[CADENCE_GUESSES];
    int64_t first, seen; /* of the frames that the guesses are held against */
    int64_t last_sent, last_delta;
};

void video_cadence_init(struct video_cadence *c, int64_t unit);
/* The track began or changed; fps 0 when it tells none. Times start anew with the next frame. */
void video_cadence_start(struct video_cadence *c, double fps);
/* The dts to use for one that was sent; *duration is 0 when not known. */
int64_t video_cadence_next(struct video_cadence *c, int64_t sent, int64_t *duration);
/* A pts on the same grid, or as sent when it is on none. */
int64_t video_cadence_snap(const struct video_cadence *c, int64_t sent);
/* From here on dts come earlier by at least `by`; returns by how much: whole periods. */
int64_t video_cadence_delay(struct video_cadence *c, int64_t by);

struct audio_cadence {
    int64_t unit;
    struct grid grid;
    int64_t low, high, slew; /* distances in this window; correction still to be made */
    int window;              /* frames in it */
    bool started;
};

void audio_cadence_init(struct audio_cadence *c, int64_t unit);
void audio_cadence_start(struct audio_cadence *c, int sample_rate, int samples_per_frame);
int64_t audio_cadence_next(struct audio_cadence *c, int64_t sent, int64_t *duration);

#endif
