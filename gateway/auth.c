#include "gateway/auth.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

enum { SHOWN_BODY = 120 };

struct auth {
    struct gateway *g;
    char name[STREAM_NAME_MAX + 1];
    auth_on_answer on_answer;
    void *arg;
    struct web_call *call; /* NULL: too many were asked about */
    struct deferred full;
};

static void auth_free(struct auth *a)
{
    loop_defer_cancel(a->g->loop, &a->full);
    a->g->n_asked--;
    free(a);
}

/* detail: for the operator alone, who knows the webhook. */
static void refuse(struct auth *a, const struct err *why, const char *detail)
{
    if (log_allowed(&a->g->refused, REFUSED_LOGGED_A_MINUTE))
        log_peer(NULL, "stream=%s may not begin: %s%s%s", a->name, why->text, detail[0] ? ": " : "",
                 detail);
    a->on_answer(NULL, why, a->arg);
}

/* A webhook that says no may say why; the page of a broken one is nothing for strangers. */
static void describe_status(int status, struct slice body, struct err *why)
{
    char shown[256];

    if (status < 400 || status > 499 || !body.n)
        (void)err_set(why, RC_DENIED, "the auth webhook answered status %d, 200 is expected",
                      status);
    else
        (void)err_set(why, RC_DENIED, "the auth webhook refused it: status=%d error=%s", status,
                      text_printable(slice_sub(slice_trim(body), 0, SHOWN_BODY), shown));
}

static enum rc read_answer(int status, struct slice body, struct stream_config *out,
                           struct err *why)
{
    enum rc rc;

    if (status != 200) {
        describe_status(status, body, why);
        return RC_DENIED;
    }
    rc = stream_config_read(body, out, why);
    if (rc != RC_OK)
        return err_wrap(why, rc, "the auth webhook's answer");
    if (out->given && !out->manifest_id[0])
        return err_set(why, RC_BAD_INPUT,
                       "the auth webhook's answer: empty manifest id not allowed");
    out->timeout_multiplier = 0; /* the network takes these from a push's header only */
    out->reinit = false;
    return RC_OK;
}

static void on_done(int status, struct blob *body, const struct err *err, void *arg)
{
    struct auth *a = arg;
    struct stream_config config;
    struct err why;

    if (err && err->code == RC_TIMEOUT) {
        (void)err_set(&why, err->code, "the auth webhook did not answer within %d s",
                      AUTH_TIMEOUT_MS / 1000);
        refuse(a, &why, err->text);
    } else if (err) {
        (void)err_set(&why, err->code, "the auth webhook could not be asked");
        refuse(a, &why, err->text);
    } else if (read_answer(status, blob_slice(body), &config, &why) != RC_OK) {
        refuse(a, &why, "");
    } else {
        a->on_answer(&config, NULL, a->arg);
    }
    auth_free(a);
}

static void on_full(void *arg)
{
    struct auth *a = arg;
    struct err why;

    (void)err_set(&why, RC_BUSY, "%d streams wait for the auth webhook already; try again",
                  AUTH_MAX_ASKED);
    refuse(a, &why, "");
    auth_free(a);
}

static void ask(struct auth *a, struct slice url)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    struct web_conf conf = {.method = "POST",
                            .url = a->g->conf.auth_webhook_url,
                            .headers = headers,
                            .timeout_ms = AUTH_TIMEOUT_MS,
                            .max_body = AUTH_MAX_BODY,
                            .on_done = on_done,
                            .arg = a};
    struct json_out j;
    struct buf body;

    buf_init(&body, 64 * 1024);
    j = json_out_of(&body);
    jo_open(&j, NULL, '{');
    jo_slice(&j, "url", url);
    jo_close(&j, '}');
    conf.body = buf_slice(&body);
    a->call = web_start(a->g->web, &conf);
    buf_cleanup(&body);
}

struct auth *auth_ask(struct gateway *g, const char *name, struct slice url,
                      auth_on_answer on_answer, void *arg)
{
    struct auth *a = xcalloc(1, sizeof(*a));

    a->g = g;
    snprintf(a->name, sizeof(a->name), "%s", name);
    a->on_answer = on_answer;
    a->arg = arg;
    if (g->n_asked++ >= AUTH_MAX_ASKED)
        loop_defer(g->loop, &a->full, on_full, a);
    else
        ask(a, url);
    return a;
}

void auth_cancel(struct auth *a)
{
    if (!a)
        return;
    web_cancel(a->call);
    auth_free(a);
}
