#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/live.h"
#include "gateway/metrics.h"
#include "net/health.h"

enum { DRAIN_TICK_MS = 150, MAX_PUSHED_BYTES = 512 * 1024 * 1024 };

static void answer_ready(struct gateway *g, struct http_exchange *x)
{
    struct buf why;

    buf_init(&why, HEALTH_WHY_MAX);
    (void)gateway_is_ready(g, &why); /* empty when it is */
    health_answer_ready(x, &why);
    buf_cleanup(&why);
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct gateway *g = arg;
    const struct http_request *r = http_request(x);

    if (slice_has_prefix(r->path, "/live/") && g->conf.http_ingest)
        intake_push(g, x);
    else if (playback_handle(g->playback, x))
        return;
    else if (slice_eq_str(r->path, "/healthz"))
        http_answer(x, 200, NULL, slice_of(NULL, 0));
    else if (slice_eq_str(r->path, "/readyz"))
        answer_ready(g, x);
    else if (slice_eq_str(r->path, "/metrics") && r->peer_is_loopback)
        health_answer_metrics(x);
    else if (g->conf.fallback)
        g->conf.fallback(x, g->conf.fallback_arg);
    else
        http_answer(x, 404, "text/plain; charset=utf-8", SLICE_LIT("not found\n"));
}

static void on_candidates_change(void *arg)
{
    struct gateway *g = arg;
    size_t at = 0;
    void *value;

    while (map_next(g->lives, &at, NULL, &value)) {
        struct live *l = value;

        if (l->routing)
            routing_refresh(l->routing);
    }
}

static void on_store_open(const struct err *err, void *arg)
{
    (void)arg;
    if (err)
        log_peer(NULL, "stream numbers will not survive a restart: %s", err->text);
}

static enum rc open_http(struct gateway *g, struct err *err)
{
    const struct http_server_conf conf = {
        .listen = {.addr = g->conf.http_addr, .max_connections = 16384},
        .on_request = on_request,
        .arg = g};

    g->http = http_server_open(g->loop, &conf, err);
    if (g->http)
        return RC_OK;
    if (err->code == RC_EXISTS)
        return err_wrap(err, err->code,
                        "-httpAddr %s is taken by another program; stop it or choose another port",
                        g->conf.http_addr);
    return err_wrap(err, err->code, "-httpAddr %s", g->conf.http_addr);
}

struct gateway *gateway_start(struct loop *l, const struct gateway_conf *conf, struct err *err)
{
    const struct playback_conf playback = {.current_manifest = conf->current_manifest};
    struct gateway *g = xcalloc(1, sizeof(*g));

    g->loop = l;
    g->conf = *conf;
    if (!g->conf.max_pushed_bytes)
        g->conf.max_pushed_bytes = MAX_PUSHED_BYTES;
    g->lives = map_new();
    g->playback = playback_new(l, &playback);
    metrics_init(conf->max_sessions);
    if (open_http(g, err) != RC_OK || intake_rtmp_open(g, err) != RC_OK) {
        gateway_stop(g);
        return NULL;
    }
    g->client = http_client_new(l);
    g->web = web_new(l);
    g->store = store_open(l, conf->data_dir, on_store_open, g);
    store_expire(g->store, SPACE_NUMBERS, NUMBERS_KEPT_DAYS);
    g->candidates = candidates_new(l, g->web, conf->orch_uris, conf->orch_webhook_url,
                                   on_candidates_change, g);
    return g;
}

static bool is_anything_on_its_way(struct gateway *g)
{
    size_t at = 0;
    void *l;

    while (map_next(g->lives, &at, NULL, &l))
        if (queue_length(((struct live *)l)->queue))
            return true;
    return false;
}

static void on_drain_tick(void *arg)
{
    struct gateway *g = arg;
    size_t at = 0;
    void *l;

    if (g->let_go) {
        timer_stop(g->drain);
        g->on_drained(g->drained_arg);
        return;
    }
    if (is_anything_on_its_way(g) && clock_mono_ms() < g->drain_until_ms)
        return;
    while (map_next(g->lives, &at, NULL, &l))
        live_let_go(l);
    g->let_go = true;
}

void gateway_drain(struct gateway *g, int within_ms, void (*on_done)(void *arg), void *arg)
{
    g->on_drained = on_done;
    g->drained_arg = arg;
    g->drain_until_ms = clock_mono_ms() + within_ms;
    if (g->rtmp)
        rtmp_server_close(g->rtmp);
    g->rtmp = NULL;
    g->drain = timer_new(g->loop, on_drain_tick, g);
    timer_repeat(g->drain, DRAIN_TICK_MS);
}

void gateway_stop(struct gateway *g)
{
    size_t at = 0;
    void *l;

    if (!g)
        return;
    if (g->rtmp)
        rtmp_server_close(g->rtmp);
    while (map_next(g->lives, &at, NULL, &l))
        live_free(l);
    candidates_free(g->candidates);
    if (g->web)
        web_free(g->web); /* ends what waits for a webhook, while its connections still exist */
    if (g->http)
        http_server_close(g->http);
    playback_free(g->playback);
    store_close(g->store);
    if (g->client)
        http_client_free(g->client);
    timer_free(g->drain);
    map_free(g->lives);
    free(g);
}

void gateway_set_profiles(struct gateway *g, const struct profile *profiles, size_t n)
{
    g->conf.profiles = profiles;
    g->conf.n_profiles = n;
}

void gateway_set_max_sessions(struct gateway *g, int n)
{
    g->conf.max_sessions = n;
    metric_max_sessions(n);
}

int gateway_count_live(const struct gateway *g)
{
    size_t at = 0;
    void *value;
    int n = 0;

    while (map_next(g->lives, &at, NULL, &value))
        n += ((struct live *)value)->state != LIVE_ENDED;
    return n;
}

static struct live *quiet_for_longest(struct gateway *g)
{
    size_t at = 0;
    void *value;
    struct live *found = NULL;

    while (map_next(g->lives, &at, NULL, &value)) {
        struct live *l = value;

        if (live_may_yield(l) && (!found || l->quiet_since_ms < found->quiet_since_ms))
            found = l;
    }
    return found;
}

bool gateway_has_room(struct gateway *g, struct err *why)
{
    int live = gateway_count_live(g);
    struct live *quiet;

    if (live < g->conf.max_sessions)
        return true;
    quiet = quiet_for_longest(g);
    if (!quiet) {
        err_set(why, RC_BUSY, "%d streams are live, -maxSessions allows %d", live,
                g->conf.max_sessions);
        return false;
    }
    log_info(&quiet->log, "nobody sends it: ended, so that another stream can begin");
    live_event(quiet, LIVE_TIME_UP);
    return true;
}

bool gateway_is_ready(struct gateway *g, struct buf *why)
{
    if (!candidates_count(g->candidates) && g->conf.max_attempts > 0 && g->conf.n_profiles)
        buf_str(why, "no orchestrator is known: give -orchAddr or -orchWebhookUrl\n");
    if (candidates_trouble(g->candidates)[0] && !candidates_count(g->candidates))
        buf_printf(why, "%s\n", candidates_trouble(g->candidates));
    return why->n == 0;
}

const char *gateway_rtmp_addr(const struct gateway *g)
{
    return g->rtmp ? rtmp_server_addr(g->rtmp) : "";
}

const char *gateway_http_addr(const struct gateway *g)
{
    return listener_addr(http_server_listener(g->http));
}
