/* The gateway's options become its configuration. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/gateway.h"
#include "node/address.h"
#include "node/page.h"
#include "node/role.h"
#include "node/version.h"
#include "wire/profiles.h"

enum {
    RTMP_PORT = 1935,
    HTTP_PORT = 9935,
    ADMIN_PORT = 5935,
    SERVICE_PORT = 8935,
    DRAIN_MS = 5000
};

struct gateway_role {
    struct gateway *gateway;
    struct gateway_conf conf;
    struct page *page;
    char *rtmp_addr, *http_addr, *webhook, *auth_webhook;
    bool dashboard; /* on the media port too */
    char **orch_uris, **blocklist;
    struct profile profiles[MAX_PROFILES];
};

static bool is_loopback(const char *addr)
{
    return strncmp(addr, "127.", 4) == 0 || strncmp(addr, "localhost", 9) == 0 ||
           strncmp(addr, "[::1]", 5) == 0;
}

static char **lowercase_addresses(const char *list)
{
    char **all = texts_split(list);

    for (size_t i = 0; all[i]; i++) {
        char *p = all[i];

        for (; *p; p++)
            if (*p >= 'A' && *p <= 'Z')
                *p = (char)(*p + 32);
        if (strncmp(all[i], "0x", 2) == 0)
            memmove(all[i], all[i] + 2, strlen(all[i] + 2) + 1);
    }
    return all;
}

static enum rc read_profiles(struct gateway_role *r, const struct options *o, struct err *err)
{
    char *skipped = NULL;
    size_t n = 0;
    enum rc rc = profiles_from_option(opt_text(o, OPT_transcodingOptions), r->profiles, &n,
                                      &skipped, err);

    if (rc == RC_OK && skipped && skipped[0])
        log_peer(NULL, "-transcodingOptions: unknown presets are skipped: %s", skipped);
    free(skipped);
    r->conf.profiles = r->profiles;
    r->conf.n_profiles = n;
    return rc == RC_OK ? rc : err_wrap(err, rc, "-transcodingOptions");
}

static enum rc max_sessions_from(struct gateway_role *r, const char *text, struct err *err)
{
    uint64_t n;

    if (!slice_u64(slice_str(text), 1000000, &n) || n == 0)
        return err_set(err, RC_BAD_INPUT, "-maxSessions: \"%s\" is no number of streams above 0",
                       text);
    r->conf.max_sessions = (int)n;
    return RC_OK;
}

static void role_free(struct gateway_role *r)
{
    gateway_stop(r->gateway);
    page_free(r->page);
    texts_free(r->orch_uris);
    texts_free(r->blocklist);
    free(r->rtmp_addr);
    free(r->http_addr);
    free(r->webhook);
    free(r->auth_webhook);
    free(r);
}

static void write_status(struct node *n, struct buf *json)
{
    gateway_status(((struct gateway_role *)n->running)->gateway, json);
}

static void page_status(struct buf *json, void *arg)
{
    gateway_status(((struct gateway_role *)arg)->gateway, json);
}

static void fill_conf(struct gateway_role *r, struct node *n)
{
    const struct options *o = &n->options;
    struct gateway_conf *c = &r->conf;
    bool guarded = is_loopback(r->http_addr) || r->auth_webhook;

    c->rtmp_addr = r->rtmp_addr;
    c->http_addr = r->http_addr;
    c->http_ingest = opt_given(o, OPT_httpIngest) ? opt_flag(o, OPT_httpIngest) : guarded;
    c->orch_uris = (const char *const *)r->orch_uris;
    c->blocklist = (const char *const *)r->blocklist;
    c->orch_webhook_url = r->webhook;
    c->auth_webhook_url = r->auth_webhook;
    c->min_version = opt_text(o, OPT_orchMinLivepeerVersion);
    c->discovery_timeout_ms = (int)opt_number(o, OPT_discoveryTimeout);
    c->extra_nodes = (int)opt_number(o, OPT_extraNodes);
    c->max_attempts = (int)opt_number(o, OPT_maxAttempts);
    c->data_dir = n->data_dir;
    c->reconnect_grace_ms = (int)opt_number(o, OPT_reconnectGrace);
    c->current_manifest = opt_flag(o, OPT_currentManifest);
    c->version = LEAT_VERSION;
    c->fallback = page_handle;
}

/* Empty: none. */
static enum rc read_webhook(const char *flag, const char *text, char **out, struct err *err)
{
    if (!text[0])
        return RC_OK;
    *out = address_read(ADDRESS_WEB, flag, text, 0, err);
    return *out ? RC_OK : err->code;
}

static enum rc read_addresses(struct gateway_role *r, const struct options *o, struct err *err)
{
    enum rc rc;

    r->rtmp_addr = address_read(ADDRESS_LISTEN, "rtmpAddr", opt_text(o, OPT_rtmpAddr), RTMP_PORT,
                                err);
    if (r->rtmp_addr)
        r->http_addr = address_read(ADDRESS_LISTEN, "httpAddr", opt_text(o, OPT_httpAddr),
                                    HTTP_PORT, err);
    if (r->http_addr)
        r->orch_uris = address_list_read(ADDRESS_ORCHESTRATOR, "orchAddr",
                                         opt_text(o, OPT_orchAddr), SERVICE_PORT, err);
    if (!r->orch_uris)
        return err->code;
    rc = read_webhook("orchWebhookUrl", opt_text(o, OPT_orchWebhookUrl), &r->webhook, err);
    if (rc == RC_OK)
        rc = read_webhook("authWebhookUrl", opt_text(o, OPT_authWebhookUrl), &r->auth_webhook, err);
    return rc;
}

static void *read_options(struct node *n, struct err *err)
{
    const struct options *o = &n->options;
    struct gateway_role *r = xcalloc(1, sizeof(*r));

    if (read_addresses(r, o, err) != RC_OK || read_profiles(r, o, err) != RC_OK ||
        max_sessions_from(r, opt_text(o, OPT_maxSessions), err) != RC_OK) {
        role_free(r);
        return NULL;
    }
    r->blocklist = lowercase_addresses(opt_text(o, OPT_orchBlocklist));
    r->dashboard = opt_flag(o, OPT_dashboard) || is_loopback(r->http_addr);
    fill_conf(r, n);
    return r;
}

/* What to do next. Others know the node by -gatewayHost, where that was given. */
static void tell(const struct gateway_role *r, const char *host)
{
    const char *rtmp = gateway_rtmp_addr(r->gateway), *http = gateway_http_addr(r->gateway);

    if (host[0])
        log_info(NULL, "publish to rtmp://%s%s/live/NAME, play http://%s%s/stream/NAME.m3u8", host,
                 strrchr(rtmp, ':'), host, strrchr(http, ':'));
    else
        log_info(NULL, "publish to rtmp://%s/live/NAME, play http://%s/stream/NAME.m3u8", rtmp,
                 http);
    if (r->dashboard)
        log_info(NULL, "open http://%s/ in a browser to watch", http);
    if (!r->orch_uris[0] && !r->webhook)
        log_info(NULL, "no orchestrator is known, so streams play in the publisher's quality only: "
                       "give -orchAddr HOST:PORT to have them transcoded");
}

static enum rc start(struct node *n, struct err *err)
{
    struct gateway_role *r = n->running;
    const struct page_conf page = {
        .dashboard_for_all = r->dashboard, .status = page_status, .arg = r};

    r->page = page_new(&page);
    r->conf.fallback_arg = r->page;
    r->gateway = gateway_start(n->loop, &r->conf, err);
    if (!r->gateway)
        return err->code;
    tell(r, opt_text(&n->options, OPT_gatewayHost));
    return RC_OK;
}

static void on_drained(void *arg)
{
    node_stopped(arg);
}

static void drain(struct node *n)
{
    gateway_drain(((struct gateway_role *)n->running)->gateway, DRAIN_MS, on_drained, n);
}

static void stop(struct node *n)
{
    role_free(n->running);
}

static bool is_ready(struct node *n, struct buf *why)
{
    return gateway_is_ready(((struct gateway_role *)n->running)->gateway, why);
}

/* The admin port shows the dashboard always. */
static void admin_page(struct http_exchange *x, void *arg)
{
    struct node *n = arg;

    page_handle_admin(x, ((struct gateway_role *)n->running)->page);
}

static void write_profiles(struct node *n, struct buf *names)
{
    const struct gateway_role *r = n->running;

    for (size_t i = 0; i < r->conf.n_profiles; i++)
        buf_printf(names, "%s%s", i ? "," : "", r->profiles[i].name);
}

static enum rc set_profiles(struct node *n, const char *list, struct err *err)
{
    struct gateway_role *r = n->running;
    struct profile read[MAX_PROFILES];
    size_t count = 0;
    enum rc rc = profiles_from_option(list, read, &count, NULL, err);

    if (rc != RC_OK)
        return rc;
    memcpy(r->profiles, read, count * sizeof(read[0]));
    r->conf.n_profiles = count;
    gateway_set_profiles(r->gateway, r->profiles, count);
    return RC_OK;
}

static enum rc set_max_sessions(struct node *n, const char *text, struct err *err)
{
    struct gateway_role *r = n->running;
    enum rc rc = max_sessions_from(r, text, err);

    if (rc == RC_OK)
        gateway_set_max_sessions(r->gateway, r->conf.max_sessions);
    return rc;
}

const struct role role_gateway = {
    .name = "gateway",
    .node_type = "bctr",
    .option_role = ROLE_G,
    .admin_port = ADMIN_PORT,
    .keeps_media = true,
    .summary = "take live streams in, have them transcoded, play them",
    .read = read_options,
    .start = start,
    .drain = drain,
    .stop = stop,
    .status = write_status,
    .is_ready = is_ready,
    .profiles = write_profiles,
    .set_profiles = set_profiles,
    .set_max_sessions = set_max_sessions,
    .page = admin_page,
};
