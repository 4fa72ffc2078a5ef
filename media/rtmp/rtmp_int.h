/* media/rtmp/rtmp_int.h: what the files of media/rtmp share and nobody else sees.
 *
 * A session is the server's side of one connection as a state machine: bytes in by
 * rtmp_session_feed, bytes out and the time through its host. It knows neither
 * sockets nor timers, so tests and fuzzers drive it directly; rtmp_server.c ties it to
 * a stream.
 *
 *   session.c   states, deadlines, messages of the protocol itself
 *   command.c   connect, createStream, publish, play ...: what peers ask and what they get
 *   ingest.c    media that comes in        playback.c   media that goes out
 *   rhythm.c    how often a publisher is read
 *   target.c    what the peer asked for, as one path and one query
 */
#ifndef LEAT_MEDIA_RTMP_RTMP_INT_H
#define LEAT_MEDIA_RTMP_RTMP_INT_H

#include "media/rtmp/amf.h"
#include "media/rtmp/chunk.h"
#include "media/rtmp/rtmp_server.h"

/* Limits of delivery.md a.10. */
enum {
    RTMP_HANDSHAKE_MS = 5000,
    RTMP_CONNECT_MS = 5000,
    RTMP_ASK_MS = 5000, /* from connect to publish or play */
    RTMP_FIRST_FRAME_MS = 15000,
    RTMP_PING_MS = 5000,             /* silence after which we ask whether somebody is there */
    RTMP_SILENCE_MS = 30000,         /* silence after which a publisher is gone */
    RTMP_VIEWER_SILENCE_MS = 120000, /* a viewer may be reading seconds of backlog before pings */
    RTMP_TICK_MS = 5000,             /* deadlines are looked at this often at least */
    RTMP_COMMANDS_PER_SECOND = 100,
    RTMP_HELD_BYTES = 256 * 1024,    /* that came before the owner answered */
    RTMP_UNREAD_BYTES = 1024 * 1024, /* answers that a publisher does not read */
    RTMP_VIEWER_BEHIND_BYTES = 8 * 1024 * 1024,
    RTMP_BAD_FRAMES_IN_A_ROW = 100,
    RTMP_WINDOW_BYTES = 2500000,  /* acknowledgement window, both ways, unless told another */
    RTMP_MIN_WINDOW_BYTES = 4096, /* a smaller one would make us answer every read */
    RTMP_MAX_TEXT = 1023,         /* of app, tcUrl, flashVer, stream name */
    RTMP_MAX_STREAM_IDS = 1000    /* createStream on one connection */
};

#define RTMP_STATES(X)                                                                             \
    X(RTMP_HELLO)   /* C0 and C1 are awaited */                                                    \
    X(RTMP_ECHO)    /* C2 */                                                                       \
    X(RTMP_CONNECT) /* the connect command */                                                      \
    X(RTMP_READY)   /* publish or play */                                                          \
    X(RTMP_ASKED)   /* the owner's answer; bytes that come are held */                             \
    X(RTMP_PUBLISHING)                                                                             \
    X(RTMP_PLAYING)                                                                                \
    X(RTMP_OVER)

enum rtmp_state {
#define X(state) state,
    RTMP_STATES(X)
#undef X
        RTMP_STATE_COUNT
};

/* What a session needs of the world. */
struct rtmp_host {
    struct rtmp_pipe pipe;
    size_t (*queued)(void *arg);           /* bytes written that have not left yet */
    void (*pause)(bool paused, void *arg); /* stop, go on reading */
    void (*read_every)(int ms, void *arg); /* from now on; 0: as soon as there is something */
    void (*wake)(void *arg);               /* call rtmp_session_resume, soon */
    /* The session is over and frees itself: close, after what is queued has left. `unheard`
     * is a violation that nobody has logged; NULL: none. */
    void (*over)(const struct err *unheard, void *arg);
    const char *(*peer)(void *arg);
    int64_t (*now_ms)(void *arg); /* monotonic */
    void (*on_publish)(struct rtmp_session *s, const struct rtmp_target *t, void *arg);
    void (*on_play)(struct rtmp_session *s, const struct rtmp_target *t, void *arg);
    void *arg; /* of all of these, and of the pipe */
};

/* When key frames came, by the host's clock. */
struct rtmp_rhythm {
    int64_t key_ms, interval_ms;
    bool is_steady; /* the last two intervals agree */
    int64_t look_ms;
    size_t found; /* at that look, which may take several reads */
};

/* What comes in from a publisher. */
struct ingest {
    struct blob *config[TRACK_KINDS]; /* the last sequence headers: repeats are ignored */
    int length_size;
    int bad_in_row;
    bool has_frame;
    struct rtmp_rhythm rhythm;
    int read_every_ms; /* as the host was told */
};

struct playback;

struct rtmp_session {
    enum rtmp_state state;
    struct rtmp_host host;
    struct chunk_reader in;
    struct chunk_writer out;
    struct buf held;  /* C0 and C1; later what came while the owner was asked */
    size_t echo_left; /* of C2 */
    bool busy;        /* inside feed: memory is returned by it */
    bool paused;
    bool wants_fourcc; /* connect spoke of enhanced RTMP */
    bool fc_published;
    bool asked_play;
    bool is_gone;     /* over, and only waiting for feed to return */
    struct err *doom; /* a violation found inside a call of the owner's */
    char *app, *tc_url, *encoder;
    uint32_t stream_id, last_stream_id;

    int64_t state_ms, heard_ms, pinged_ms; /* since when, by the host's clock */
    int64_t second_ms;
    int commands; /* in this second */
    uint64_t bytes_in, acked;
    uint32_t ack_window;

    bool has_owner; /* accepted: ev is the owner's */
    struct rtmp_session_events ev;
    void (*on_gone)(struct rtmp_session *s, void *arg);
    void *on_gone_arg;
    struct ingest ingest;
    struct playback *playback; /* NULL: does not play */
};

struct rtmp_session *rtmp_session_new(const struct rtmp_host *host);

/* The session may be gone afterwards: host->over was called. */
void rtmp_session_feed(struct rtmp_session *s, struct slice bytes);
void rtmp_session_resume(struct rtmp_session *s);
void rtmp_session_writable(struct rtmp_session *s);
void rtmp_session_hangup(struct rtmp_session *s, const struct err *why);
/* The node stops: the owner hears RC_CANCELLED. */
void rtmp_session_stop(struct rtmp_session *s);
/* Looks at the deadlines. Milliseconds until the next look; 0: the session is gone. */
int64_t rtmp_session_tick(struct rtmp_session *s);

/* --- between the files of a session --- */

void rtmp_session_set_state(struct rtmp_session *s, enum rtmp_state state);
/* Ends it: answers *why where the peer can read that, tells the owner. */
void rtmp_session_fail(struct rtmp_session *s, const struct err *why);
/* The same from inside a call of the owner's: happens soon, from the loop. */
void rtmp_session_doom(struct rtmp_session *s, enum rc rc, const char *sentence);
void rtmp_session_end(struct rtmp_session *s, bool said_goodbye, const struct err *why);

/* onStatus on the session's stream. */
void rtmp_session_send_status(struct rtmp_session *s, const char *level, const char *code,
                              const char *description);
void rtmp_session_send_user_control(struct rtmp_session *s, uint16_t event, uint32_t value);

enum { USER_STREAM_BEGIN = 0, USER_STREAM_EOF = 1, USER_PING_REQUEST = 6, USER_PING_RESPONSE = 7 };

void rtmp_command_handle(struct rtmp_session *s, const struct rtmp_message *m);
/* Tells the peer that it may publish or play now. */
void rtmp_command_started(struct rtmp_session *s);

void rtmp_ingest_message(struct rtmp_session *s, const struct rtmp_message *m);
/* The host reads by the rhythm of the publisher's key frames; `found`: bytes it just read. */
void rtmp_ingest_set_pace(struct rtmp_session *s, size_t found);
void rtmp_ingest_cleanup(struct ingest *in);

void rtmp_rhythm_key(struct rtmp_rhythm *r, int64_t now_ms);
/* In ms, when a read at `now_ms` found so many bytes; 0: at once. */
int rtmp_rhythm_read_every(struct rtmp_rhythm *r, int64_t now_ms, size_t found);

struct playback *rtmp_playback_new(void);
void rtmp_playback_free(struct playback *p);

/* No control bytes, at most RTMP_MAX_TEXT: what any text of a peer's must be. */
bool rtmp_target_text_is_fit(struct slice text);

/* app and tc_url are fit. RC_BAD_INPUT, RC_LIMIT: a sentence that can be shown to the peer. */
MUST_CHECK enum rc rtmp_target_make(const char *app, const char *tc_url, struct slice name,
                                    struct rtmp_target *out, struct err *err);

#endif
