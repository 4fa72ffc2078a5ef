/* Start, drain and stop of an orchestrator: its doors, its worker, what it tells. */
#include "orchestrator/orchestrator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/url.h"
#include "orchestrator/metrics.h"
#include "orchestrator/session.h"

enum {
    SERVICE_PORT = 8935,
    MAX_CONNECTIONS = 8192,
    MAX_PER_PEER = 1024,
    DRAIN_LOOK_MS = 200,
    DRAIN_QUIET_MS = 3000,   /* sessions without a segment for so long are over, */
    DRAIN_QUIET_FACTOR = 2,  /* or for so many times a segment's length */
    DRAIN_LINGER_MS = 1500,  /* the last renditions are fetched within it */
    DRAIN_CLOSING_MS = 10000 /* of the time given, kept for what runs; half of it at most */
};

/* --- the service's door --- */

/* Where to listen: "host:port", and whether in clear text (video.md 1.1). */
static enum rc listen_address(const struct orchestrator_conf *conf, char **addr, bool *clear,
                              struct err *err)
{
    const char *given = conf->http_addr ? conf->http_addr : conf->service_uri;
    struct url url;
    enum rc rc;

    *clear = false;
    if (!strstr(given, "://")) {
        *addr = addr_complete(given, "127.0.0.1", SERVICE_PORT);
        return RC_OK;
    }
    rc = url_parse(slice_str(given), &url, err);
    if (rc != RC_OK)
        return rc;
    *clear = strcmp(url.scheme, "http") == 0;
    if (!*clear && strcmp(url.scheme, "https") != 0)
        return err_set(err, RC_BAD_INPUT, "unsupported -httpAddr scheme \"%s\"", url.scheme);
    if (url.path.n > 1)
        return err_set(err, RC_BAD_INPUT, "-httpAddr must not include a path");
    if (conf->http_addr)
        *addr = xasprintf(strchr(url.host, ':') ? "[%s]:%u" : "%s:%u", url.host,
                          url.port ? url.port : SERVICE_PORT);
    else
        *addr = xasprintf(":%u", url.port ? url.port : SERVICE_PORT); /* all interfaces */
    return RC_OK;
}

static enum rc make_tls(struct orchestrator *o, struct err *err)
{
    char *cert = xasprintf("%s/cert.pem", o->conf.data_dir);
    char *key = xasprintf("%s/key.pem", o->conf.data_dir);
    struct url url;
    enum rc rc = url_parse(slice_str(o->conf.service_uri), &url, err);

    if (rc == RC_OK)
        rc = tls_make_self_signed(o->conf.data_dir, url.host, err);
    if (rc == RC_OK) {
        o->tls = tls_server_new(cert, key, err);
        rc = o->tls ? RC_OK : err->code;
    }
    free(cert);
    free(key);
    return rc;
}

static enum rc open_door(struct door *d, const char *addr, struct tls_server *tls, struct err *err)
{
    const struct http_server_conf conf = {
        .listen = {.addr = addr,
                   .tls = tls,
                   .max_connections = MAX_CONNECTIONS,
                   .max_per_peer = MAX_PER_PEER},
        .on_request = controller_on_request,
        .arg = d,
    };

    d->server = http_server_open(d->o->loop, &conf, err);
    return d->server ? RC_OK : err->code;
}

static enum rc open_service(struct orchestrator *o, struct err *err)
{
    char *addr = NULL;
    bool clear;
    enum rc rc = listen_address(&o->conf, &addr, &clear, err);

    if (rc == RC_OK && !clear)
        rc = make_tls(o, err);
    if (rc == RC_OK) {
        rc = open_door(&o->service, addr, o->tls, err);
        if (rc == RC_EXISTS)
            err_wrap(err, rc,
                     "service address %s is taken by another program; stop it, or choose "
                     "another with -serviceAddr",
                     addr);
        else if (rc != RC_OK)
            err_wrap(err, rc, "service address %s", addr);
    }
    free(addr);
    return rc;
}

/* A service URI with port 0 gets the port that the system chose. */
static char *real_service_uri(const struct orchestrator *o)
{
    const char *given = o->conf.service_uri;
    size_t n = strlen(given);

    if (n < 2 || strcmp(given + n - 2, ":0") != 0)
        return xstrdup(given);
    return xasprintf("%.*s:%u", (int)(n - 2), given,
                     listener_port(http_server_listener(o->service.server)));
}

/* --- the local workers' door --- */

/* DATA_DIR/worker.sock, or where that is too long for a socket's address, a folder in /tmp. */
static char *socket_path(struct orchestrator *o, struct err *err)
{
    struct sockaddr_un addr;
    char *path = xasprintf("%s/worker.sock", o->conf.data_dir), *dir;

    if (strlen(path) < sizeof(addr.sun_path))
        return path;
    free(path);
    dir = xstrdup("/tmp/leat-XXXXXX");
    if (!mkdtemp(dir)) {
        (void)err_set(err, RC_IO,
                      "no folder for the workers' socket in /tmp; choose a shorter "
                      "-dataDir");
        free(dir);
        return NULL;
    }
    o->socket_dir = dir;
    return xasprintf("%s/worker.sock", dir);
}

static enum rc open_local(struct orchestrator *o, struct err *err)
{
    char *path = socket_path(o, err), *addr;
    enum rc rc;

    if (!path)
        return err->code;
    addr = xasprintf("unix:%s", path);
    rc = open_door(&o->local, addr, NULL, err);
    if (rc == RC_OK) {
        const struct local_worker_conf conf = {.program = o->conf.worker_program,
                                               .socket = path,
                                               .secret = o->local_secret,
                                               .data_dir = o->conf.data_dir,
                                               .capacity = o->conf.max_sessions,
                                               .args = o->conf.worker_args};

        o->local_worker = local_worker_start(o->loop, &conf);
    } else if (rc == RC_EXISTS) {
        err_wrap(err, rc, "another orchestrator uses -dataDir %s; give each its own",
                 o->conf.data_dir);
    }
    free(addr);
    free(path);
    return rc;
}

/* --- start --- */

static void on_workers_changed(void *arg)
{
    struct orchestrator *o = arg;

    metric_sessions(sessions_live(o), sessions_limit(o));
}

static void on_silent_local(void *arg, bool dead)
{
    struct orchestrator *o = arg;

    if (o->local_worker)
        local_worker_is_silent(o->local_worker, dead);
}

static struct pool *make_pool(struct orchestrator *o)
{
    struct caps own;
    const struct pool_conf conf = {.loop = o->loop,
                                   .service_uri = o->service_uri,
                                   .version = o->conf.version,
                                   .own = &own,
                                   .on_change = on_workers_changed,
                                   .on_silent_local = on_silent_local,
                                   .arg = o};

    if (o->conf.local_worker)
        caps_of_software_worker(&own);
    else
        caps_of_orchestrator(&own);
    return pool_new(&conf);
}

struct orchestrator *orchestrator_start(struct loop *l, const struct orchestrator_conf *conf,
                                        struct err *err)
{
    struct orchestrator *o = xcalloc(1, sizeof(*o));

    o->loop = l;
    o->conf = *conf;
    o->service = (struct door){.o = o, .secret = conf->secret};
    o->local = (struct door){.o = o, .secret = o->local_secret, .local = true};
    o->sessions = map_new();
    o->refusals = refusals_new();
    rand_bytes(o->token_key, sizeof(o->token_key));
    rand_hex(o->local_secret, 16);
    o->client = http_client_new(l);
    orchestrator_metrics_init();
    if (open_service(o, err) != RC_OK)
        goto fail;
    o->service_uri = real_service_uri(o);
    o->pool = make_pool(o);
    if (conf->local_worker && open_local(o, err) != RC_OK)
        goto fail;
    on_workers_changed(o);
    self_check_start(o);
    return o;
fail:
    orchestrator_stop(o);
    return NULL;
}

/* --- drain and stop --- */

static void drained(struct orchestrator *o)
{
    void (*fn)(void *) = o->on_drained;

    o->on_drained = NULL;
    timer_stop(o->drain_timer);
    if (fn)
        fn(o->drained_arg);
}

/* Nobody is left who could send or fetch anything. */
static bool is_alone(const struct orchestrator *o)
{
    return listener_connections(http_server_listener(o->service.server)) == 0;
}

static bool go_on(const struct orchestrator *o)
{
    return o->closing ? sessions_go_on(o, DRAIN_LINGER_MS, 0)
                      : sessions_go_on(o, DRAIN_QUIET_MS, DRAIN_QUIET_FACTOR);
}

/* Running streams go on until they pause or the time is nearly up; then their gateways are sent
 * elsewhere, and what has begun is finished. */
static void look_if_drained(void *arg)
{
    struct orchestrator *o = arg;
    int64_t left = o->drain_until_ms - clock_mono_ms();
    bool idle = sessions_working(o) == 0;

    if (!o->closing && left <= o->drain_closing_ms && sessions_live(o)) {
        o->closing = true;
        log_info(NULL, "the time to drain is nearly up: %" PRId64 " sessions are sent elsewhere",
                 sessions_live(o));
    }
    if (left <= 0 || (idle && (is_alone(o) || !go_on(o))))
        drained(o);
}

void orchestrator_drain(struct orchestrator *o, int within_ms, void (*on_done)(void *arg),
                        void *arg)
{
    o->draining = true;
    o->on_drained = on_done;
    o->drained_arg = arg;
    o->drain_until_ms = clock_mono_ms() + within_ms;
    o->drain_closing_ms = MIN(DRAIN_CLOSING_MS, within_ms / 2);
    log_info(NULL, "draining: no new sessions, %lld run on for at most %d s",
             (long long)sessions_live(o), within_ms / 1000);
    self_check_stop(o); /* its connection would look like a gateway's */
    o->drain_timer = timer_new(o->loop, look_if_drained, o);
    timer_repeat(o->drain_timer, map_count(o->sessions) ? DRAIN_LOOK_MS : 1);
}

void orchestrator_stop(struct orchestrator *o)
{
    if (!o)
        return;
    timer_free(o->drain_timer);
    self_check_stop(o);
    sessions_end_all(o);
    if (o->service.server)
        http_server_close(o->service.server);
    if (o->local.server)
        http_server_close(o->local.server);
    local_worker_stop(o->local_worker);
    http_client_free(o->client);
    pool_free(o->pool);
    tls_server_free(o->tls);
    map_free(o->sessions);
    refusals_free(o->refusals);
    if (o->socket_dir)
        (void)rmdir(o->socket_dir); /* best effort: the system sweeps /tmp */
    free(o->socket_dir);
    free(o->service_uri);
    free(o);
}

/* --- telling --- */

bool orchestrator_is_ready(struct orchestrator *o, struct buf *why)
{
    size_t before = why->n;

    if (o->draining)
        buf_str(why, "draining: the node was asked to stop\n");
    if (!pool_workers(o->pool) && o->local_worker)
        buf_printf(why, "the local worker is not here yet%s%s\n",
                   local_worker_trouble(o->local_worker)[0] ? ": " : "",
                   local_worker_trouble(o->local_worker));
    else if (!pool_workers(o->pool))
        buf_str(why, "no worker is here: start one with `leat transcoder -orchAddr ... "
                     "-orchSecret ...`\n");
    if (o->self_check[0])
        buf_printf(why, "%s\n", o->self_check);
    return why->n == before;
}

const char *orchestrator_addr(const struct orchestrator *o)
{
    return listener_addr(http_server_listener(o->service.server));
}

void orchestrator_set_max_sessions(struct orchestrator *o, int n)
{
    o->conf.max_sessions = n;
    metric_sessions(sessions_live(o), sessions_limit(o));
}

void orchestrator_status(struct orchestrator *o, struct buf *json)
{
    struct json_out j = json_out_of(json);

    jo_open(&j, NULL, '{');
    jo_text(&j, "role", "orchestrator");
    jo_text(&j, "version", o->conf.version);
    jo_text(&j, "service_uri", o->service_uri);
    jo_text(&j, "addr", orchestrator_addr(o));
    jo_flag(&j, "draining", o->draining);
    jo_int(&j, "max_sessions", sessions_limit(o));
    jo_int(&j, "held_bytes", (int64_t)o->held_bytes);
    sessions_status(o, &j);
    pool_status(o->pool, &j);
    refusals_status(o->refusals, &j);
    jo_close(&j, '}');
}
