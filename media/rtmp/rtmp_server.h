/* media/rtmp/rtmp_server.h: RTMP publishing and playback, the server's side.
 *
 * Accepts a connection, speaks handshake, chunks and commands, and asks its owner
 * whether a publish or play may begin. Media arrives as frames with the sender's own
 * times (ms modulo 2^32): feed a timeline.
 *
 * Limits: delivery.md a.10 (named in rtmp_int.h). A violation closes this connection
 * with one sentence; nothing a peer sends can assert.
 * Source: delivery.md a.   Threads: loop.
 */
#ifndef LEAT_MEDIA_RTMP_SERVER_H
#define LEAT_MEDIA_RTMP_SERVER_H

#include "base/err.h"
#include "media/frame.h"
#include "net/stream.h"

struct rtmp_server;
struct rtmp_session;

/* What the peer asked for: app and stream name joined (queries apart), percent-decoded once. */
struct rtmp_target {
    char path[512];   /* "live/demo/key": app + "/" + name, no query, no ".." or control bytes */
    char query[1024]; /* merged query parameters, still encoded */
    char tc_url[512]; /* as sent in connect; may hold secrets: never log it */
};

struct rtmp_server_conf {
    struct listen_conf listen; /* on_stream is the server's own */
    /* The owner answers with rtmp_accept() or rtmp_refuse(), now or later. */
    void (*on_publish)(struct rtmp_session *s, const struct rtmp_target *t, void *arg);
    void (*on_play)(struct rtmp_session *s, const struct rtmp_target *t, void *arg);
    void *arg;
};

struct rtmp_server *rtmp_server_open(struct loop *l, const struct rtmp_server_conf *conf,
                                     struct err *err);
const char *rtmp_server_addr(const struct rtmp_server *s);
void rtmp_server_close(struct rtmp_server *s); /* sessions end: on_end runs */

struct rtmp_session_events {
    void (*on_track)(enum track_kind kind, const struct track *t, void *arg);
    void (*on_frame)(const struct frame *f, void *arg);
    /* Once. said_goodbye: FCUnpublish, deleteStream or closeStream came, the stream is over;
     * otherwise the connection was cut and the publisher may return. why: a violation or a
     * time-out, which a publisher's owner logs and a player's need not; NULL: none. The session
     * is gone afterwards. */
    void (*on_end)(bool said_goodbye, const struct err *why, void *arg);
    /* Playback: the peer's socket can take more. */
    void (*on_writable)(void *arg);
    void *arg;
};

void rtmp_accept(struct rtmp_session *s, const struct rtmp_session_events *ev);

/* Sends the status code ("NetStream.Publish.BadName", "NetStream.Publish.Unauthorized",
 * "NetStream.Play.StreamNotFound") with a sentence, flushes, closes. */
void rtmp_refuse(struct rtmp_session *s, const char *status_code, const char *sentence);

/* Called when the peer leaves before it was answered. */
void rtmp_on_gone(struct rtmp_session *s, void (*fn)(struct rtmp_session *s, void *arg), void *arg);

/* Playback. Frames in dts order, 90 kHz; the session converts and waits for a key frame. A
 * viewer more than 8 MiB behind is closed. */
void rtmp_send_track(struct rtmp_session *s, enum track_kind kind, const struct track *t);
void rtmp_send_frame(struct rtmp_session *s, const struct frame *f);

void rtmp_session_close(struct rtmp_session *s, const char *why); /* on_end is not called */
const char *rtmp_session_peer(const struct rtmp_session *s);
const char *rtmp_session_encoder(const struct rtmp_session *s); /* flashVer or onMetaData's */

#endif
