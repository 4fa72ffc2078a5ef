#include "gateway/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/grpc.h"

enum { MAX_TOKEN_LIFE_S = 24 * 3600 };

static void ask(struct session *s, int timeout_ms);

void session_renew(struct session *s)
{
    log_debug(&s->log, "negotiating again");
    ask(s, REFRESH_TIMEOUT_MS);
}

static void renew(void *arg)
{
    session_renew(arg);
}

struct session *session_new(const struct session_conf *conf, const char *uri, bool trusted)
{
    static uint64_t last_id;
    struct session *s = xcalloc(1, sizeof(*s));

    s->id = ++last_id;
    s->conf = *conf;
    s->uri = xstrdup(uri);
    s->trusted = trusted;
    log_tag(&s->log, "orchestrator=%s", uri);
    s->renew = timer_new(conf->loop, renew, s);
    ask(s, GET_ORCHESTRATOR_TIMEOUT_MS);
    return s;
}

static void on_ended(int status, const struct err *err, void *arg)
{
    /* Nothing depends on the answer: the orchestrator ends idle sessions by itself. */
    (void)status;
    (void)err;
    (void)arg;
}

static void ignore_message(struct slice message, void *arg)
{
    (void)message;
    (void)arg;
}

static void say_end(struct session *s)
{
    struct grpc_call_conf call = {.url = s->uri,
                                  .path = PATH_END_SESSION,
                                  .timeout_ms = 3000,
                                  .on_message = ignore_message,
                                  .on_done = on_ended};
    struct buf message;

    buf_init(&message, 4096);
    end_session_encode(&s->token, &message);
    call.message = buf_slice(&message);
    grpc_call(s->conf.client, &call);
    buf_cleanup(&message);
}

void session_free(struct session *s)
{
    if (!s)
        return;
    if (s->call)
        http_call_cancel(s->call);
    if (s->token.token_n)
        say_end(s);
    timer_free(s->renew);
    free(s->uri);
    free(s);
}

bool session_token_lasts(const struct session *s, int64_t ms)
{
    return s->token.expiration * 1000 - clock_wall_ms() > ms;
}

static void schedule_renewal(struct session *s)
{
    int64_t left_ms = (s->token.expiration - AUTH_TOKEN_REFRESH_S) * 1000 - clock_wall_ms();

    timer_start(s->renew, MAX(left_ms, (int64_t)1000));
}

static bool is_blocked(const struct session *s, const uint8_t address[ADDRESS_BYTES])
{
    char text[2 * ADDRESS_BYTES + 1];

    for (size_t i = 0; i < ADDRESS_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", address[i]);
    for (size_t i = 0; s->conf.blocklist && s->conf.blocklist[i]; i++)
        if (strcmp(s->conf.blocklist[i], text) == 0)
            return true;
    return false;
}

/* video.md 7.4 */
static enum rc check_info(const struct session *s, const struct orchestrator_info *info,
                          struct err *err)
{
    if (!info->transcoder[0])
        return err_set(err, RC_UNAVAILABLE, "takes no work itself (it names no service address)");
    if (is_blocked(s, info->address))
        return err_set(err, RC_DENIED, "its address is on -orchBlocklist");
    if (!info->has_token)
        return err_set(err, RC_BAD_INPUT, "its answer holds no auth token");
    if (info->token.expiration <= clock_wall_ms() / 1000 ||
        info->token.expiration > clock_wall_ms() / 1000 + MAX_TOKEN_LIFE_S)
        return err_set(err, RC_BAD_INPUT,
                       "its token expires at Unix time %lld, at most a day ahead is expected: do "
                       "both clocks agree?",
                       (long long)info->token.expiration);
    if (!info->has_caps)
        return err_set(err, RC_UNSUPPORTED, "its answer names no capabilities");
    return caps_compatible(s->conf.need, &info->caps, err);
}

static void take_info(struct session *s, const struct orchestrator_info *info)
{
    snprintf(s->transcoder, sizeof(s->transcoder), "%s", info->transcoder);
    snprintf(s->version, sizeof(s->version), "%s", info->caps.version);
    s->token = info->token;
    s->n_nodes = MIN(info->n_nodes, (size_t)SESSION_MAX_NODES);
    for (size_t i = 0; i < s->n_nodes; i++)
        snprintf(s->nodes[i], sizeof(s->nodes[i]), "%s", info->nodes[i]);
}

void session_refreshed(struct session *s, const struct orchestrator_info *info)
{
    if (info->transcoder[0])
        snprintf(s->transcoder, sizeof(s->transcoder), "%s", info->transcoder);
    if (info->has_token && info->token.expiration > s->token.expiration &&
        info->token.expiration <= clock_wall_ms() / 1000 + MAX_TOKEN_LIFE_S) {
        s->token = info->token;
        schedule_renewal(s);
    }
}

static void on_message(struct slice message, void *arg)
{
    struct session *s = arg;
    struct arena *a = arena_new(1024 * 1024);
    struct orchestrator_info info;
    enum rc rc = orchestrator_info_decode(message, a, &info, &s->why);

    if (rc == RC_OK)
        rc = check_info(s, &info, &s->why);
    if (rc == RC_OK) {
        take_info(s, &info);
        s->why.code = RC_OK;
    }
    arena_free(a);
}

static void on_done(int status, const struct err *err, void *arg)
{
    struct session *s = arg;
    bool was_open = s->state == SESSION_OPEN;

    s->call = NULL;
    s->latency_ms = clock_mono_ms() - s->asked_ms;
    if (status != GRPC_OK)
        err_set(&s->why, err ? err->code : RC_UNAVAILABLE, "%s", err ? err->text : "no answer");
    if (s->why.code == RC_OK) {
        s->state = SESSION_OPEN;
        schedule_renewal(s);
    } else if (was_open && session_token_lasts(s, 10 * 1000)) {
        /* A renewal that fails is no reason to stop: the token still works. Try again soon. */
        log_peer(&s->log, "could not be renewed: %s", s->why.text);
        timer_start(s->renew, 10 * 1000);
        return;
    } else {
        s->state = SESSION_FAILED;
    }
    s->conf.on_change(s, s->conf.arg);
}

static void ask(struct session *s, int timeout_ms)
{
    struct orchestrator_request request = {.has_caps = true, .caps = *s->conf.need};
    struct grpc_call_conf call = {.url = s->uri,
                                  .path = PATH_GET_ORCHESTRATOR,
                                  .connect_timeout_ms = 3000,
                                  .timeout_ms = timeout_ms,
                                  .on_message = on_message,
                                  .on_done = on_done,
                                  .arg = s};
    struct buf message;

    if (s->call)
        return;
    buf_init(&message, 64 * 1024);
    orchestrator_request_encode(&request, &message);
    call.message = buf_slice(&message);
    s->asked_ms = clock_mono_ms();
    err_set(&s->why, RC_BAD_INPUT, "its answer held no message");
    s->call = grpc_call(s->conf.client, &call);
    buf_cleanup(&message);
}
