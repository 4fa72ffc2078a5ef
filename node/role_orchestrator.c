/* The orchestrator's options become its configuration. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/address.h"
#include "node/role.h"
#include "node/version.h"
#include "orchestrator/orchestrator.h"

enum { ADMIN_PORT = 7935, SERVICE_PORT = 8935, DRAIN_MS = 60 * 1000 };

struct orchestrator_role {
    struct orchestrator *orchestrator;
    struct orchestrator_conf conf;
    char *service_uri, *http_addr, *secret;
    char **nodes;
    const char *worker_args[8];
};

static enum rc max_sessions_from(struct orchestrator_role *r, const struct options *o,
                                 const char *text, struct err *err)
{
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

static enum rc read_addresses(struct orchestrator_role *r, const struct options *o, struct err *err)
{
    const char *http = opt_text(o, OPT_httpAddr);

    r->service_uri = address_read(ADDRESS_SERVICE, "serviceAddr", opt_text(o, OPT_serviceAddr),
                                  SERVICE_PORT, err);
    if (r->service_uri)
        r->nodes = address_list_read(ADDRESS_NODE, "nodes", opt_text(o, OPT_nodes), 0, err);
    if (r->nodes && http[0])
        r->http_addr = address_read(ADDRESS_DOOR, "httpAddr", http, SERVICE_PORT, err);
    return r->nodes && (r->http_addr || !http[0]) ? RC_OK : err->code;
}

static enum rc check_workers(const struct orchestrator_role *r, const struct options *o,
                             struct err *err)
{
    if (opt_flag(o, OPT_transcoder) || r->secret)
        return RC_OK;
    return err_set(err, RC_BAD_INPUT,
                   "an orchestrator needs workers: give -transcoder for one on this machine, or "
                   "-orchSecret TEXT for workers elsewhere, which are started there as\n"
                   "  leat transcoder -orchAddr THIS_HOST:%d -orchSecret TEXT",
                   SERVICE_PORT);
}

static void role_free(struct orchestrator_role *r)
{
    if (r->orchestrator)
        orchestrator_stop(r->orchestrator);
    texts_free(r->nodes);
    free(r->service_uri);
    free(r->http_addr);
    free(r->secret);
    free(r);
}

static void fill_conf(struct orchestrator_role *r, struct node *n)
{
    const struct options *o = &n->options;
    struct orchestrator_conf *c = &r->conf;

    c->http_addr = r->http_addr;
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

static void *read_options(struct node *n, struct err *err)
{
    const struct options *o = &n->options;
    struct orchestrator_role *r = xcalloc(1, sizeof(*r));

    if (opt_text(o, OPT_orchSecret)[0])
        r->secret = option_value_or_file(opt_text(o, OPT_orchSecret));
    if (read_addresses(r, o, err) != RC_OK || check_workers(r, o, err) != RC_OK ||
        max_sessions_from(r, o, opt_text(o, OPT_maxSessions), err) != RC_OK) {
        role_free(r);
        return NULL;
    }
    fill_conf(r, n);
    return r;
}

static void tell(const struct orchestrator_role *r)
{
    const char *listens = orchestrator_addr(r->orchestrator);

    if (strstr(r->service_uri, listens))
        log_info(NULL, "serving gateways at %s", r->service_uri);
    else
        log_info(NULL, "serving gateways at %s, listening on %s", r->service_uri, listens);
}

static enum rc start(struct node *n, struct err *err)
{
    struct orchestrator_role *r = n->running;

    r->orchestrator = orchestrator_start(n->loop, &r->conf, err);
    if (!r->orchestrator)
        return err->code;
    tell(r);
    return RC_OK;
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

static enum rc set_max_sessions(struct node *n, const char *text, struct err *err)
{
    struct orchestrator_role *r = n->running;
    enum rc rc = max_sessions_from(r, &n->options, text, err);

    if (rc == RC_OK)
        orchestrator_set_max_sessions(r->orchestrator, r->conf.max_sessions);
    return rc;
}

const struct role role_orchestrator = {
    .name = "orchestrator",
    .node_type = "orch",
    .option_role = ROLE_O,
    .admin_port = ADMIN_PORT,
    .summary = "take work from gateways and hand it to workers",
    .read = read_options,
    .start = start,
    .drain = drain,
    .stop = stop,
    .status = write_status,
    .is_ready = is_ready,
    .set_max_sessions = set_max_sessions,
};
