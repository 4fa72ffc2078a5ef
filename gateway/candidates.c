#include "gateway/candidates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/keccak.h"
#include "base/log.h"
#include "base/url.h"

struct candidates {
    struct web *web;
    struct web_call *call;
    struct timer *timer;
    char *url;
    struct candidate *list;
    size_t n;
    struct hash body_hash; /* of the list in use: the same body changes nothing */
    char trouble[ERR_TEXT_MAX], told[ERR_TEXT_MAX]; /* now; as the log has it */
    void (*on_change)(void *arg);
    void *arg;
};

static void list_free(struct candidate *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i].uri);
    free(list);
}

static void ask(void *arg);

struct candidates *candidates_new(struct loop *l, struct web *web, const char *const *uris,
                                  const char *webhook_url, void (*on_change)(void *arg), void *arg)
{
    struct candidates *c = xcalloc(1, sizeof(*c));

    c->web = web;
    c->on_change = on_change;
    c->arg = arg;
    c->timer = timer_new(l, ask, c);
    if (webhook_url) {
        c->url = xstrdup(webhook_url);
        ask(c);
        return c;
    }
    while (uris && uris[c->n])
        c->n++;
    c->list = xcalloc(MAX(c->n, (size_t)1), sizeof(*c->list));
    for (size_t i = 0; i < c->n; i++)
        c->list[i] = (struct candidate){.uri = xstrdup(uris[i]), .trusted = true};
    return c;
}

void candidates_free(struct candidates *c)
{
    if (!c)
        return;
    if (c->call)
        web_cancel(c->call);
    timer_free(c->timer);
    list_free(c->list, c->n);
    free(c->url);
    free(c);
}

size_t candidates_count(const struct candidates *c)
{
    return c->n;
}

const struct candidate *candidates_at(const struct candidates *c, size_t i)
{
    return &c->list[i];
}

const char *candidates_trouble(const struct candidates *c)
{
    return c->trouble;
}

/* One entry of the webhook's array; false: skipped (video.md 7.2). */
static bool entry_read(json_t *entry, struct candidate *out)
{
    char *address = NULL;
    double score = 0;
    const struct json_field fields[] = {
        {"address", JSON_REQUIRED, json_text, &address, 2048},
        {"score", JSON_OPTIONAL, json_double, &score, 1000},
    };
    struct url url;

    if (json_read(entry, fields, ARRAY_LEN(fields), NULL) != RC_OK ||
        url_parse(slice_str(address), &url, NULL) != RC_OK || (score > 0 && score < 1)) {
        free(address);
        return false;
    }
    *out = (struct candidate){.uri = address, .trusted = score >= 1};
    return true;
}

static enum rc list_read(struct slice body, struct candidate **list, size_t *n, struct err *err)
{
    json_t *array = json_parse(body, err);
    size_t max, used = 0;

    if (!array)
        return err_wrap(err, RC_BAD_INPUT, "discovery webhook's answer");
    if (!json_is_array(array)) {
        json_decref(array);
        return err_set(err, RC_BAD_INPUT, "discovery webhook's answer is no JSON array");
    }
    max = MIN(json_array_size(array), (size_t)MAX_CANDIDATES);
    *list = xcalloc(MAX(max, (size_t)1), sizeof(**list));
    for (size_t i = 0; i < max; i++)
        used += entry_read(json_array_get(array, i), &(*list)[used]);
    *n = used;
    json_decref(array);
    return RC_OK;
}

static void take_answer(struct candidates *c, struct slice body)
{
    struct hash hash = keccak_of(body);
    struct candidate *list = NULL;
    struct err err;
    size_t n = 0;

    if (c->n && memcmp(&hash, &c->body_hash, sizeof(hash)) == 0)
        return;
    if (list_read(body, &list, &n, &err) != RC_OK) {
        snprintf(c->trouble, sizeof(c->trouble), "%s", err.text);
        return;
    }
    list_free(c->list, c->n);
    c->list = list;
    c->n = n;
    c->body_hash = hash;
    log_info(NULL, "discovery webhook names %zu orchestrators", n);
    c->on_change(c->arg);
}

/* It is asked every minute: the log hears of a trouble once, until it changes. */
static void tell_trouble(struct candidates *c)
{
    if (strcmp(c->trouble, c->told) == 0)
        return;
    if (c->trouble[0])
        log_peer(NULL, "%s; the last good list of %zu stays", c->trouble, c->n);
    else
        log_info(NULL, "discovery webhook answers well again");
    snprintf(c->told, sizeof(c->told), "%s", c->trouble);
}

static void on_answer(int status, struct blob *body, const struct err *err, void *arg)
{
    struct candidates *c = arg;

    c->call = NULL;
    timer_start(c->timer, CANDIDATES_EVERY_MS);
    c->trouble[0] = '\0';
    if (err)
        snprintf(c->trouble, sizeof(c->trouble), "discovery webhook %s: %.300s", c->url, err->text);
    else if (status < 200 || status > 299)
        snprintf(c->trouble, sizeof(c->trouble), "discovery webhook %s answered status %d", c->url,
                 status);
    else
        take_answer(c, blob_slice(body));
    tell_trouble(c);
}

static void ask(void *arg)
{
    struct candidates *c = arg;
    struct web_conf conf = {.url = c->url,
                            .timeout_ms = WEBHOOK_TIMEOUT_MS,
                            .max_body = MAX_WEBHOOK_BODY,
                            .on_done = on_answer,
                            .arg = c};

    c->call = web_start(c->web, &conf);
}
