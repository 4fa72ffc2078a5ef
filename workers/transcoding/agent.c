#include "workers/transcoding/agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "base/metric.h"
#include "base/rand.h"
#include "net/grpc.h"
#include "workers/transcoding/task.h"

enum { BACKOFF_MIN_MS = 500, BACKOFF_MAX_MS = 60 * 1000, PING_EVERY_MS = 5000,
       STREAM_IDLE_MS = 70 * 1000, MESSAGE_ARENA = 512 * 1024 };

static struct metric tasks_done =
    METRIC_COUNTER("livepeer_segment_transcoded_total", "segments transcoded", NULL);
static struct metric tasks_failed =
    METRIC_COUNTER("livepeer_segment_transcode_failed_total", "segments not transcoded", NULL);

/* One session of the orchestrator: its codec child, and when it was last used. */
struct stream {
    struct agent *agent;
    char id[SESSION_ID_MAX + 1];
    struct codec_session *codec;
    struct timer *idle;
    int running;
};

/* A running task and the stream it belongs to. */
struct running {
    struct list_node node;
    struct agent *agent;
    struct stream *stream;
    struct worker_task *task;
};

struct agent {
    struct loop *loop;
    struct agent_conf conf;
    char *base, *unix_path, *secret;
    struct caps caps;
    struct http_client *client;
    struct codec *codec;
    struct http_call *registration;
    struct timer *reconnect, *drain_timer;
    int64_t backoff_ms, registered_ms;
    char trouble[ERR_TEXT_MAX];     /* why we are not registered; "" when we are */
    struct map *streams;
    struct list running;
    int64_t done, failed;
    bool draining;
    void (*on_drained)(void *arg);
    void *drained_arg;
};

/* --- streams --- */

static void stream_free(struct stream *s)
{
    map_remove(s->agent->streams, slice_str(s->id));
    codec_session_close(s->codec);
    timer_free(s->idle);
    free(s);
}

static void on_idle(void *arg)
{
    struct stream *s = arg;

    if (!s->running)
        stream_free(s);
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

/* --- tasks --- */

static void finish_drain_if_idle(struct agent *a)
{
    void (*fn)(void *) = a->on_drained;

    if (!a->draining || !fn || !list_is_empty(&a->running))
        return;
    a->on_drained = NULL;
    fn(a->drained_arg);
}

static void on_task_end(struct worker_task *t, bool ok, void *arg)
{
    struct running *r = arg;
    struct agent *a = r->agent;

    (void)t;
    a->done += ok;
    a->failed += !ok;
    metric_add(ok ? &tasks_done : &tasks_failed, 1);
    list_remove(&a->running, &r->node);
    r->stream->running--;
    timer_start(r->stream->idle, STREAM_IDLE_MS);
    free(r);
    finish_drain_if_idle(a);
}

static void start_task(struct agent *a, const struct notify_segment *m)
{
    struct running *r = xcalloc(1, sizeof(*r));
    struct worker_task_conf conf = {.loop = a->loop,
                                    .client = a->client,
                                    .base = a->base,
                                    .unix_path = a->unix_path,
                                    .secret = a->secret,
                                    .have = &a->caps,
                                    .on_end = on_task_end,
                                    .arg = r};

    r->agent = a;
    r->stream = stream_of(a, m->seg.token.session_id);
    r->stream->running++;
    timer_stop(r->stream->idle);
    conf.session = r->stream->codec;
    list_push(&a->running, &r->node);
    r->task = worker_task_start(&conf, m);
}

static void end_stream(struct agent *a, const char *id)
{
    struct stream *s = map_get(a->streams, slice_str(id));

    if (s && !s->running)
        stream_free(s);
    else if (s)
        timer_start(s->idle, STREAM_IDLE_MS);
}

/* --- registration --- */

static void on_message(struct slice message, void *arg)
{
    struct agent *a = arg;
    struct arena *arena = arena_new(MESSAGE_ARENA);
    struct notify_segment *m = xcalloc(1, sizeof(*m));
    struct err err;

    a->backoff_ms = BACKOFF_MIN_MS;
    if (notify_segment_decode(message, arena, m, &err) != RC_OK)
        log_peer(NULL, "notification of the orchestrator: %s", err.text);
    else if (!m->url[0] && m->seg.has_token)
        end_stream(a, m->seg.token.session_id);
    else if (m->has_seg && m->seg.has_token)
        start_task(a, m);
    else
        log_peer(NULL, "notification of the orchestrator without session: ignored");
    free(m);
    arena_free(arena);
}

static void reconnect_later(struct agent *a)
{
    int64_t jitter = (int64_t)((rand_unit() - 0.5) * (double)a->backoff_ms);

    timer_start(a->reconnect, a->backoff_ms + jitter);
    a->backoff_ms = MIN(a->backoff_ms * 3 / 2, (int64_t)BACKOFF_MAX_MS);
}

/* No retry can mend these (video.md 11.1). */
static bool is_fatal(const char *text)
{
    return strcmp(text, "invalid secret") == 0 || strcmp(text, "zero capacity") == 0;
}

static void on_registration_end(int status, const struct err *err, void *arg)
{
    struct agent *a = arg;
    const char *text = err ? err->text : "the orchestrator ended the registration";
    struct err fatal;

    a->registration = NULL;
    if (a->draining)
        return;
    if (status == GRPC_UNKNOWN && is_fatal(text)) {
        err_set(&fatal, RC_DENIED, "orchestrator %s says \"%s\": %s", a->conf.orch_addr, text,
                strcmp(text, "invalid secret") == 0 ? "-orchSecret must be the same on both sides"
                                                    : "-maxSessions must be above 0");
        a->conf.on_fatal(&fatal, a->conf.arg);
        return;
    }
    /* A registration that held for a while was a good one: begin with a short wait again. */
    if (clock_mono_ms() - a->registered_ms > 10000)
        a->backoff_ms = BACKOFF_MIN_MS;
    snprintf(a->trouble, sizeof(a->trouble), "not registered with %s: %.300s", a->conf.orch_addr,
             text);
    log_peer(NULL, "%s; trying again in about %" PRId64 " ms", a->trouble, a->backoff_ms);
    reconnect_later(a);
}

static void connect_now(void *arg)
{
    struct agent *a = arg;
    const struct register_request request = {.secret = a->secret,
                                             .capacity = a->conf.capacity,
                                             .has_caps = true,
                                             .caps = a->caps};
    struct grpc_call_conf call = {.url = a->base,
                                  .unix_path = a->unix_path,
                                  .path = PATH_REGISTER_TRANSCODER,
                                  .ping_every_ms = PING_EVERY_MS,
                                  .on_message = on_message,
                                  .on_done = on_registration_end,
                                  .arg = a};
    struct buf message;

    buf_init(&message, 64 * 1024);
    register_request_encode(&request, &message);
    call.message = buf_slice(&message);
    a->trouble[0] = '\0';
    a->registered_ms = clock_mono_ms();
    a->registration = grpc_call(a->client, &call);
    buf_cleanup(&message);
}

/* --- life --- */

static void set_address(struct agent *a, const char *addr)
{
    const char *host = strstr(addr, "://") ? strstr(addr, "://") + 3 : addr;

    if (strncmp(addr, "unix:", 5) == 0) {
        a->unix_path = xstrdup(addr + 5);
        a->base = xstrdup("http://local");
    } else {
        a->base = xasprintf("https://%s", host); /* TLS always, whatever was written (video.md 1.4) */
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
    metric_declare(&tasks_done);
    metric_declare(&tasks_failed);
    a->client = http_client_new(l);
    a->reconnect = timer_new(l, connect_now, a);
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
    void (*fn)(void *) = a->on_drained;

    a->on_drained = NULL;
    if (fn)
        fn(a->drained_arg);
}

void agent_drain(struct agent *a, int within_ms, void (*on_done)(void *arg), void *arg)
{
    a->draining = true;
    a->on_drained = on_done;
    a->drained_arg = arg;
    timer_stop(a->reconnect);
    if (a->registration)
        http_call_cancel(a->registration); /* leaving: no new work comes */
    a->registration = NULL;
    a->drain_timer = timer_new(a->loop, on_drain_time_up, a);
    timer_start(a->drain_timer, list_is_empty(&a->running) ? 0 : within_ms);
}

void agent_stop(struct agent *a)
{
    size_t at = 0;
    void *s;

    if (!a)
        return;
    LIST_EACH (&a->running, struct running, node, r) {
        worker_task_cancel(r->task);
        list_remove(&a->running, &r->node);
        free(r);
    }
    while (map_next(a->streams, &at, NULL, &s))
        stream_free(s);
    if (a->codec)
        codec_free(a->codec);
    http_client_free(a->client);
    timer_free(a->reconnect);
    timer_free(a->drain_timer);
    map_free(a->streams);
    free(a->base);
    free(a->unix_path);
    free(a->secret);
    free(a);
}

bool agent_is_ready(struct agent *a, struct buf *why)
{
    if (a->registration && !a->trouble[0])
        return true;
    buf_printf(why, "%s\n", a->trouble[0] ? a->trouble : "not registered yet");
    return false;
}

void agent_status(struct agent *a, struct buf *json)
{
    struct json_out j = json_out_of(json);
    struct codec_stats c;

    codec_stats_get(a->codec, &c);
    jo_open(&j, NULL, '{');
    jo_text(&j, "role", "transcoder");
    jo_text(&j, "version", a->conf.version);
    jo_text(&j, "orchestrator", a->conf.orch_addr);
    jo_text(&j, "trouble", a->trouble);
    jo_int(&j, "capacity", a->conf.capacity);
    jo_int(&j, "streams", (int64_t)map_count(a->streams));
    jo_int(&j, "running", (int64_t)a->running.n);
    jo_int(&j, "done", a->done);
    jo_int(&j, "failed", a->failed);
    jo_open(&j, "codec", '{');
    jo_int(&j, "children", c.children);
    jo_int(&j, "crashed", c.children_crashed);
    jo_int(&j, "template_restarts", c.template_restarts);
    jo_int(&j, "jobs_done", c.jobs_done);
    jo_int(&j, "jobs_failed", c.jobs_failed);
    jo_close(&j, '}');
    jo_close(&j, '}');
}
