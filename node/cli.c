#include "node/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "node/version.h"
#include "wire/profiles.h"

enum { MAX_FORM = 64 * 1024, MAX_ANSWER = 16 * 1024 * 1024, MAX_VERBOSITY = 6 };

struct ask {
    struct http_exchange *x;
    struct node *n;
    struct slice form; /* of the body */
};

/* --- parameters and answers --- */

static void answer_text(struct ask *a, int status, const char *text)
{
    http_set_header(a->x, "cache-control", "no-store");
    http_answer(a->x, status, "text/plain; charset=utf-8", slice_str(text));
}

static void answer_json(struct ask *a, const struct buf *json)
{
    http_set_header(a->x, "cache-control", "no-store");
    http_answer(a->x, 200, "application/json", buf_slice(json));
}

/* Decoded, in the request's arena; NULL when it is absent or broken. */
static const char *param(struct ask *a, const char *name)
{
    struct slice value;
    struct buf text;
    char *plain, *out = NULL;

    if (!query_get(http_request(a->x)->query, name, &value) && !query_get(a->form, name, &value))
        return NULL;
    plain = slice_dup(value);
    for (char *p = plain; *p; p++)
        if (*p == '+')
            *p = ' ';
    buf_init(&text, MAX_FORM);
    if (percent_decode(&text, slice_str(plain), NULL) == RC_OK)
        out = arena_strdup(http_arena(a->x), buf_cstr(&text));
    buf_cleanup(&text);
    free(plain);
    return out;
}

/* NULL after an answer of 400. */
static const char *needed(struct ask *a, const char *name)
{
    const char *value = param(a, name);
    char text[64];

    if (value && value[0])
        return value;
    snprintf(text, sizeof(text), "missing form param: %s", name);
    answer_text(a, 400, text);
    return NULL;
}

/* --- what the role tells --- */

/* The caller json_decref()s it. */
static json_t *role_status(struct node *n)
{
    struct buf text;
    json_t *status;

    buf_init(&text, MAX_ANSWER);
    n->role->status(n, &text);
    status = json_parse(buf_slice(&text), NULL);
    buf_cleanup(&text);
    return status ? status : json_object();
}

/* The stream that began last, of those that are live; "" for none. */
static const char *newest_stream(json_t *status)
{
    json_int_t since, latest = -1;
    const char *name = "";
    json_t *stream;
    size_t i;

    json_array_foreach(json_object_get(status, "streams"), i, stream)
    {
        since = json_member_int(stream, "since_ms");
        if (since < latest || strcmp(json_member_text(stream, "state"), "ended") == 0)
            continue;
        latest = since;
        name = json_member_text(stream, "name");
    }
    return name;
}

static void answer_newest(struct ask *a, const char *suffix)
{
    json_t *status = role_status(a->n);
    const char *name = newest_stream(status);
    char *text = name[0] ? xasprintf("%s%s", name, suffix) : xstrdup("");

    answer_text(a, 200, text);
    free(text);
    json_decref(status);
}

static void answer_stream_id(struct ask *a)
{
    answer_newest(a, "/source");
}

static void answer_manifest_id(struct ask *a)
{
    answer_newest(a, "");
}

/* --- /status --- */

static void write_manifest(struct json_out *j, json_t *stream)
{
    const char *name = json_member_text(stream, "name");
    json_t *rendition;
    size_t i;

    jo_open(j, name, '{');
    jo_open(j, "Variants", '[');
    json_array_foreach(json_object_get(stream, "renditions"), i, rendition)
    {
        json_int_t w = json_member_int(rendition, "width");
        json_int_t h = json_member_int(rendition, "height");
        char *uri = xasprintf("%s/%s.m3u8", name, json_member_text(rendition, "name"));
        char *size = xasprintf("%lldx%lld", (long long)w, (long long)h);

        jo_open(j, NULL, '{');
        jo_text(j, "URI", uri);
        jo_int(j, "Bandwidth", json_member_int(rendition, "bitrate"));
        jo_text(j, "Resolution", size);
        jo_text(j, "Name", json_member_text(rendition, "name"));
        jo_close(j, '}');
        free(uri);
        free(size);
    }
    jo_close(j, ']');
    jo_close(j, '}');
}

static void write_streams(struct json_out *j, json_t *status)
{
    json_t *streams = json_object_get(status, "streams"), *stream;
    size_t i;

    jo_open(j, "Manifests", '{');
    json_array_foreach(streams, i, stream) if (strcmp(json_member_text(stream, "state"), "ended") !=
                                               0) write_manifest(j, stream);
    jo_close(j, '}');
    jo_open(j, "InternalManifests", '{');
    jo_close(j, '}');
    jo_open(j, "StreamInfo", '{');
    json_array_foreach(streams, i, stream)
    {
        if (strcmp(json_member_text(stream, "state"), "ended") == 0)
            continue;
        jo_open(j, json_member_text(stream, "name"), '{');
        jo_int(j, "SourceBytes", json_member_int(stream, "source_bytes"));
        jo_int(j, "TranscodedBytes", json_member_int(stream, "transcoded_bytes"));
        jo_close(j, '}');
    }
    jo_close(j, '}');
}

static void write_pool(struct json_out *j, json_t *status)
{
    json_t *candidates = json_object_get(status, "candidates"), *uri;
    size_t i;

    jo_open(j, "OrchestratorPool", '[');
    json_array_foreach(candidates, i, uri) jo_text(j, NULL, json_string_value(uri));
    jo_close(j, ']');
    jo_open(j, "OrchestratorPoolInfos", '[');
    json_array_foreach(candidates, i, uri)
    {
        jo_open(j, NULL, '{');
        jo_text(j, "URL", json_string_value(uri));
        jo_int(j, "Score", 1);
        jo_text(j, "Latency", NULL);
        jo_close(j, '}');
    }
    jo_close(j, ']');
}

static void write_workers(struct json_out *j, json_t *status)
{
    json_t *worker;
    size_t i;
    int n = 0;

    jo_open(j, "RegisteredTranscoders", '[');
    json_array_foreach(json_object_get(status, "workers"), i, worker)
    {
        if (json_is_true(json_object_get(worker, "local")))
            continue;
        n++;
        jo_open(j, NULL, '{');
        jo_text(j, "Address", json_member_text(worker, "name"));
        jo_int(j, "Capacity", json_member_int(worker, "capacity"));
        jo_close(j, '}');
    }
    jo_close(j, ']');
    jo_int(j, "RegisteredTranscodersNumber", n);
}

static void write_machine(struct json_out *j)
{
    struct utsname u = {0};

    (void)uname(&u); /* without it the name stays empty */
    jo_text(j, "Version", NETWORK_VERSION);
    jo_text(j, "GolangRuntimeVersion", "none");
    jo_text(j, "GOArch",
            strcmp(u.machine, "x86_64") == 0    ? "amd64"
            : strcmp(u.machine, "aarch64") == 0 ? "arm64"
                                                : u.machine);
    jo_text(j, "GOOS", "linux");
}

static void answer_status(struct ask *a)
{
    json_t *status = role_status(a->n);
    struct json_out j;
    struct buf text;

    buf_init(&text, MAX_ANSWER);
    j = json_out_of(&text);
    jo_open(&j, NULL, '{');
    write_streams(&j, status);
    write_pool(&j, status);
    write_machine(&j);
    write_workers(&j, status);
    jo_flag(&j, "LocalTranscoding",
            opt_flag(&a->n->options, OPT_transcoder) ||
                strcmp(a->n->role->name, "transcoder") == 0);
    jo_open(&j, "BroadcasterPrices", '{');
    jo_close(&j, '}');
    jo_close(&j, '}');
    answer_json(a, &text);
    buf_cleanup(&text);
    json_decref(status);
}

/* --- settings --- */

static void answer_broadcast_config(struct ask *a)
{
    struct json_out j;
    struct buf text, names;

    if (!a->n->role->profiles) {
        answer_text(a, 400, "this role has no transcoding options");
        return;
    }
    buf_init(&text, MAX_FORM);
    buf_init(&names, MAX_FORM);
    a->n->role->profiles(a->n, &names);
    j = json_out_of(&text);
    jo_open(&j, NULL, '{');
    jo_text(&j, "MaxPrice", NULL); /* none is set: there are no prices off-chain */
    jo_slice(&j, "TranscodingOptions", buf_slice(&names));
    jo_close(&j, '}');
    answer_json(a, &text);
    buf_cleanup(&names);
    buf_cleanup(&text);
}

/* A price of 0 means no limit, which is so; any other cannot be kept without payments. */
static bool is_price_fine(struct ask *a, const char *price)
{
    const char *per = param(a, "pixelsPerUnit");

    if (!per || !per[0]) {
        answer_text(a, 400, "missing form param: pixelsPerUnit");
        return false;
    }
    if (strcmp(price, "0") == 0)
        return true;
    answer_text(a, 400,
                "maxPricePerUnit: prices are kept on a chain, and this node works "
                "off-chain; 0 means any price");
    return false;
}

static void set_broadcast_config(struct ask *a)
{
    const char *price = param(a, "maxPricePerUnit"), *list = param(a, "transcodingOptions");
    bool has_price = price && price[0], has_list = list && list[0];
    struct err err;

    if (!a->n->role->set_profiles)
        answer_text(a, 400, "this role has no transcoding options");
    else if (!has_price && !has_list)
        answer_text(a, 400,
                    "missing form params: maxPricePerUnit and pixelsPerUnit, or "
                    "transcodingOptions");
    else if (has_price && !is_price_fine(a, price))
        return; /* is answered */
    else if (has_list && a->n->role->set_profiles(a->n, list, &err) != RC_OK)
        answer_text(a, 400, err.text);
    else
        answer_text(a, 200, "");
}

static void answer_presets(struct ask *a)
{
    struct json_out j;
    struct buf text;
    const char *name;

    buf_init(&text, MAX_FORM);
    j = json_out_of(&text);
    jo_open(&j, NULL, '[');
    for (size_t i = 0; (name = profile_preset_name(i)); i++)
        jo_text(&j, NULL, name);
    jo_close(&j, ']');
    answer_json(a, &text);
    buf_cleanup(&text);
}

static void set_max_sessions(struct ask *a)
{
    const char *value = needed(a, "maxSessions");
    struct err err;

    if (!value)
        return;
    if (!a->n->role->set_max_sessions)
        answer_text(a, 400,
                    "this role told its capacity when it registered; restart it with "
                    "another -maxSessions");
    else if (a->n->role->set_max_sessions(a->n, value, &err) != RC_OK)
        answer_text(a, 400, err.text);
    else
        answer_text(a, 200, "");
}

static void set_log_level(struct ask *a)
{
    const char *value = needed(a, "loglevel");
    uint64_t level;

    if (!value)
        return;
    if (!slice_u64(slice_str(value), MAX_VERBOSITY, &level)) {
        answer_text(a, 400, "loglevel is a whole number from 0 to 6");
        return;
    }
    node_set_verbosity(a->n, (int64_t)level);
    answer_text(a, 200, "");
}

static void answer_log_level(struct ask *a)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)a->n->verbosity);
    answer_text(a, 200, text);
}

/* --- the rest --- */

static void answer_local_streams(struct ask *a)
{
    http_answer(a->x, 200, "application/json", SLICE_LIT("[]"));
}

static void answer_zero(struct ask *a)
{
    answer_text(a, 200, "0");
}

static void answer_nothing(struct ask *a)
{
    answer_text(a, 200, "");
}

static void answer_is_orchestrator(struct ask *a)
{
    answer_text(a, 200, strcmp(a->n->role->name, "orchestrator") == 0 ? "true" : "false");
}

static void answer_false(struct ask *a)
{
    answer_text(a, 200, "false");
}

static void answer_needs_chain(struct ask *a)
{
    answer_text(a, 500, "missing ETH client");
}

static const struct path {
    const char *path;
    void (*answer)(struct ask *a);
} paths[] = {
    {"/status", answer_status},
    {"/streamID", answer_stream_id},
    {"/manifestID", answer_manifest_id},
    {"/localStreams", answer_local_streams},
    {"/getBroadcastConfig", answer_broadcast_config},
    {"/setBroadcastConfig", set_broadcast_config},
    {"/getAvailableTranscodingOptions", answer_presets},
    {"/setMaxSessions", set_max_sessions},
    {"/setLogLevel", set_log_level},
    {"/getLogLevel", answer_log_level},
    {"/EthChainID", answer_zero},
    {"/currentBlock", answer_nothing}, /* the bytes of the number 0 */
    {"/IsOrchestrator", answer_is_orchestrator},
    {"/IsRedeemer", answer_false},
    {"/orchestratorInfo", answer_needs_chain},
    {"/currentRound", answer_needs_chain},
    {"/roundInitialized", answer_needs_chain},
    {"/initializeRound", answer_needs_chain},
    {"/activateOrchestrator", answer_needs_chain},
    {"/setOrchestratorConfig", answer_needs_chain},
    {"/setMaxFaceValue", answer_needs_chain},
    {"/setPriceForBroadcaster", answer_needs_chain},
    {"/bond", answer_needs_chain},
    {"/unbond", answer_needs_chain},
    {"/rebond", answer_needs_chain},
    {"/withdrawStake", answer_needs_chain},
    {"/unbondingLocks", answer_needs_chain},
    {"/withdrawFees", answer_needs_chain},
    {"/claimEarnings", answer_needs_chain},
    {"/delegatorInfo", answer_needs_chain},
    {"/orchestratorEarningPoolsForRound", answer_needs_chain},
    {"/registeredOrchestrators", answer_needs_chain},
    {"/reward", answer_needs_chain},
    {"/protocolParameters", answer_needs_chain},
    {"/contractAddresses", answer_needs_chain},
    {"/ethAddr", answer_needs_chain},
    {"/tokenBalance", answer_needs_chain},
    {"/ethBalance", answer_needs_chain},
    {"/transferTokens", answer_needs_chain},
    {"/requestTokens", answer_needs_chain},
    {"/signMessage", answer_needs_chain},
    {"/vote", answer_needs_chain},
    {"/voteOnProposal", answer_needs_chain},
    {"/setMaxGasPrice", answer_needs_chain},
    {"/setMinGasPrice", answer_needs_chain},
    {"/maxGasPrice", answer_needs_chain},
    {"/minGasPrice", answer_needs_chain},
    {"/fundDepositAndReserve", answer_needs_chain},
    {"/fundDeposit", answer_needs_chain},
    {"/unlock", answer_needs_chain},
    {"/cancelUnlock", answer_needs_chain},
    {"/withdraw", answer_needs_chain},
    {"/senderInfo", answer_needs_chain},
    {"/ticketBrokerParams", answer_needs_chain},
};

static const struct path *find_path(struct slice path)
{
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (slice_eq_str(path, paths[i].path))
            return &paths[i];
    return NULL;
}

static void on_form(struct http_exchange *x, struct blob *body, const struct err *why, void *arg)
{
    struct ask a = {.x = x, .n = arg, .form = body ? blob_slice(body) : slice_of(NULL, 0)};

    if (why)
        http_answer_err(x, why);
    else
        find_path(http_request(x)->path)->answer(&a);
}

bool cli_answer(struct http_exchange *x, struct node *n)
{
    struct slice method = http_request(x)->method;
    struct ask a = {.x = x, .n = n};
    const struct path *p = find_path(http_request(x)->path);

    if (!p)
        return false;
    if (slice_eq_str(method, "POST") || slice_eq_str(method, "PUT"))
        http_read_body(x, MAX_FORM, on_form, n);
    else
        p->answer(&a);
    return true;
}
