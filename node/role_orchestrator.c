/* The orchestrator's options become its configuration. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/url.h"
#include "node/role.h"
#include "node/version.h"
#include "orchestrator/orchestrator.h"

enum { ADMIN_PORT = 7935, SERVICE_PORT = 8935, DRAIN_MS = 60 * 1000 };

struct orchestrator_role {
    struct orchestrator *orchestrator;
    struct orchestrator_conf conf;
    char *service_uri, *secret;
    char **nodes;
    const char *worker_args[8];
};

/* "host:8935" -> "https://host:8935"; a scheme given stays (video.md 15). */
static char *service_uri(const char *given)
{
    char *addr, *uri;

    if (strstr(given, "://"))
        return xstrdup(given);
    addr = addr_complete(given, "127.0.0.1", SERVICE_PORT);
    uri = xasprintf("https://%s", addr);
    free(addr);
    return uri;
}

static enum rc read_max_sessions(struct orchestrator_role *r, const struct options *o,
                                 struct err *err)
{
    const char *text = opt_text(o, OPT_maxSessions);
    uint64_t n;

    if (strcmp(text, "auto") == 0) {
        r->conf.max_sessions = -1;
        if (!opt_flag(o, OPT_transcoder))
            return RC_OK;
        return err_set(err, RC_BAD_INPUT,
                       "-maxSessions auto is for orchestrators without -transcoder");
    }
    if (!slice_u64(slice_str(text), 1000000, &n) || n == 0)
        return err_set(err, RC_BAD_INPUT,
                       "-maxSessions: \"%s\" is neither \"auto\" nor a number above 0", text);
    r->conf.max_sessions = (int)n;
    return RC_OK;
}

static enum rc check(struct orchestrator_role *r, const struct options *o, struct err *err)
{
    struct url url;
    enum rc rc = url_parse(slice_str(r->service_uri), &url, err);

    if (rc != RC_OK)
        return err_wrap(err, rc, "-serviceAddr");
    if (strcmp(url.scheme, "https") != 0 && strcmp(url.scheme, "http") != 0)
        return err_set(err, RC_BAD_INPUT, "-serviceAddr %s: give HOST:PORT or an https URL",
                       r->service_uri);
    if (!opt_flag(o, OPT_transcoder) && !r->conf.secret)
        return err_set(err, RC_BAD_INPUT,
                       "an orchestrator needs workers: give -transcoder for one on this machine, "
                       "or -orchSecret for remote ones");
    for (size_t i = 0; r->nodes[i]; i++)
        if (strncmp(r->nodes[i], "https://", 8) != 0)
            return err_set(err, RC_BAD_INPUT, "-nodes: \"%s\" is no https URL", r->nodes[i]);
    return read_max_sessions(r, o, err);
}

static void role_free(struct orchestrator_role *r)
{
    if (r->orchestrator)
        orchestrator_stop(r->orchestrator);
    texts_free(r->nodes);
    free(r->service_uri);
    free(r->secret);
    free(r);
}

static void fill_conf(struct orchestrator_role *r, struct node *n)
{
    const struct options *o = &n->options;
    struct orchestrator_conf *c = &r->conf;

    if (opt_text(o, OPT_httpAddr)[0])
        c->http_addr = opt_text(o, OPT_httpAddr);
    c->service_uri = r->service_uri;
    c->data_dir = n->data_dir;
    c->secret = r->secret;
    c->local_worker = opt_flag(o, OPT_transcoder);
    c->nodes = (const char *const *)r->nodes;
    c->version = NETWORK_VERSION;
    c->startup_check = opt_flag(o, OPT_startupAvailabilityCheck);
    if (opt_text(o, OPT_failedSegments)[0]) {
        r->worker_args[0] = "-failedSegments";
        r->worker_args[1] = opt_text(o, OPT_failedSegments);
    }
    c->worker_args = r->worker_args;
}

static void *start(struct node *n, struct err *err)
{
    const struct options *o = &n->options;
    struct orchestrator_role *r = xcalloc(1, sizeof(*r));

    r->service_uri = service_uri(opt_text(o, OPT_serviceAddr));
    r->nodes = texts_split(opt_text(o, OPT_nodes));
    if (opt_text(o, OPT_orchSecret)[0])
        r->secret = option_value_or_file(opt_text(o, OPT_orchSecret));
    fill_conf(r, n);
    if (check(r, o, err) == RC_OK)
        r->orchestrator = orchestrator_start(n->loop, &r->conf, err);
    if (!r->orchestrator) {
        role_free(r);
        return NULL;
    }
    log_info(NULL, "serving gateways at %s", r->service_uri);
    return r;
}

static void on_drained(void *arg)
{
    node_stopped(arg);
}

static void drain(struct node *n)
{
    struct orchestrator_role *r = n->running;

    orchestrator_drain(r->orchestrator, DRAIN_MS, on_drained, n);
}

static void stop(struct node *n)
{
    role_free(n->running);
}

static void write_status(struct node *n, struct buf *json)
{
    orchestrator_status(((struct orchestrator_role *)n->running)->orchestrator, json);
}

static bool is_ready(struct node *n, struct buf *why)
{
    return orchestrator_is_ready(((struct orchestrator_role *)n->running)->orchestrator, why);
}

const struct role role_orchestrator = {
    .name = "orchestrator",
    .node_type = "orch",
    .option_role = ROLE_O,
    .admin_port = ADMIN_PORT,
    .summary = "take work from gateways and hand it to workers",
    .start = start,
    .drain = drain,
    .stop = stop,
    .status = write_status,
    .is_ready = is_ready,
};
