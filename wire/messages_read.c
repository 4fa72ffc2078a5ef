/* Protobuf to plain values: every limit, every refusal. Generated structs do not leave wire/. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "network.pb-c.h"
#include "wire/messages.h"
#include "wire/profiles.h"

enum {
    MAX_URL_TEXT = MAX_URI,
    MAX_ERROR_TEXT = 8192,
    MAX_DURATION_MS = 300000,
    MAX_UNPACKED = 1024 * 1024
};

/* --- memory: two bytes of a message can ask for a struct of a hundred --- */

struct budget {
    size_t left;
    bool used_up;
};

static void *budget_alloc(void *arg, size_t n)
{
    struct budget *b = arg;
    void *p = try_malloc(n, b->left);

    b->used_up |= !p;
    b->left -= p ? n : 0;
    return p;
}

static void budget_free(void *arg, void *p)
{
    (void)arg;
    free(p);
}

static enum rc unpack_error(const struct budget *b, size_t n, const char *name, struct err *err)
{
    if (b->used_up)
        return err_set(err, RC_LIMIT, "%s of %zu bytes unpacks to more than %d", name, n,
                       MAX_UNPACKED);
    return err_set(err, RC_BAD_INPUT, "%zu bytes are no %s", n, name);
}

/* --- parts --- */

static enum rc copy_text(const char *from, char *to, size_t size, const char *field,
                         struct err *err)
{
    size_t n = strlen(from);

    if (n >= size)
        return err_set(err, RC_LIMIT, "%s of %zu bytes, at most %zu", field, n, size - 1);
    if (!slice_is_utf8(slice_str(from)))
        return err_set(err, RC_BAD_INPUT, "%s is no UTF-8", field);
    memcpy(to, from, n + 1);
    return RC_OK;
}

static enum rc keep_text(const char *from, size_t max, struct arena *a, const char **to,
                         const char *field, struct err *err)
{
    size_t n = strlen(from);
    char *copy;

    if (n > max)
        return err_set(err, RC_LIMIT, "%s of %zu bytes, at most %zu", field, n, max);
    if (!slice_is_utf8(slice_str(from)))
        return err_set(err, RC_BAD_INPUT, "%s is no UTF-8", field);
    copy = arena_try_alloc(a, n + 1);
    if (!copy)
        return err_set(err, RC_LIMIT, "message is too large at %s", field);
    memcpy(copy, from, n + 1);
    *to = copy;
    return RC_OK;
}

static enum rc keep_bytes(ProtobufCBinaryData from, size_t max, struct arena *a, struct slice *to,
                          const char *field, struct err *err)
{
    uint8_t *copy;

    *to = slice_of(NULL, 0);
    if (from.len > max)
        return err_set(err, RC_LIMIT, "%s of %zu bytes, at most %zu", field, from.len, max);
    if (!from.len)
        return RC_OK;
    copy = arena_try_alloc(a, from.len);
    if (!copy)
        return err_set(err, RC_LIMIT, "message is too large at %s", field);
    memcpy(copy, from.data, from.len);
    *to = slice_of(copy, from.len);
    return RC_OK;
}

static enum rc read_token(const Net__AuthToken *pb, struct auth_token *out, struct err *err)
{
    if (pb->token.len > AUTH_TOKEN_MAX)
        return err_set(err, RC_LIMIT, "auth token of %zu bytes, at most %d", pb->token.len,
                       AUTH_TOKEN_MAX);
    memset(out, 0, sizeof(*out));
    if (pb->token.len)
        memcpy(out->token, pb->token.data, pb->token.len);
    out->token_n = pb->token.len;
    out->expiration = pb->expiration;
    return copy_text(pb->session_id, out->session_id, sizeof(out->session_id), "session id", err);
}

static enum rc read_words(const uint64_t *from, size_t n, uint64_t to[CAPS_MAX_WORDS],
                          size_t *n_out, const char *field, struct err *err)
{
    if (n > CAPS_MAX_WORDS)
        return err_set(err, RC_LIMIT, "%s of %zu words, at most %d", field, n, CAPS_MAX_WORDS);
    if (n)
        memcpy(to, from, n * sizeof(*from));
    *n_out = n;
    return RC_OK;
}

/* Without capacities each bit counts once (video.md 6.4). */
static void derive_capacities(struct caps *c)
{
    for (unsigned id = 0; id < c->n_words * 64 && c->n_capacities < CAPS_MAX_CAPACITIES; id++) {
        if (!caps_has(c, id))
            continue;
        c->capacities[c->n_capacities].cap = id;
        c->capacities[c->n_capacities++].capacity = 1;
    }
}

static enum rc read_capacities(const Net__Capabilities *pb, struct caps *out, struct err *err)
{
    if (pb->n_capacities > CAPS_MAX_CAPACITIES)
        return err_set(err, RC_LIMIT, "%zu capacities, at most %d", pb->n_capacities,
                       CAPS_MAX_CAPACITIES);
    for (size_t i = 0; i < pb->n_capacities; i++) {
        if (pb->capacities[i]->key >= CAPS_MAX_WORDS * 64)
            continue; /* a capability from the far future */
        out->capacities[out->n_capacities].cap = pb->capacities[i]->key;
        out->capacities[out->n_capacities++].capacity = pb->capacities[i]->value;
    }
    return RC_OK;
}

static enum rc read_caps(const Net__Capabilities *pb, struct caps *out, struct err *err)
{
    enum rc rc;

    memset(out, 0, sizeof(*out));
    rc = read_words(pb->bitstring, pb->n_bitstring, out->words, &out->n_words, "bitstring", err);
    if (rc == RC_OK)
        rc = read_words(pb->mandatories, pb->n_mandatories, out->mandatories, &out->n_mandatories,
                        "mandatories", err);
    if (rc == RC_OK)
        rc = read_capacities(pb, out, err);
    if (rc == RC_OK)
        rc = copy_text(pb->version, out->version, sizeof(out->version), "version", err);
    out->has_constraints = pb->constraints != NULL;
    if (rc == RC_OK && pb->constraints)
        rc = copy_text(pb->constraints->min_version, out->min_version, sizeof(out->min_version),
                       "minVersion", err);
    if (rc == RC_OK && !out->n_capacities)
        derive_capacities(out);
    return rc == RC_OK ? rc : err_wrap(err, rc, "capabilities");
}

static enum rc read_address(ProtobufCBinaryData from, uint8_t to[ADDRESS_BYTES], struct err *err)
{
    memset(to, 0, ADDRESS_BYTES);
    if (from.len != 0 && from.len != ADDRESS_BYTES)
        return err_set(err, RC_BAD_INPUT, "address of %zu bytes, %d are expected", from.len,
                       ADDRESS_BYTES);
    if (from.len)
        memcpy(to, from.data, from.len);
    return RC_OK;
}

/* --- profiles, video.md 2.6 --- */

static enum rc check_profile(const Net__VideoProfile *pb, struct err *err)
{
    bool fits = pb->width >= 0 && pb->width <= PROFILE_MAX_SIDE && pb->height >= 0 &&
                pb->height <= PROFILE_MAX_SIDE && pb->bitrate >= 0;

    if (pb->format != CONTAINER_TS && pb->format != CONTAINER_MP4)
        return err_set(err, RC_BAD_INPUT, "unrecognized profile output format");
    if (pb->profile < ENCODER_DEFAULT || pb->profile > ENCODER_H264_CONSTRAINED_HIGH)
        return err_set(err, RC_BAD_INPUT, "unrecognized encoder profile");
    if (pb->encoder < VIDEO_H264 || pb->encoder > VIDEO_VP9)
        return err_set(err, RC_BAD_INPUT, "unrecognized video codec");
    if (!fits) /* the text by which gateways know that no retry helps (video.md 4.5) */
        return err_set(err, RC_BAD_INPUT, "TranscoderInvalidResolution");
    return RC_OK;
}

static enum rc read_profile(const Net__VideoProfile *pb, struct profile *out, struct err *err)
{
    enum rc rc = check_profile(pb, err);

    if (rc != RC_OK)
        return rc;
    *out = (struct profile){.width = pb->width,
                            .height = pb->height,
                            .bitrate = pb->bitrate,
                            .fps = pb->fps,
                            .fps_den = pb->fps_den,
                            .gop_ms = pb->gop,
                            .container = (enum container)pb->format,
                            .profile = (enum encoder_profile)pb->profile,
                            .encoder = (enum video_encoder)pb->encoder,
                            .quality = pb->quality};
    rc = copy_text(pb->name, out->name, sizeof(out->name), "profile name", err);
    if (rc == RC_OK)
        rc = profile_name_check(out->name, err);
    if (rc == RC_OK && !out->name[0])
        snprintf(out->name, sizeof(out->name), "net_%dx%d_%d", out->width, out->height,
                 out->bitrate);
    return rc;
}

static enum rc read_profiles(const Net__SegData *pb, struct seg_data *out, struct err *err)
{
    Net__VideoProfile **list = pb->full_profiles;
    size_t n = pb->n_full_profiles;

    if (pb->n_full_profiles2) {
        list = pb->full_profiles2;
        n = pb->n_full_profiles2;
    }
    if (pb->n_full_profiles3) {
        list = pb->full_profiles3;
        n = pb->n_full_profiles3;
    }
    if (n > MAX_PROFILES)
        return err_set(err, RC_LIMIT, "Too many outputs: %zu profiles, at most %d", n,
                       MAX_PROFILES);
    for (size_t i = 0; i < n; i++) {
        enum rc rc = read_profile(list[i], &out->profiles[i], err);

        if (rc != RC_OK)
            return rc;
    }
    out->n_profiles = n;
    return RC_OK;
}

/* --- messages --- */

static enum rc read_seg_optional(const Net__SegData *pb, struct seg_data *out, struct err *err)
{
    enum rc rc = RC_OK;

    if (pb->capabilities) {
        out->has_caps = true;
        rc = read_caps(pb->capabilities, &out->caps, err);
    }
    if (rc == RC_OK && pb->auth_token) {
        out->has_token = true;
        rc = read_token(pb->auth_token, &out->token, err);
    }
    if (pb->segment_parameters) {
        out->has_clip = true;
        out->clip_from_ms = pb->segment_parameters->from;
        out->clip_to_ms = pb->segment_parameters->to;
    }
    return rc;
}

static enum rc read_seg(const Net__SegData *pb, struct arena *a, struct seg_data *out,
                        struct err *err)
{
    enum rc rc;

    memset(out, 0, sizeof(*out));
    out->seq = pb->seq;
    out->duration_ms = pb->duration;
    out->calc_perceptual_hash = pb->calc_perceptual_hash;
    out->force_session_reinit = pb->force_session_reinit;
    rc = read_profiles(pb, out, err);
    if (rc != RC_OK)
        return rc;
    if (pb->duration < 0 || pb->duration > MAX_DURATION_MS)
        return err_set(err, RC_BAD_INPUT, "invalid duration");
    if (pb->hash.len && pb->hash.len != sizeof(out->hash.b))
        return err_set(err, RC_BAD_INPUT, "hash of %zu bytes, 32 are expected", pb->hash.len);
    if (pb->hash.len)
        memcpy(out->hash.b, pb->hash.data, pb->hash.len);
    rc = keep_bytes(pb->manifest_id, 1024, a, &out->manifest_id, "manifest id", err);
    if (rc == RC_OK)
        rc = keep_bytes(pb->sig, 256, a, &out->sig, "signature", err);
    return rc == RC_OK ? read_seg_optional(pb, out, err) : rc;
}

static enum rc read_info(const Net__OrchestratorInfo *pb, struct arena *a,
                         struct orchestrator_info *out, struct err *err)
{
    enum rc rc;

    memset(out, 0, sizeof(*out));
    rc = keep_text(pb->transcoder, MAX_URI, a, &out->transcoder, "transcoder", err);
    if (rc == RC_OK)
        rc = read_address(pb->address, out->address, err);
    if (rc == RC_OK)
        rc = keep_bytes(pb->ticket_params, 4096, a, &out->ticket_params, "ticket_params", err);
    if (rc == RC_OK)
        rc = keep_bytes(pb->price_info, 4096, a, &out->price_info, "price_info", err);
    out->has_caps = pb->capabilities != NULL;
    if (rc == RC_OK && pb->capabilities)
        rc = read_caps(pb->capabilities, &out->caps, err);
    out->has_token = pb->auth_token != NULL;
    if (rc == RC_OK && pb->auth_token)
        rc = read_token(pb->auth_token, &out->token, err);
    for (size_t i = 0; rc == RC_OK && i < pb->n_nodes && i < MAX_NODES; i++)
        rc = keep_text(pb->nodes[i], MAX_URI, a, &out->nodes[out->n_nodes++], "node", err);
    return rc;
}

/* One decode is unpack, read, free; the macro says it once. */
#define DECODE(name, pb_type, pb_name, reader)                                                     \
    enum rc name##_decode(struct slice in, struct arena *a, struct name *out, struct err *err)     \
    {                                                                                              \
        struct budget budget = {MAX_UNPACKED, false};                                              \
        ProtobufCAllocator memory = {budget_alloc, budget_free, &budget};                          \
        pb_type *pb = net__##pb_name##__unpack(&memory, in.n, in.p);                               \
        enum rc rc;                                                                                \
                                                                                                   \
        memset(out, 0, sizeof(*out));                                                              \
        if (!pb)                                                                                   \
            return unpack_error(&budget, in.n, #name, err);                                        \
        rc = reader(pb, a, out, err);                                                              \
        net__##pb_name##__free_unpacked(pb, &memory);                                              \
        return rc == RC_OK ? rc : err_wrap(err, rc, #name);                                        \
    }

static enum rc read_request(const Net__OrchestratorRequest *pb, struct arena *a,
                            struct orchestrator_request *out, struct err *err)
{
    enum rc rc = read_address(pb->address, out->address, err);

    if (rc == RC_OK)
        rc = keep_bytes(pb->sig, 256, a, &out->sig, "signature", err);
    out->has_caps = pb->capabilities != NULL;
    if (rc == RC_OK && pb->capabilities)
        rc = read_caps(pb->capabilities, &out->caps, err);
    out->ignore_capacity_check = pb->ignore_capacity_check;
    return rc;
}

static enum rc read_segments(const Net__TranscodeData *pb, struct arena *a,
                             struct transcode_result *out, struct err *err)
{
    enum rc rc = keep_bytes(pb->sig, 256, a, &out->sig, "signature", err);

    if (pb->n_segments > MAX_PROFILES)
        return err_set(err, RC_LIMIT, "%zu renditions, at most %d", pb->n_segments, MAX_PROFILES);
    for (size_t i = 0; rc == RC_OK && i < pb->n_segments; i++) {
        struct transcoded_segment *s = &out->segments[i];

        s->pixels = pb->segments[i]->pixels;
        rc = keep_text(pb->segments[i]->url, MAX_URL_TEXT, a, &s->url, "url", err);
        if (rc == RC_OK)
            rc = keep_text(pb->segments[i]->perceptual_hash_url, MAX_URL_TEXT, a,
                           &s->perceptual_hash_url, "perceptual_hash_url", err);
    }
    out->n_segments = pb->n_segments;
    return rc;
}

static enum rc read_result(const Net__TranscodeResult *pb, struct arena *a,
                           struct transcode_result *out, struct err *err)
{
    enum rc rc = RC_OK;

    out->seq = pb->seq;
    if (pb->result_case == NET__TRANSCODE_RESULT__RESULT_ERROR)
        rc = keep_text(pb->error, MAX_ERROR_TEXT, a, &out->error, "error", err);
    if (pb->result_case == NET__TRANSCODE_RESULT__RESULT_DATA) {
        out->has_data = true;
        rc = read_segments(pb->data, a, out, err);
    }
    out->has_info = pb->info != NULL;
    if (rc == RC_OK && pb->info)
        rc = read_info(pb->info, a, &out->info, err);
    return rc;
}

static enum rc read_register(const Net__RegisterRequest *pb, struct arena *a,
                             struct register_request *out, struct err *err)
{
    enum rc rc = keep_text(pb->secret, 4096, a, &out->secret, "secret", err);

    out->capacity = pb->capacity;
    out->has_caps = pb->capabilities != NULL;
    if (rc == RC_OK && pb->capabilities)
        rc = read_caps(pb->capabilities, &out->caps, err);
    return rc;
}

static enum rc read_notify(const Net__NotifySegment *pb, struct arena *a,
                           struct notify_segment *out, struct err *err)
{
    enum rc rc = keep_text(pb->url, MAX_URL_TEXT, a, &out->url, "url", err);

    if (rc == RC_OK)
        rc = keep_text(pb->orch_id, 256, a, &out->orch_id, "orchId", err);
    out->task_id = pb->task_id;
    out->has_seg = pb->seg_data != NULL;
    if (rc == RC_OK && pb->seg_data)
        rc = read_seg(pb->seg_data, a, &out->seg, err);
    return rc;
}

DECODE(orchestrator_request, Net__OrchestratorRequest, orchestrator_request, read_request)
DECODE(orchestrator_info, Net__OrchestratorInfo, orchestrator_info, read_info)
DECODE(transcode_result, Net__TranscodeResult, transcode_result, read_result)
DECODE(register_request, Net__RegisterRequest, register_request, read_register)
DECODE(notify_segment, Net__NotifySegment, notify_segment, read_notify)

/* Unlike the others without a prefix: its refusals are texts of the network (video.md 3.5). */
enum rc seg_data_decode(struct slice in, struct arena *a, struct seg_data *out, struct err *err)
{
    struct budget budget = {MAX_UNPACKED, false};
    ProtobufCAllocator memory = {budget_alloc, budget_free, &budget};
    Net__SegData *pb = net__seg_data__unpack(&memory, in.n, in.p);
    enum rc rc;

    memset(out, 0, sizeof(*out));
    if (!pb)
        return err_set(err, RC_BAD_INPUT, "proto: cannot parse invalid wire-format data");
    rc = read_seg(pb, a, out, err);
    net__seg_data__free_unpacked(pb, &memory);
    return rc;
}

enum rc segment_header_decode(struct slice header, struct arena *a, struct seg_data *out,
                              struct err *err)
{
    struct buf bytes;
    enum rc rc;

    memset(out, 0, sizeof(*out));
    buf_init(&bytes, 64 * 1024);
    if (base64_decode(&bytes, slice_trim(header), NULL) != RC_OK)
        rc = err_set(err, RC_BAD_INPUT, "ErrorSegEncoding");
    else
        rc = seg_data_decode(buf_slice(&bytes), a, out, err);
    buf_cleanup(&bytes);
    return rc;
}

enum rc end_session_decode(struct slice in, struct auth_token *out, struct err *err)
{
    struct budget budget = {MAX_UNPACKED, false};
    ProtobufCAllocator memory = {budget_alloc, budget_free, &budget};
    Net__EndTranscodingSessionRequest *pb = net__end_transcoding_session_request__unpack(
        &memory, in.n, in.p);
    enum rc rc = RC_OK;

    memset(out, 0, sizeof(*out));
    if (!pb)
        return unpack_error(&budget, in.n, "end_session", err);
    if (pb->auth_token)
        rc = read_token(pb->auth_token, out, err);
    net__end_transcoding_session_request__free_unpacked(pb, &memory);
    return rc;
}

enum rc ping_decode(struct slice in, struct slice *value, struct arena *a, struct err *err)
{
    struct budget budget = {MAX_UNPACKED, false};
    ProtobufCAllocator memory = {budget_alloc, budget_free, &budget};
    Net__PingPong *pb = net__ping_pong__unpack(&memory, in.n, in.p);
    enum rc rc;

    *value = slice_of(NULL, 0);
    if (!pb)
        return unpack_error(&budget, in.n, "ping", err);
    rc = keep_bytes(pb->value, 4096, a, value, "value", err);
    net__ping_pong__free_unpacked(pb, &memory);
    return rc;
}
