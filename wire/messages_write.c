/* Plain values to protobuf. What is on the stack here lives only while it is packed. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "network.pb-c.h"
#include "wire/messages.h"

static ProtobufCBinaryData bytes(struct slice s)
{
    return (ProtobufCBinaryData){.len = s.n, .data = (uint8_t *)s.p};
}

static char *text(const char *s)
{
    return (char *)(s ? s : ""); /* protobuf-c does not write to it */
}

static void pack(const ProtobufCMessage *m, struct buf *out)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *to = buf_reserve(out, n);

    if (to)
        out->n += protobuf_c_message_pack(m, to);
}

/* --- parts: the generated struct and everything it points to --- */

struct pb_caps {
    Net__Capabilities pb;
    Net__Capabilities__Constraints constraints;
    Net__Capabilities__Capacity entries[CAPS_MAX_CAPACITIES], *list[CAPS_MAX_CAPACITIES];
};

static Net__Capabilities *fill_caps(struct pb_caps *p, const struct caps *c)
{
    net__capabilities__init(&p->pb);
    p->pb.n_bitstring = c->n_words;
    p->pb.bitstring = (uint64_t *)c->words;
    p->pb.n_mandatories = c->n_mandatories;
    p->pb.mandatories = (uint64_t *)c->mandatories;
    for (size_t i = 0; i < c->n_capacities; i++) {
        net__capabilities__capacity__init(&p->entries[i]);
        p->entries[i].has_key_case = NET__CAPABILITIES__CAPACITY__HAS_KEY_KEY;
        p->entries[i].key = c->capacities[i].cap;
        p->entries[i].has_value_case = NET__CAPABILITIES__CAPACITY__HAS_VALUE_VALUE;
        p->entries[i].value = c->capacities[i].capacity;
        p->list[i] = &p->entries[i];
    }
    p->pb.n_capacities = c->n_capacities;
    p->pb.capacities = p->list;
    p->pb.version = text(c->version);
    if (c->has_constraints || c->min_version[0]) {
        net__capabilities__constraints__init(&p->constraints);
        p->constraints.min_version = text(c->min_version);
        p->pb.constraints = &p->constraints;
    }
    return &p->pb;
}

static Net__AuthToken *fill_token(Net__AuthToken *pb, const struct auth_token *t)
{
    net__auth_token__init(pb);
    pb->token = bytes(slice_of(t->token, t->token_n));
    pb->session_id = text(t->session_id);
    pb->expiration = t->expiration;
    return pb;
}

struct pb_info {
    Net__OrchestratorInfo pb;
    struct pb_caps caps;
    Net__AuthToken token;
};

static Net__OrchestratorInfo *fill_info(struct pb_info *p, const struct orchestrator_info *m)
{
    net__orchestrator_info__init(&p->pb);
    p->pb.transcoder = text(m->transcoder);
    p->pb.address = bytes(slice_of(m->address, ADDRESS_BYTES));
    p->pb.ticket_params = bytes(m->ticket_params);
    p->pb.price_info = bytes(m->price_info);
    if (m->has_caps)
        p->pb.capabilities = fill_caps(&p->caps, &m->caps);
    if (m->has_token)
        p->pb.auth_token = fill_token(&p->token, &m->token);
    p->pb.n_nodes = m->n_nodes;
    p->pb.nodes = (char **)m->nodes;
    return &p->pb;
}

/* Which of the three lists (video.md 2.5). */
static int profile_field(const struct seg_data *m)
{
    bool mp4 = false;

    for (size_t i = 0; i < m->n_profiles; i++) {
        const struct profile *p = &m->profiles[i];

        if (p->fps_den || p->profile != ENCODER_DEFAULT || p->gop_ms != GOP_DEFAULT)
            return 35;
        mp4 |= p->container == CONTAINER_MP4;
    }
    return mp4 ? 34 : 33;
}

struct pb_seg {
    Net__SegData pb;
    struct pb_caps caps;
    Net__AuthToken token;
    Net__SegParameters clip;
    Net__VideoProfile profiles[MAX_PROFILES], *list[MAX_PROFILES];
    char names[MAX_PROFILES][PROFILE_NAME_MAX + 1];
};

static void fill_profile(Net__VideoProfile *pb, const struct profile *p,
                         char name[PROFILE_NAME_MAX + 1])
{
    net__video_profile__init(pb);
    if (p->name[0])
        snprintf(name, PROFILE_NAME_MAX + 1, "%s", p->name);
    else
        snprintf(name, PROFILE_NAME_MAX + 1, "ffmpeg_%dx%d_%d", p->width, p->height, p->bitrate);
    pb->name = name;
    pb->width = p->width;
    pb->height = p->height;
    pb->bitrate = p->bitrate;
    pb->fps = p->fps;
    pb->fps_den = p->fps_den;
    pb->format = (int32_t)p->container;
    pb->profile = (int32_t)p->profile;
    pb->gop = p->gop_ms;
    pb->encoder = (int32_t)p->encoder;
    pb->quality = p->quality;
}

static void fill_profiles(struct pb_seg *p, const struct seg_data *m)
{
    assert(m->n_profiles <= MAX_PROFILES);
    for (size_t i = 0; i < m->n_profiles; i++) {
        fill_profile(&p->profiles[i], &m->profiles[i], p->names[i]);
        p->list[i] = &p->profiles[i];
    }
    switch (profile_field(m)) {
    case 33:
        p->pb.n_full_profiles = m->n_profiles;
        p->pb.full_profiles = p->list;
        break;
    case 34:
        p->pb.n_full_profiles2 = m->n_profiles;
        p->pb.full_profiles2 = p->list;
        break;
    default:
        p->pb.n_full_profiles3 = m->n_profiles;
        p->pb.full_profiles3 = p->list;
    }
}

static Net__SegData *fill_seg(struct pb_seg *p, const struct seg_data *m)
{
    net__seg_data__init(&p->pb);
    p->pb.manifest_id = bytes(m->manifest_id);
    p->pb.seq = m->seq;
    p->pb.hash = bytes(slice_of(m->hash.b, sizeof(m->hash.b)));
    p->pb.profiles = bytes(SLICE_LIT("invalid")); /* legacy field: must not parse */
    p->pb.sig = bytes(m->sig);
    p->pb.duration = m->duration_ms;
    if (m->has_caps)
        p->pb.capabilities = fill_caps(&p->caps, &m->caps);
    if (m->has_token)
        p->pb.auth_token = fill_token(&p->token, &m->token);
    p->pb.calc_perceptual_hash = m->calc_perceptual_hash;
    p->pb.force_session_reinit = m->force_session_reinit;
    if (m->has_clip) {
        net__seg_parameters__init(&p->clip);
        p->clip.from = m->clip_from_ms;
        p->clip.to = m->clip_to_ms;
        p->pb.segment_parameters = &p->clip;
    }
    fill_profiles(p, m);
    return &p->pb;
}

/* --- messages --- */

void orchestrator_request_encode(const struct orchestrator_request *m, struct buf *out)
{
    Net__OrchestratorRequest pb = NET__ORCHESTRATOR_REQUEST__INIT;
    struct pb_caps caps;

    pb.address = bytes(slice_of(m->address, ADDRESS_BYTES));
    pb.sig = bytes(m->sig);
    if (m->has_caps)
        pb.capabilities = fill_caps(&caps, &m->caps);
    pb.ignore_capacity_check = m->ignore_capacity_check;
    pack(&pb.base, out);
}

void orchestrator_info_encode(const struct orchestrator_info *m, struct buf *out)
{
    struct pb_info info;

    pack(&fill_info(&info, m)->base, out);
}

void seg_data_encode(const struct seg_data *m, struct buf *out)
{
    struct pb_seg seg;

    pack(&fill_seg(&seg, m)->base, out);
}

static void fill_data(Net__TranscodeData *pb, Net__TranscodedSegmentData rows[MAX_PROFILES],
                      Net__TranscodedSegmentData *list[MAX_PROFILES],
                      const struct transcode_result *m)
{
    assert(m->n_segments <= MAX_PROFILES);
    net__transcode_data__init(pb);
    pb->sig = bytes(m->sig);
    for (size_t i = 0; i < m->n_segments; i++) {
        net__transcoded_segment_data__init(&rows[i]);
        rows[i].url = text(m->segments[i].url);
        rows[i].pixels = m->segments[i].pixels;
        rows[i].perceptual_hash_url = text(m->segments[i].perceptual_hash_url);
        list[i] = &rows[i];
    }
    pb->n_segments = m->n_segments;
    pb->segments = list;
}

static void encode_outcome(const struct transcode_result *m, struct buf *out)
{
    Net__TranscodeResult pb = NET__TRANSCODE_RESULT__INIT;
    Net__TranscodeData data;
    Net__TranscodedSegmentData rows[MAX_PROFILES], *list[MAX_PROFILES];

    if (m->error) {
        pb.result_case = NET__TRANSCODE_RESULT__RESULT_ERROR;
        pb.error = text(m->error);
    } else if (m->has_data) {
        pb.result_case = NET__TRANSCODE_RESULT__RESULT_DATA;
        fill_data(&data, rows, list, m);
        pb.data = &data;
    }
    pack(&pb.base, out);
}

/* The reference writes members of a oneof behind all other fields; so do we, in two parts. */
void transcode_result_encode(const struct transcode_result *m, struct buf *out)
{
    Net__TranscodeResult pb = NET__TRANSCODE_RESULT__INIT;
    struct pb_info info;

    pb.seq = m->seq;
    if (m->has_info)
        pb.info = fill_info(&info, &m->info);
    pack(&pb.base, out);
    encode_outcome(m, out);
}

void register_request_encode(const struct register_request *m, struct buf *out)
{
    Net__RegisterRequest pb = NET__REGISTER_REQUEST__INIT;
    struct pb_caps caps;

    pb.secret = text(m->secret);
    pb.capacity = m->capacity;
    if (m->has_caps)
        pb.capabilities = fill_caps(&caps, &m->caps);
    pack(&pb.base, out);
}

/* Nothing but the token of the session that ended (video.md 11.2). */
static void encode_teardown(const struct notify_segment *m, struct buf *out)
{
    Net__NotifySegment pb = NET__NOTIFY_SEGMENT__INIT;
    Net__SegData seg = NET__SEG_DATA__INIT;
    Net__AuthToken token;

    seg.auth_token = fill_token(&token, &m->seg.token);
    pb.seg_data = &seg;
    pack(&pb.base, out);
}

void notify_segment_encode(const struct notify_segment *m, struct buf *out)
{
    Net__NotifySegment pb = NET__NOTIFY_SEGMENT__INIT;
    struct pb_seg seg;

    if (m->has_seg && m->seg.has_token && (!m->url || !m->url[0])) {
        encode_teardown(m, out);
        return;
    }
    pb.url = text(m->url);
    pb.task_id = m->task_id;
    pb.orch_id = text(m->orch_id);
    pb.profiles = bytes(SLICE_LIT("invalid"));
    if (m->has_seg)
        pb.seg_data = fill_seg(&seg, &m->seg);
    pack(&pb.base, out);
}

void end_session_encode(const struct auth_token *t, struct buf *out)
{
    Net__EndTranscodingSessionRequest pb = NET__END_TRANSCODING_SESSION_REQUEST__INIT;
    Net__AuthToken token;

    pb.auth_token = fill_token(&token, t);
    pack(&pb.base, out);
}

void ping_encode(struct slice value, struct buf *out)
{
    Net__PingPong pb = NET__PING_PONG__INIT;

    pb.value = bytes(value);
    pack(&pb.base, out);
}

void segment_header_encode(const struct seg_data *m, struct buf *out)
{
    struct buf message;

    buf_init(&message, 64 * 1024);
    seg_data_encode(m, &message);
    if (!buf_ok(&message))
        out->failed = true;
    base64_encode(out, buf_slice(&message));
    buf_cleanup(&message);
}

/* --- the signed form, video.md 3.3 --- */

void segment_flatten(const struct seg_data *m, struct buf *out)
{
    static const uint8_t zeros[24];
    uint64_t seq = m->seq < 0 ? -(uint64_t)m->seq : (uint64_t)m->seq;

    buf_add_slice(out, m->manifest_id);
    buf_add(out, zeros, sizeof(zeros));
    buf_be64(out, seq);
    buf_add(out, m->hash.b, sizeof(m->hash.b));
    for (size_t i = 0; i < m->n_profiles; i++) {
        struct hash id = keccak_of(slice_str(m->profiles[i].name));

        buf_hex(out, slice_of(id.b, 4));
    }
}
