/* gateway/live.h: one live stream, from its first publisher to its end.
 *
 *   OPENING  its numbers are being read from the store
 *   ON       a publisher sends (RTMP), or pushes come in
 *   WAITING  the publisher was cut off and may return within the grace
 *   ENDED    goodbye was said, or the grace ran out: playlists carry ENDLIST
 *
 * The table of moves is in live.c. A live owns timeline, segmenter, queue, routing and
 * playback of its stream; intakes feed it, nobody else does.
 */
#ifndef LEAT_GATEWAY_LIVE_H
#define LEAT_GATEWAY_LIVE_H

#include "base/log.h"
#include "gateway/gateway_int.h"
#include "gateway/group.h"
#include "gateway/names.h"
#include "gateway/queue.h"
#include "gateway/stream_config.h"
#include "gateway/troubles.h"
#include "media/rtmp/rtmp_server.h"
#include "media/timeline.h"
#include "output/playback.h"

enum {
    SEGMENT_TARGET_TICKS = 2 * TICKS_PER_SECOND,
    NUMBERS_WAIT_MS = 2000,     /* for the store */
    NUMBERS_MARGIN = 2,         /* segment numbers left out after a restart */
    PUSH_IDLE_MS = 60 * 1000,   /* video.md 9.3: a push stream ends 60 s after its last */
    PUSH_QUIET_MS = 10 * 1000,  /* a push stream so long without one makes room for others */
    RECENT_SEGMENTS = 30,       /* that a stream's success rate looks back */
    SHARE_ONE = 1 << 20,        /* all of them were transcoded */
    ENDED_SHOWN_MS = 60 * 1000, /* on the page */
    STALL_MS = 20 * 1000        /* a publisher without a key frame for so long is cut */
};

enum live_state { LIVE_OPENING, LIVE_ON, LIVE_WAITING, LIVE_ENDED };
enum live_event { LIVE_READY, LIVE_CUT, LIVE_RETURNED, LIVE_GOODBYE, LIVE_TIME_UP };
enum ingest { INGEST_RTMP, INGEST_PUSH };

struct live;

/* Somebody who waits for the stream's numbers; lives in the caller's object. */
struct live_waiter {
    struct list_node node;
    void (*fn)(struct live *l, void *arg); /* l NULL: it will not come */
    void *arg;
};

struct live {
    struct gateway *g;
    struct log_tag log;
    char name[STREAM_NAME_MAX + 1];
    char key[STREAM_KEY_MAX + 1];        /* never logged; "" when none was given */
    char pushed_as[STREAM_NAME_MAX + 1]; /* push: the name in its URLs */
    enum live_state state;
    enum ingest ingest;
    char encoder[128];
    int64_t since_ms;       /* Unix time */
    int64_t quiet_since_ms; /* monotonic: cut, or the last push */
    struct timer *timer;    /* stall while ON, grace while WAITING, idle, forgetting */

    struct profile profiles[MAX_PROFILES];
    size_t n_profiles;
    int timeout_multiplier; /* at least 1 */
    struct caps need;

    struct rtmp_session *publisher; /* while ON by RTMP */
    struct timeline *timeline;
    struct segmenter *segmenter;
    struct group group; /* pieces that wait for their last */
    struct track tracks[TRACK_KINDS];
    int64_t last_dts;    /* 90 kHz: where a returning publisher goes on */
    bool returned;       /* the next segment does not continue the last */
    struct list viewers; /* RTMP playback */
    struct list waiters; /* while OPENING */

    int64_t next_msn, discontinuities; /* as far as the playlists know */
    struct playback_stream *out;       /* from ON on, until its last segment is in */
    enum container container;
    int source_rendition, renditions[MAX_PROFILES];
    struct queue *queue;
    struct routing *routing;
    bool ending;           /* ended, renditions of the last segments still come */
    bool reading, dropped; /* the store is asked; freed meanwhile */
    struct deferred ready;

    /* pushes: what the last one was, to see a change (video.md 9.3) */
    struct track last_video, last_audio;
    int64_t last_push_seq, last_end_pts;
    bool told_too_long; /* one is beyond TARGETDURATION: said once */

    uint32_t recent; /* of the last RECENT_SEGMENTS, newest lowest: 1 transcoded, 0 lost */
    int n_recent;
    int64_t segments, reconnects, bytes_in, bytes_out; /* out: of renditions */
    double source_fps;
    int64_t source_bps;
    struct {
        char orchestrator[256];
        int64_t round_trip_ms;
        double ratio;
    } done_by;
    struct troubles troubles;
    struct log_limit refused; /* publishers who wanted its name */
};

struct live_conf {
    const struct stream_name *name;     /* and key */
    const char *pushed_as;              /* push: the name in its URLs */
    enum ingest ingest;                 /* how it comes in */
    enum container container;           /* of the source, and so of renditions */
    const struct stream_config *config; /* what header or webhook said; may say nothing */
};

/* A stream in state OPENING, in place of an ended one of that name. */
struct live *live_new(struct gateway *g, const struct live_conf *conf);
void live_free(struct live *l);
struct live *live_find(struct gateway *g, const char *name); /* ENDED ones are not found */
struct live *live_find_pushed(struct gateway *g, const char *pushed_as);

void live_event(struct live *l, enum live_event ev);

/* Nobody sends it now: at -maxSessions it is ended early, so that another can begin. */
bool live_may_yield(const struct live *l);

/* fn from the loop once l is no longer OPENING; at the earliest after this returns. */
void live_when_ready(struct live *l, struct live_waiter *w);
void live_stop_waiting(struct live *l, struct live_waiter *w);

/* RTMP: this session is the publisher from now on; an earlier one is closed. */
void live_publish(struct live *l, struct rtmp_session *s);

/* Push: a whole segment. msn is set here. Playback lists it when its number is the newest. */
struct pushed {
    struct segment *segment; /* a reference is kept */
    bool skip_transcode;     /* zero-frame segments */
    void (*on_over)(struct job *j, void *arg);
    void *arg;
};
void live_push(struct live *l, const struct pushed *p);

/* The gateway stops: what is on its way is given up, orchestrators are told. Playlists stay. */
void live_let_go(struct live *l);

void live_trouble(struct live *l, int64_t segment, const char *text);
void live_add_viewer(struct live *l, struct rtmp_session *s);
void live_status(struct live *l, struct json_out *j);

#endif
