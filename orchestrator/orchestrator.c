#include "orchestrator/orchestrator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/text.h"
#include "base/url.h"
#include "net/grpc.h"
#include "orchestrator/metrics.h"
#include "orchestrator/session.h"
#include "orchestrator/token.h"

enum { SERVICE_PORT = 8935, STARTUP_CHECK_AFTER_MS = 2000, STARTUP_CHECK_MS = 8000,
       PING_VALUE_BYTES = 32 };

/* --- HTTP: results and sources --- */

static void answer_not_found(struct http_exchange *x)
{
    http_answer(x, 404, "text/plain; charset=utf-8", SLICE_LIT("404 page not found\n"));
}

static struct blob *find_stored(struct orchestrator *o, struct slice path)
{
    struct slice id, second, file = path;
    struct session *s;
    uint64_t seq;

    slice_split(&file, '/', &id);
    slice_split(&file, '/', &second);
    if (!file.p) { /* SESSION/SEQ.tempfile */
        if (slice_has_suffix(second, ".tempfile") &&
            slice_u64(slice_sub(second, 0, second.n - strlen(".tempfile")), INT64_MAX, &seq))
            return pool_source(o->pool, id, (int64_t)seq);
        return NULL;
    }
    s = session_find(o, id);
    return s ? session_result(s, second, file) : NULL;
}

static void answer_stored(struct orchestrator *o, struct http_exchange *x)
{
    struct blob *media = NULL;
    struct buf path;

    buf_init(&path, HTTP_MAX_TARGET);
    if (percent_decode(&path, slice_skip(http_request(x)->path, strlen("/stream/")), NULL) == RC_OK)
        media = find_stored(o, buf_slice(&path));
    if (media)
        http_answer_blob(x, 200, slice_has_suffix(buf_slice(&path), ".mp4") ? "video/mp4"
                                                                             : "video/mp2t",
                         media);
    else
        answer_not_found(x);
    buf_cleanup(&path);
}

static void answer_ready(struct orchestrator *o, struct http_exchange *x)
{
    struct buf why;

    buf_init(&why, 64 * 1024);
    if (orchestrator_is_ready(o, &why))
        http_answer(x, 200, "text/plain; charset=utf-8", SLICE_LIT("ready\n"));
    else
        http_answer(x, 503, "text/plain; charset=utf-8", buf_slice(&why));
    buf_cleanup(&why);
}

/* --- gRPC --- */

static void on_get_orchestrator(struct http_exchange *x, struct blob *message, void *arg)
{
    if (message)
        quote_answer(((struct door *)arg)->o, x, message);
}

static void on_register(struct http_exchange *x, struct blob *message, void *arg)
{
    if (message)
        door_register(arg, x, message);
}

/* Off-chain nothing is signed: the value comes back empty (video.md 2.7). */
static void on_ping(struct http_exchange *x, struct blob *message, void *arg)
{
    (void)arg;
    if (message)
        grpc_reply(x, slice_of(NULL, 0));
}

static void on_end_session(struct http_exchange *x, struct blob *message, void *arg)
{
    struct orchestrator *o = ((struct door *)arg)->o;
    struct auth_token token;
    struct session *s;
    struct err err;

    if (!message)
        return;
    if (end_session_decode(blob_slice(message), &token, &err) != RC_OK ||
        token_check(o->token_key, clock_wall_ms() / 1000, &token, &err) != RC_OK) {
        grpc_fail(x, GRPC_UNKNOWN, "Invalid auth token");
        return;
    }
    s = session_find(o, slice_str(token.session_id));
    if (s)
        session_end(s, "its gateway said so");
    grpc_reply(x, slice_of(NULL, 0));
}

static void grpc_dispatch(struct door *d, struct http_exchange *x)
{
    static const struct {
        const char *path;
        grpc_on_message fn;
        bool for_gateways;
    } calls[] = {{PATH_GET_ORCHESTRATOR, on_get_orchestrator, true},
                 {PATH_END_SESSION, on_end_session, true},
                 {PATH_PING, on_ping, true},
                 {PATH_REGISTER_TRANSCODER, on_register, false}};

    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (slice_eq_str(http_request(x)->path, calls[i].path) &&
            !(calls[i].for_gateways && d->local)) {
            grpc_read(x, calls[i].fn, d);
            return;
        }
    grpc_fail(x, GRPC_UNIMPLEMENTED, "unknown method");
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct door *d = arg;
    const struct http_request *r = http_request(x);

    if (grpc_is_request(r))
        grpc_dispatch(d, x);
    else if (slice_has_prefix(r->path, "/stream/"))
        answer_stored(d->o, x);
    else if (slice_eq_str(r->path, "/transcodeResults") && d->secret)
        door_results(d, x);
    else if (d->local)
        answer_not_found(x);
    else if (slice_eq_str(r->path, "/segment"))
        segment_take(d->o, x);
    else if (slice_eq_str(r->path, "/healthz"))
        http_answer(x, 200, NULL, slice_of(NULL, 0));
    else if (slice_eq_str(r->path, "/readyz"))
        answer_ready(d->o, x);
    else
        answer_not_found(x);
}

/* --- start --- */

/* Where to listen: "host:port", and whether in clear text (video.md 1.1). */
static enum rc listen_address(const struct orchestrator_conf *conf, char **addr, bool *clear,
                              struct err *err)
{
    const char *given = conf->http_addr ? conf->http_addr : conf->service_uri;
    struct url url;
    enum rc rc;

    *clear = false;
    if (!strstr(given, "://")) {
        *addr = addr_complete(given, "0.0.0.0", SERVICE_PORT);
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
    if (!conf->http_addr)
        *addr = xasprintf("0.0.0.0:%u", url.port ? url.port : SERVICE_PORT);
    else
        *addr = xasprintf(strchr(url.host, ':') ? "[%s]:%u" : "%s:%u", url.host,
                          url.port ? url.port : SERVICE_PORT);
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
        .listen = {.addr = addr, .tls = tls, .max_connections = 8192, .max_per_peer = 1024},
        .on_request = on_request,
        .arg = d};

    d->server = http_server_open(d->o->loop, &conf, err);
    if (d->server)
        return RC_OK;
    if (err->code == RC_EXISTS)
        return err_wrap(err, err->code,
                        "service address %s is taken by another program; stop it, or choose another "
                        "with -serviceAddr",
                        addr);
    return err_wrap(err, err->code, "service address %s", addr);
}

static enum rc open_service(struct orchestrator *o, struct err *err)
{
    char *addr = NULL;
    bool clear;
    enum rc rc = listen_address(&o->conf, &addr, &clear, err);

    if (rc == RC_OK && !clear)
        rc = make_tls(o, err);
    if (rc == RC_OK)
        rc = open_door(&o->service, addr, o->tls, err);
    free(addr);
    return rc;
}

static enum rc open_local(struct orchestrator *o, struct err *err)
{
    char *path = xasprintf("%s/worker.sock", o->conf.data_dir);
    char *addr = xasprintf("unix:%s", path);
    struct local_worker_conf conf = {.program = o->conf.worker_program,
                                     .socket = path,
                                     .secret = o->local_secret,
                                     .data_dir = o->conf.data_dir,
                                     .capacity = o->conf.max_sessions,
                                     .args = o->conf.worker_args};
    enum rc rc = open_door(&o->local, addr, NULL, err);

    if (rc == RC_OK)
        o->local_worker = local_worker_start(o->loop, &conf);
    free(addr);
    free(path);
    return rc;
}

/* --- the self check, video.md 2.7 --- */

static void on_pinged(int status, const struct err *err, void *arg)
{
    struct orchestrator *o = arg;

    o->self_check[0] = '\0';
    if (status == GRPC_OK)
        return;
    snprintf(o->self_check, sizeof(o->self_check),
             "gateways cannot reach this node at %s: %.200s; is -serviceAddr right, its port open?",
             o->conf.service_uri, err ? err->text : "no answer");
    log_peer(NULL, "%s", o->self_check);
}

static void ignore_message(struct slice message, void *arg)
{
    (void)message;
    (void)arg;
}

static void check_self(void *arg)
{
    struct orchestrator *o = arg;
    struct grpc_call_conf call = {.url = o->conf.service_uri,
                                  .path = PATH_PING,
                                  .timeout_ms = STARTUP_CHECK_MS,
                                  .on_message = ignore_message,
                                  .on_done = on_pinged,
                                  .arg = o};
    uint8_t value[PING_VALUE_BYTES];
    struct buf message;

    rand_bytes(value, sizeof(value));
    buf_init(&message, 128);
    ping_encode(slice_of(value, sizeof(value)), &message);
    call.message = buf_slice(&message);
    grpc_call(o->client, &call);
    buf_cleanup(&message);
}

struct orchestrator *orchestrator_start(struct loop *l, const struct orchestrator_conf *conf,
                                        struct err *err)
{
    struct orchestrator *o = xcalloc(1, sizeof(*o));
    const struct pool_conf pool = {.loop = l,
                                   .service_uri = conf->service_uri,
                                   .version = conf->version,
                                   .has_own_set = true};

    o->loop = l;
    o->conf = *conf;
    o->service = (struct door){.o = o, .secret = conf->secret};
    o->local = (struct door){.o = o, .secret = o->local_secret, .local = true};
    o->sessions = map_new();
    rand_bytes(o->token_key, sizeof(o->token_key));
    rand_hex(o->local_secret, 16);
    orchestrator_metrics_init();
    o->pool = pool_new(&pool);
    o->client = http_client_new(l);
    if (open_service(o, err) != RC_OK || (conf->local_worker && open_local(o, err) != RC_OK)) {
        orchestrator_stop(o);
        return NULL;
    }
    metric_sessions(0, sessions_limit(o));
    o->startup_check = timer_new(l, check_self, o);
    if (conf->startup_check)
        timer_start(o->startup_check, STARTUP_CHECK_AFTER_MS);
    return o;
}

/* --- stop --- */

static void drained(void *arg)
{
    struct orchestrator *o = arg;
    void (*fn)(void *) = o->on_drained;

    o->on_drained = NULL;
    timer_stop(o->drain_timer);
    if (fn)
        fn(o->drained_arg);
}

void orchestrator_session_ended(struct orchestrator *o)
{
    /* A moment for the renditions to be fetched, then nothing holds us. */
    if (o->draining && o->on_drained && sessions_are_idle(o))
        timer_start(o->drain_timer, 1000);
}

void orchestrator_drain(struct orchestrator *o, int within_ms, void (*on_done)(void *arg),
                        void *arg)
{
    o->draining = true;
    o->on_drained = on_done;
    o->drained_arg = arg;
    o->drain_timer = timer_new(o->loop, drained, o);
    timer_start(o->drain_timer, map_count(o->sessions) ? within_ms : 0);
    orchestrator_session_ended(o);
}

void orchestrator_stop(struct orchestrator *o)
{
    if (!o)
        return;
    timer_free(o->drain_timer);
    timer_free(o->startup_check);
    local_worker_stop(o->local_worker);
    sessions_end_all(o);
    if (o->service.server)
        http_server_close(o->service.server);
    if (o->local.server)
        http_server_close(o->local.server);
    http_client_free(o->client);
    pool_free(o->pool);
    tls_server_free(o->tls);
    map_free(o->sessions);
    free(o);
}

/* --- telling --- */

bool orchestrator_is_ready(struct orchestrator *o, struct buf *why)
{
    size_t before = why->n;

    if (o->draining)
        buf_str(why, "draining: the node was asked to stop\n");
    if (!pool_workers(o->pool))
        buf_printf(why, "no worker is here%s%s; start one with `leat transcoder`\n",
                   o->local_worker ? ": " : "",
                   o->local_worker ? local_worker_trouble(o->local_worker) : "");
    if (o->self_check[0])
        buf_printf(why, "%s\n", o->self_check);
    return why->n == before;
}

const char *orchestrator_addr(const struct orchestrator *o)
{
    return listener_addr(http_server_listener(o->service.server));
}

void orchestrator_status(struct orchestrator *o, struct buf *json)
{
    struct json_out j = json_out_of(json);

    jo_open(&j, NULL, '{');
    jo_text(&j, "role", "orchestrator");
    jo_text(&j, "version", o->conf.version);
    jo_text(&j, "service_uri", o->conf.service_uri);
    jo_text(&j, "addr", orchestrator_addr(o));
    jo_flag(&j, "draining", o->draining);
    jo_int(&j, "max_sessions", sessions_limit(o));
    sessions_status(o, &j);
    pool_status(o->pool, &j);
    jo_close(&j, '}');
}
