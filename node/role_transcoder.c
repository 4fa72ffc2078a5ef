/* The transcoding worker's options become its configuration. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/role.h"
#include "node/version.h"
#include "workers/transcoding/agent.h"

enum { ADMIN_PORT = 6935, DRAIN_MS = 30 * 1000 };
#define FAILED_SEGMENTS_MAX_BYTES (1000u * 1000 * 1000)

struct transcoder_role {
    struct agent *agent;
    char **orchestrators;
    char *secret;
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
    texts_free(r->orchestrators);
    free(r->secret);
    free(r);
}

static enum rc check(const struct transcoder_role *r, const struct options *o, uint64_t *capacity,
                     struct err *err)
{
    const char *sessions = opt_text(o, OPT_maxSessions);

    if (!r->orchestrators[0])
        return err_set(err, RC_BAD_INPUT, "a transcoder needs -orchAddr HOST:PORT");
    if (!r->secret[0])
        return err_set(err, RC_BAD_INPUT, "a transcoder needs its orchestrator's -orchSecret");
    if (!slice_u64(slice_str(sessions), 1000000, capacity) || *capacity == 0)
        return err_set(err, RC_BAD_INPUT, "-maxSessions: \"%s\" is no number above 0", sessions);
    return RC_OK;
}

static void *start(struct node *n, struct err *err)
{
    const struct options *o = &n->options;
    struct transcoder_role *r = xcalloc(1, sizeof(*r));
    uint64_t capacity = 0;

    r->node = n;
    r->orchestrators = texts_split(opt_text(o, OPT_orchAddr));
    r->secret = option_value_or_file(opt_text(o, OPT_orchSecret));
    if (check(r, o, &capacity, err) == RC_OK) {
        const char *failed = opt_text(o, OPT_failedSegments);
        const struct agent_conf conf = {.orch_addr = r->orchestrators[0],
                                        .secret = r->secret,
                                        .capacity = (int)capacity,
                                        .version = NETWORK_VERSION,
                                        .codec = {.failed_dir = failed[0] ? failed : NULL,
                                                  .failed_dir_max_bytes = FAILED_SEGMENTS_MAX_BYTES,
                                                  .max_sessions = (int)capacity},
                                        .on_fatal = on_fatal,
                                        .arg = r};

        r->agent = agent_start(n->loop, &conf, err);
    }
    if (r->agent)
        return r;
    role_free(r);
    return NULL;
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
    .start = start,
    .drain = drain,
    .stop = stop,
    .status = write_status,
    .is_ready = is_ready,
};
