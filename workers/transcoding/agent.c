#include "workers/transcoding/agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rand.h"
#include "net/grpc.h"
#include "workers/transcoding/metrics.h"
#include "workers/transcoding/task.h"

enum {
    BACKOFF_MIN_MS = 500, /* video.md 11.1 */
    BACKOFF_MAX_MS = 60 * 1000,
    HELD_MS = 10 * 1000, /* a registration that held so long was a good one */
    SETTLED_MS = 1000,   /* nothing tells of a success: refusals come within it */
    PING_EVERY_MS = 5000,
    STREAM_IDLE_MS = 70 * 1000,
    MESSAGE_ARENA = 64 * 1024,
    MAX_REGISTER_BYTES = 16 * 1024
};

/* One session of the orchestrator: its codec, and when it was last used. Once it is told to
 * end it is in the map no more, and goes with its last task. */
struct stream {
    struct agent *agent;
    char id[SESSION_ID_MAX + 1];
    struct codec_session *codec; /* NULL: ended */
    struct timer *idle;
    int running;
};

struct running {
    struct list_node node;
    struct agent *agent;
    struct stream *stream; /* NULL: a task that was refused unread */
    struct worker_task *task;
};

struct agent {
    struct loop *loop;
    struct agent_conf conf;
    char *orch_addr, *base, *unix_path, *secret;
    struct caps caps;
    struct http_client *client;
    struct codec *codec;
    struct http_call *registration;
    struct timer *reconnect, *settled, *drain_timer;
    int64_t backoff_ms, registered_ms;
    char trouble[ERR_TEXT_MAX]; /* why we are not registered; "" when we are */
    struct map *streams;        /* session id -> struct stream */
    struct list running;
    int64_t done, failed, reconnects;
    struct deferred idle_told;
    bool draining;
    void (*on_drained)(void *arg);
    void *drained_arg;
};

/* --- streams --- */

static void stream_free(struct stream *s)
{
    if (s->codec) {
        map_remove(s->agent->streams, slice_str(s->id));
        codec_session_close(s->codec);
    }
    timer_free(s->idle);
    free(s);
}

static void on_idle(void *arg)
{
    stream_free(arg);
}

static struct stream *stream_of(struct agent *a, const char *id)
{
    struct stream *s = map_get(a->streams, slice_str(id));

    if (s)
        return s;
    s = xcalloc(1, sizeof(*s));
    s->agent = a;
    snprintf(s->id, sizeof(s->id), "%s", id);
    s->codec = codec_session_open(a->codec, id);
    s->idle = timer_new(a->loop, on_idle, s);
    map_put(a->streams, slice_str(id), s);
    return s;
}

/* The orchestrator has no more use for it: what runs ends with an error, nobody waits for it. */
static void stream_end(struct agent *a, const char *id)
{
    struct stream *s = map_get(a->streams, slice_str(id));

    if (!s)
        return;
    LIST_EACH (&a->running, struct running, node, r)
        if (r->stream == s)
            worker_task_abort(r->task);
    if (!s->running) {
        stream_free(s);
        return;
    }
    map_remove(a->streams, slice_str(id));
    codec_session_close(s->codec);
    s->codec = NULL;
}

/* --- tasks --- */

static void drained(struct agent *a)
{
    void (*fn)(void *) = a->on_drained;

    a->on_drained = NULL;
    if (fn)
        fn(a->drained_arg);
}

static void drain_if_idle(void *arg)
{
    struct agent *a = arg;

    if (a->draining && list_is_empty(&a->running))
        drained(a);
}

static void leave_stream(struct stream *s)
{
    s->running--;
    if (s->running == 0 && !s->codec)
        stream_free(s);
    else if (s->running == 0)
        timer_start(s->idle, STREAM_IDLE_MS);
}

static void on_task_end(struct worker_task *t, bool ok, void *arg)
{
    struct running *r = arg;
    struct agent *a = r->agent;

    (void)t;
    a->done += ok;
    a->failed += !ok;
    worker_metric_ended(ok);
    list_remove(&a->running, &r->node);
    if (r->stream)
        leave_stream(r->stream);
    free(r);
    loop_defer(a->loop, &a->idle_told, drain_if_idle, a);
}

static struct running *running_new(struct agent *a, struct worker_task_conf *conf)
{
    struct running *r = xcalloc(1, sizeof(*r));

    *conf = (struct worker_task_conf){.loop = a->loop,
                                      .client = a->client,
                                      .base = a->base,
                                      .unix_path = a->unix_path,
                                      .secret = a->secret,
                                      .have = &a->caps,
                                      .on_end = on_task_end,
                                      .arg = r};
    r->agent = a;
    list_push(&a->running, &r->node);
    return r;
}

static void start_task(struct agent *a, const struct notify_segment *m)
{
    struct worker_task_conf conf;
    struct running *r = running_new(a, &conf);

    r->stream = stream_of(a, m->seg.token.session_id);
    r->stream->running++;
    timer_stop(r->stream->idle);
    r->task = worker_task_start(&conf, m, r->stream->codec);
}

/* Unanswered it would hold the segment until its deadline, and us for dead after it. */
static void refuse_task(struct agent *a, int64_t task_id, const char *why)
{
    struct worker_task_conf conf;
    struct running *r = running_new(a, &conf);

    r->task = worker_task_refuse(&conf, task_id, why);
}

static void on_message(struct slice message, void *arg)
{
    struct agent *a = arg;
    struct arena *arena = arena_new(MESSAGE_ARENA);
    struct notify_segment *m = xcalloc(1, sizeof(*m));
    struct err err;

    a->backoff_ms = BACKOFF_MIN_MS;
    if (notify_segment_decode(message, arena, m, &err) != RC_OK) {
        log_peer(NULL, "notification of the orchestrator: %s", err.text);
        if (m->url && m->url[0]) /* decoded before what failed, like the task's id */
            refuse_task(a, m->task_id, err.text);
    } else if (!m->has_seg || !m->seg.has_token) {
        log_peer(NULL, "notification of the orchestrator without a session");
        if (m->url[0])
            refuse_task(a, m->task_id, "missing auth token");
    } else if (m->url[0]) {
        start_task(a, m);
    } else {
        stream_end(a, m->seg.token.session_id);
    }
    free(m);
    arena_free(arena);
}

/* --- registration --- */

static void connect_now(void *arg);

static void reconnect_later(struct agent *a)
{
    int64_t jitter = (int64_t)((rand_unit() - 0.5) * (double)a->backoff_ms);

    if (clock_mono_ms() - a->registered_ms > HELD_MS)
        a->backoff_ms = BACKOFF_MIN_MS;
    log_peer(NULL, "%s; trying again in %" PRId64 " ms", a->trouble, a->backoff_ms + jitter);
    timer_start(a->reconnect, a->backoff_ms + jitter);
    a->backoff_ms = MIN(a->backoff_ms * 3 / 2, (int64_t)BACKOFF_MAX_MS);
    a->reconnects++;
}

/* No retry can mend these (video.md 11.1). */
static const char *remedy_of(const char *text)
{
    if (strcmp(text, "invalid secret") == 0)
        return "-orchSecret must be the same on both sides";
    if (strcmp(text, "zero capacity") == 0)
        return "-maxSessions must be above 0";
    return NULL;
}

static void on_registration_end(int status, const struct err *err, void *arg)
{
    struct agent *a = arg;
    const char *text = err ? err->text : "it ended the registration";
    const char *remedy = status == GRPC_UNKNOWN ? remedy_of(text) : NULL;
    struct err fatal;

    a->registration = NULL;
    timer_stop(a->settled);
    snprintf(a->trouble, sizeof(a->trouble), "not registered with %s: %.300s", a->orch_addr, text);
    if (a->draining)
        return;
    if (remedy) {
        (void)err_set(&fatal, RC_DENIED, "orchestrator %s says \"%s\": %s", a->orch_addr, text,
                      remedy);
        a->conf.on_fatal(&fatal, a->conf.arg);
        return;
    }
    reconnect_later(a);
}

static void on_settled(void *arg)
{
    struct agent *a = arg;
    int64_t sent_us = http_call_sent_us(a->registration);

    if (!sent_us || clock_mono_us() - sent_us < SETTLED_MS * 1000) {
        timer_start(a->settled, SETTLED_MS);
        return;
    }
    a->trouble[0] = '\0';
    /* A local worker's orchestrator says in the same log that it joined. */
    log_line(a->unix_path ? LOG_DEBUG : LOG_INFO, NULL, "registered with %s, capacity %d",
             a->orch_addr, a->conf.capacity);
}

static void connect_now(void *arg)
{
    struct agent *a = arg;
    struct register_request *request = xcalloc(1, sizeof(*request));
    struct grpc_call_conf call = {.url = a->base,
                                  .unix_path = a->unix_path,
                                  .path = PATH_REGISTER_TRANSCODER,
                                  .ping_every_ms = PING_EVERY_MS,
                                  .on_message = on_message,
                                  .on_done = on_registration_end,
                                  .arg = a};
    struct buf message;

    request->secret = a->secret;
    request->capacity = a->conf.capacity;
    request->has_caps = true;
    request->caps = a->caps;
    buf_init(&message, MAX_REGISTER_BYTES);
    register_request_encode(request, &message);
    call.message = buf_slice(&message);
    a->registered_ms = clock_mono_ms();
    timer_start(a->settled, SETTLED_MS);
    a->registration = grpc_call(a->client, &call);
    buf_cleanup(&message);
    free(request);
}

/* --- life --- */

/* TLS always, whatever was written before "://" (video.md 1.4); a Unix socket needs none. */
static void set_address(struct agent *a, const char *addr)
{
    const char *host = strstr(addr, "://");

    a->orch_addr = xstrdup(addr);
    if (strncmp(addr, "unix:", 5) == 0) {
        a->unix_path = xstrdup(addr + 5);
        a->base = xstrdup("http://local");
    } else {
        a->base = xasprintf("https://%s", host ? host + 3 : addr);
    }
}

struct agent *agent_start(struct loop *l, const struct agent_conf *conf, struct err *err)
{
    struct agent *a = xcalloc(1, sizeof(*a));

    a->loop = l;
    a->conf = *conf;
    a->secret = xstrdup(conf->secret);
    a->backoff_ms = BACKOFF_MIN_MS;
    a->streams = map_new();
    list_init(&a->running);
    set_address(a, conf->orch_addr);
    caps_of_software_worker(&a->caps);
    snprintf(a->caps.version, sizeof(a->caps.version), "%s", conf->version);
    snprintf(a->trouble, sizeof(a->trouble), "not registered with %s yet", a->orch_addr);
    worker_metrics_init();
    a->client = http_client_new(l);
    a->reconnect = timer_new(l, connect_now, a);
    a->settled = timer_new(l, on_settled, a);
    a->codec = codec_new(l, &conf->codec, err);
    if (!a->codec) {
        agent_stop(a);
        return NULL;
    }
    connect_now(a);
    return a;
}

static void on_drain_time_up(void *arg)
{
    struct agent *a = arg;

    log_info(NULL, "the time to finish is up: %zu segments are left undone", a->running.n);
    drained(a);
}

void agent_drain(struct agent *a, int within_ms, void (*on_done)(void *arg), void *arg)
{
    a->draining = true;
    a->on_drained = on_done;
    a->drained_arg = arg;
    timer_stop(a->reconnect);
    timer_stop(a->settled);
    if (a->registration)
        http_call_cancel(a->registration); /* that is how a worker leaves: no new work comes */
    a->registration = NULL;
    snprintf(a->trouble, sizeof(a->trouble), "draining: the worker was asked to stop");
    a->drain_timer = timer_new(a->loop, on_drain_time_up, a);
    timer_start(a->drain_timer, within_ms);
    loop_defer(a->loop, &a->idle_told, drain_if_idle, a);
}

void agent_stop(struct agent *a)
{
    size_t at = 0;
    void *s;

    if (!a)
        return;
    if (a->registration)
        http_call_cancel(a->registration);
    LIST_EACH (&a->running, struct running, node, r) {
        worker_task_cancel(r->task);
        list_remove(&a->running, &r->node);
        if (r->stream)
            leave_stream(r->stream);
        free(r);
    }
    while (map_next(a->streams, &at, NULL, &s))
        stream_free(s);
    if (a->codec)
        codec_free(a->codec);
    http_client_free(a->client);
    loop_defer_cancel(a->loop, &a->idle_told);
    timer_free(a->reconnect);
    timer_free(a->settled);
    timer_free(a->drain_timer);
    map_free(a->streams);
    free(a->orch_addr);
    free(a->base);
    free(a->unix_path);
    free(a->secret);
    free(a);
}

/* --- telling --- */

bool agent_is_ready(struct agent *a, struct buf *why)
{
    if (!a->trouble[0])
        return true;
    buf_printf(why, "%s\n", a->trouble);
    return false;
}

static void codec_status(const struct agent *a, struct json_out *j)
{
    struct codec_stats c;

    codec_stats_get(a->codec, &c);
    jo_open(j, "codec", '{');
    jo_int(j, "children", c.children);
    jo_int(j, "waiting", c.jobs_waiting);
    jo_int(j, "crashed", c.children_crashed);
    jo_int(j, "template_restarts", c.template_restarts);
    jo_int(j, "jobs_done", c.jobs_done);
    jo_int(j, "jobs_failed", c.jobs_failed);
    jo_close(j, '}');
}

void agent_status(struct agent *a, struct buf *json)
{
    struct json_out j = json_out_of(json);

    jo_open(&j, NULL, '{');
    jo_text(&j, "role", "transcoder");
    jo_text(&j, "version", a->conf.version);
    jo_text(&j, "orchestrator", a->orch_addr);
    jo_text(&j, "trouble", a->trouble);
    jo_int(&j, "reconnects", a->reconnects);
    jo_int(&j, "capacity", a->conf.capacity);
    jo_int(&j, "streams", (int64_t)map_count(a->streams));
    jo_int(&j, "running", (int64_t)a->running.n);
    jo_int(&j, "done", a->done);
    jo_int(&j, "failed", a->failed);
    codec_status(a, &j);
    jo_close(&j, '}');
}
