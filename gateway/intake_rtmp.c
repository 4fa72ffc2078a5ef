/* RTMP publishers and players: names, keys, who may take a stream over. The protocol itself is
 * media/rtmp's. Source: video.md 9.1, 9.2; delivery.md a.7, a.8. */
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "gateway/live.h"

/* A publisher that waits for its stream's numbers. */
struct arrival {
    struct live_waiter waiter;
    struct live *live;
    struct rtmp_session *session;
};

static void on_gone(struct rtmp_session *s, void *arg)
{
    struct arrival *a = arg;

    (void)s;
    live_stop_waiting(a->live, &a->waiter);
    if (!a->live->publisher && list_is_empty(&a->live->waiters))
        live_event(a->live, LIVE_CUT); /* ignored while its numbers are read: on_air looks too */
    free(a);
}

static void on_ready(struct live *l, void *arg)
{
    struct arrival *a = arg;

    rtmp_on_gone(a->session, NULL, NULL);
    if (l && l->state != LIVE_ENDED)
        live_publish(l, a->session);
    else if (l)
        rtmp_refuse(a->session, "NetStream.Publish.Failed", "the stream just ended; publish again");
    else
        rtmp_refuse(a->session, "NetStream.Publish.Failed", "the gateway stops");
    free(a);
}

static void publish_when_ready(struct live *l, struct rtmp_session *s)
{
    struct arrival *a = xcalloc(1, sizeof(*a));

    a->live = l;
    a->session = s;
    a->waiter.fn = on_ready;
    a->waiter.arg = a;
    rtmp_on_gone(s, on_gone, a);
    live_when_ready(l, &a->waiter);
}

static bool same_key(const struct live *l, const struct stream_name *name)
{
    return l->key[0] && slice_eq_secret(slice_str(l->key), slice_str(name->key));
}

/* May this publisher have a stream that exists? A publisher who knows the key takes it over;
 * without keys, only a stream whose publisher is gone. */
static bool may_have(const struct live *l, const struct stream_name *name)
{
    if (l->ingest != INGEST_RTMP)
        return false;
    if (l->key[0])
        return same_key(l, name);
    return !l->publisher && l->state == LIVE_WAITING;
}

static void refuse_taken(struct live *l, struct rtmp_session *s)
{
    if (log_allowed(&l->refused, REFUSED_LOGGED_A_MINUTE))
        log_peer(&l->log, "a second publisher from %s was refused: the name is in use%s",
                 rtmp_session_peer(s), l->key[0] ? " and its key differs" : "");
    live_trouble(l, -1, "a second publisher was refused: the name is in use");
    rtmp_refuse(s, "NetStream.Publish.BadName",
                "this stream name is in use; publish under another name, or with the same key to "
                "take it over");
}

static void on_publish(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    struct gateway *g = arg;
    struct stream_name name;
    struct live *l;
    struct err err;

    if (stream_name_parse(slice_str(t->path), false, &name, &err) != RC_OK) {
        rtmp_refuse(s, "NetStream.Publish.BadName", err.text);
        return;
    }
    if (!name.name[0])
        rand_hex(name.name, 4); /* as the reference names a nameless stream */
    l = live_find(g, name.name);
    if (l && !may_have(l, &name)) {
        refuse_taken(l, s);
        return;
    }
    if (!l && !gateway_has_room(g, &err)) {
        if (log_allowed(&g->refused, REFUSED_LOGGED_A_MINUTE))
            log_peer(NULL, "stream=%s its publisher was refused: %s", name.name, err.text);
        rtmp_refuse(s, "NetStream.Publish.Denied", err.text);
        return;
    }
    if (!l)
        l = live_new(g, &name, INGEST_RTMP, NULL, 0, CONTAINER_TS);
    publish_when_ready(l, s);
}

static void on_play(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    struct gateway *g = arg;
    struct stream_name name;
    struct live *l = NULL;
    struct err err;

    if (stream_name_parse(slice_str(t->path), false, &name, &err) == RC_OK)
        l = live_find(g, name.name);
    if (!l || l->ingest != INGEST_RTMP) {
        rtmp_refuse(s, "NetStream.Play.StreamNotFound", "no such live stream");
        return;
    }
    live_add_viewer(l, s);
}

enum rc intake_rtmp_open(struct gateway *g, struct err *err)
{
    const struct rtmp_server_conf conf = {
        .listen = {.addr = g->conf.rtmp_addr, .max_connections = 4096, .max_per_peer = 256},
        .on_publish = on_publish,
        .on_play = on_play,
        .arg = g};

    if (!g->conf.rtmp_addr)
        return RC_OK;
    g->rtmp = rtmp_server_open(g->loop, &conf, err);
    if (g->rtmp)
        return RC_OK;
    if (err->code == RC_EXISTS)
        return err_wrap(err, err->code,
                        "-rtmpAddr %s is taken by another program; stop it or choose another port",
                        g->conf.rtmp_addr);
    return err_wrap(err, err->code, "-rtmpAddr %s", g->conf.rtmp_addr);
}
