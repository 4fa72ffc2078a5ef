/* The transcoding worker's options become its configuration. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/address.h"
#include "node/role.h"
#include "node/version.h"
#include "workers/transcoding/agent.h"

enum { ADMIN_PORT = 6935, SERVICE_PORT = 8935, DRAIN_MS = 30 * 1000 };
#define FAILED_SEGMENTS_MAX_BYTES (1000u * 1000 * 1000)

struct transcoder_role {
    struct agent *agent;
    char *orchestrator, *secret;
    int capacity;
    struct node *node;
};

static void on_fatal(const struct err *err, void *arg)
{
    struct transcoder_role *r = arg;

    node_fatal(r->node, err);
}

static void role_free(struct transcoder_role *r)
{
    if (r->agent)
        agent_stop(r->agent);
    free(r->orchestrator);
    free(r->secret);
    free(r);
}

/* The first of -orchAddr; "unix:/path" is how an orchestrator names itself to its own worker. */
static enum rc read_orchestrator(struct transcoder_role *r, const struct options *o,
                                 struct err *err)
{
    const char *given = opt_text(o, OPT_orchAddr);
    char **uris;

    if (strncmp(given, "unix:", 5) == 0) {
        r->orchestrator = xstrdup(given);
        return RC_OK;
    }
    uris = address_list_read(ADDRESS_ORCHESTRATOR, "orchAddr", given, SERVICE_PORT, err);
    if (!uris)
        return err->code;
    if (uris[0])
        r->orchestrator = xstrdup(strstr(uris[0], "://") + 3); /* workers speak TLS always */
    texts_free(uris);
    return RC_OK;
}

static enum rc read_capacity(struct transcoder_role *r, const struct options *o, struct err *err)
{
    const char *text = opt_text(o, OPT_maxSessions);
    uint64_t n;

    if (!slice_u64(slice_str(text), 1000000, &n) || n == 0)
        return err_set(err, RC_BAD_INPUT, "-maxSessions: \"%s\" is no number above 0", text);
    r->capacity = (int)n;
    return RC_OK;
}

static enum rc check_given(const struct transcoder_role *r, struct err *err)
{
    if (!r->orchestrator)
        return err_set(err, RC_BAD_INPUT,
                       "a transcoder needs -orchAddr HOST:PORT, the orchestrator it works for, and "
                       "the -orchSecret of that one. Both on this machine:\n"
                       "  leat orchestrator -orchSecret TEXT\n"
                       "  leat transcoder -orchAddr 127.0.0.1:%d -orchSecret TEXT",
                       SERVICE_PORT);
    if (!r->secret[0])
        return err_set(err, RC_BAD_INPUT,
                       "a transcoder needs -orchSecret TEXT, the same as its orchestrator has");
    return RC_OK;
}

static void *read_options(struct node *n, struct err *err)
{
    const struct options *o = &n->options;
    struct transcoder_role *r = xcalloc(1, sizeof(*r));

    r->node = n;
    r->secret = option_value_or_file(opt_text(o, OPT_orchSecret));
    if (read_orchestrator(r, o, err) == RC_OK && read_capacity(r, o, err) == RC_OK &&
        check_given(r, err) == RC_OK)
        return r;
    role_free(r);
    return NULL;
}

static enum rc start(struct node *n, struct err *err)
{
    struct transcoder_role *r = n->running;
    const char *failed = opt_text(&n->options, OPT_failedSegments);
    const struct agent_conf conf = {.orch_addr = r->orchestrator,
                                    .secret = r->secret,
                                    .capacity = r->capacity,
                                    .version = NETWORK_VERSION,
                                    .codec = {.failed_dir = failed[0] ? failed : NULL,
                                              .failed_dir_max_bytes = FAILED_SEGMENTS_MAX_BYTES,
                                              .max_sessions = r->capacity},
                                    .on_fatal = on_fatal,
                                    .arg = r};

    r->agent = agent_start(n->loop, &conf, err);
    return r->agent ? RC_OK : err->code;
}

static void on_drained(void *arg)
{
    node_stopped(arg);
}

static void drain(struct node *n)
{
    agent_drain(((struct transcoder_role *)n->running)->agent, DRAIN_MS, on_drained, n);
}

static void stop(struct node *n)
{
    role_free(n->running);
}

static void write_status(struct node *n, struct buf *json)
{
    agent_status(((struct transcoder_role *)n->running)->agent, json);
}

static bool is_ready(struct node *n, struct buf *why)
{
    return agent_is_ready(((struct transcoder_role *)n->running)->agent, why);
}

const struct role role_transcoder = {
    .name = "transcoder",
    .node_type = "trcr",
    .option_role = ROLE_T,
    .admin_port = ADMIN_PORT,
    .summary = "transcode for an orchestrator",
    .read = read_options,
    .start = start,
    .drain = drain,
    .stop = stop,
    .status = write_status,
    .is_ready = is_ready,
};
