/* RTMP publishers and players: names, keys, who may take a stream over. The protocol itself is
 * media/rtmp's. Source: video.md 9.1, 9.2; delivery.md a.7, a.8. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "base/text.h"
#include "gateway/auth.h"
#include "gateway/live.h"

/* A publisher that waits: for the webhook's word, then for its stream's numbers. */
struct arrival {
    struct gateway *g;
    struct rtmp_session *session;
    struct stream_name name; /* of its URL */
    struct auth *auth;
    struct live_waiter waiter;
    struct live *live;
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

    a->g = l->g;
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

/* A stream that exists is taken over or refused, a new one begins as config says. */
static void admit(struct gateway *g, struct rtmp_session *s, const struct stream_name *name,
                  const struct stream_config *config)
{
    const struct live_conf conf = {
        .name = name, .ingest = INGEST_RTMP, .container = CONTAINER_TS, .config = config};
    struct live *l = live_find(g, name->name);
    struct err err;

    if (l && !may_have(l, name)) {
        refuse_taken(l, s);
        return;
    }
    if (!l && !gateway_has_room(g, &err)) {
        if (log_allowed(&g->refused, REFUSED_LOGGED_A_MINUTE))
            log_peer(NULL, "stream=%s its publisher was refused: %s", name->name, err.text);
        rtmp_refuse(s, "NetStream.Publish.Denied", err.text);
        return;
    }
    publish_when_ready(l ? l : live_new(g, &conf), s);
}

/* --- the webhook --- */

static void on_gone_unasked(struct rtmp_session *s, void *arg)
{
    struct arrival *a = arg;

    (void)s;
    auth_cancel(a->auth);
    free(a);
}

/* The webhook's name, and its key. Without one the URL's; and where the URL has a name of its own
 * that is no viewer's, that name proves the same publisher as well as a key would. */
static void rename_stream(struct stream_name *name, const struct stream_config *config)
{
    struct stream_name url = *name;
    const char *key = config->stream_key;

    if (!config->manifest_id[0])
        return;
    if (!key[0])
        key = url.key;
    if (!key[0] && strcmp(url.name, config->manifest_id) != 0)
        key = url.name;
    snprintf(name->name, sizeof(name->name), "%s", config->manifest_id);
    snprintf(name->key, sizeof(name->key), "%s", key);
}

static void on_auth(const struct stream_config *config, const struct err *why, void *arg)
{
    struct arrival *a = arg;

    rtmp_on_gone(a->session, NULL, NULL);
    if (!config) {
        rtmp_refuse(a->session, "NetStream.Publish.Unauthorized", why->text);
    } else {
        rename_stream(&a->name, config);
        if (!a->name.name[0])
            rand_hex(a->name.name, 4);
        admit(a->g, a->session, &a->name, config);
    }
    free(a);
}

/* Scheme and host as the publisher wrote them, then where it publishes, its query included. */
static void write_url(const struct gateway *g, const struct rtmp_target *t, struct buf *out)
{
    const char *host = strstr(t->tc_url, "://");
    struct slice rest = slice_str(t->path), part;

    if (host)
        buf_add(out, t->tc_url, (size_t)(host - t->tc_url) + 3 + strcspn(host + 3, "/?#"));
    else
        buf_printf(out, "rtmp://%s", gateway_rtmp_addr(g));
    while (slice_split(&rest, '/', &part)) {
        if (!part.n)
            continue;
        buf_u8(out, '/');
        percent_encode(out, part);
    }
    if (t->query[0])
        buf_printf(out, "?%s", t->query);
}

static void ask_webhook(struct gateway *g, struct rtmp_session *s, const struct rtmp_target *t,
                        const struct stream_name *name)
{
    struct arrival *a = xcalloc(1, sizeof(*a));
    struct buf url;

    a->g = g;
    a->session = s;
    a->name = *name;
    rtmp_on_gone(s, on_gone_unasked, a);
    buf_init(&url, 16 * 1024);
    write_url(g, t, &url);
    a->auth = auth_ask(g, name->name, buf_slice(&url), on_auth, a);
    buf_cleanup(&url);
}

/* --- what the RTMP server asks --- */

static void on_publish(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    static const struct stream_config nothing_said;
    struct gateway *g = arg;
    struct stream_name name;
    struct err err;

    if (stream_name_parse(slice_str(t->path), false, &name, &err) != RC_OK) {
        rtmp_refuse(s, "NetStream.Publish.BadName", err.text);
        return;
    }
    if (g->conf.auth_webhook_url) {
        ask_webhook(g, s, t, &name);
        return;
    }
    if (!name.name[0])
        rand_hex(name.name, 4); /* as the reference names a nameless stream */
    admit(g, s, &name, &nothing_said);
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
