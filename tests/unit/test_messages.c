/* wire/messages against bytes of the reference: what we read is what its own decoder read, and
 * what we write again are its bytes. */
#include "vector_test.h"

#include <inttypes.h>

#include "base/text.h"
#include "wire/messages.h"

static struct arena *arena;

static int setup_arena(void **state)
{
    (void)state;
    arena = arena_new(4 * 1024 * 1024);
    return 0;
}

static int teardown_arena(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* --- our values in the vectors' JSON form: bytes in base64, 64-bit numbers as texts, fields at
 * their default left out --- */

static void put(json_t *o, const char *key, json_t *value)
{
    assert_int_equal(json_object_set_new(o, key, value), 0);
}

static void put_text(json_t *o, const char *key, const char *value)
{
    if (value && value[0])
        put(o, key, json_string(value));
}

static void put_bytes(json_t *o, const char *key, struct slice value)
{
    struct buf text;

    buf_init(&text, 65536);
    base64_encode(&text, value);
    put_text(o, key, buf_cstr(&text));
    buf_cleanup(&text);
}

static json_t *json_of_64(uint64_t value, bool is_signed)
{
    char text[32];

    if (is_signed)
        snprintf(text, sizeof(text), "%" PRId64, (int64_t)value);
    else
        snprintf(text, sizeof(text), "%" PRIu64, value);
    return json_string(text);
}

static void put_i64(json_t *o, const char *key, int64_t value)
{
    if (value)
        put(o, key, json_of_64((uint64_t)value, true));
}

static void put_int(json_t *o, const char *key, int64_t value)
{
    if (value)
        put(o, key, json_integer(value));
}

static void put_flag(json_t *o, const char *key, bool value)
{
    if (value)
        put(o, key, json_true());
}

static void put_words(json_t *o, const char *key, const uint64_t *words, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_of_64(words[i], false));
    if (n)
        put(o, key, list);
    else
        json_decref(list);
}

static json_t *caps_json(const struct caps *c)
{
    json_t *o = json_object(), *list = json_object(), *constraints = json_object();
    char key[16];

    put_words(o, "bitstring", c->words, c->n_words);
    put_words(o, "mandatories", c->mandatories, c->n_mandatories);
    for (size_t i = 0; i < c->n_capacities; i++) {
        snprintf(key, sizeof(key), "%u", c->capacities[i].cap);
        put(list, key, json_integer(c->capacities[i].capacity));
    }
    if (c->n_capacities)
        put(o, "capacities", list);
    else
        json_decref(list);
    put_text(o, "version", c->version);
    put_text(constraints, "minVersion", c->min_version);
    if (c->has_constraints)
        put(o, "constraints", constraints);
    else
        json_decref(constraints);
    return o;
}

static json_t *token_json(const struct auth_token *t)
{
    json_t *o = json_object();

    put_bytes(o, "token", slice_of(t->token, t->token_n));
    put_text(o, "session_id", t->session_id);
    put_i64(o, "expiration", t->expiration);
    return o;
}

static json_t *profile_json(const struct profile *p)
{
    static const char *const profiles[] = {NULL, "H264_BASELINE", "H264_MAIN", "H264_HIGH",
                                           "H264_CONSTRAINED_HIGH"};
    json_t *o = json_object();

    put_text(o, "name", p->name);
    put_int(o, "width", p->width);
    put_int(o, "height", p->height);
    put_int(o, "bitrate", p->bitrate);
    put_int(o, "fps", p->fps);
    put_text(o, "format", p->container == CONTAINER_MP4 ? "MP4" : NULL);
    put_int(o, "fpsDen", p->fps_den);
    put_text(o, "profile", profiles[p->profile]);
    put_int(o, "gop", p->gop_ms);
    put_int(o, "quality", p->quality);
    return o;
}

static void put_profiles(json_t *o, const struct seg_data *m)
{
    const char *key = "fullProfiles";
    json_t *list = json_array();

    for (size_t i = 0; i < m->n_profiles; i++) {
        const struct profile *p = &m->profiles[i];

        json_array_append_new(list, profile_json(p));
        if (p->container == CONTAINER_MP4)
            key = "fullProfiles2";
        if (p->fps_den || p->profile || p->gop_ms)
            key = "fullProfiles3";
    }
    put(o, key, list);
}

static json_t *seg_data_json(const struct seg_data *m)
{
    json_t *o = json_object();

    put_bytes(o, "manifestId", m->manifest_id);
    put_i64(o, "seq", m->seq);
    put_bytes(o, "hash", slice_of(m->hash.b, sizeof(m->hash.b)));
    put_bytes(o, "profiles", SLICE_LIT("invalid"));
    put_bytes(o, "sig", m->sig);
    put_int(o, "duration", m->duration_ms);
    if (m->has_caps)
        put(o, "capabilities", caps_json(&m->caps));
    if (m->has_token)
        put(o, "auth_token", token_json(&m->token));
    put_flag(o, "calc_perceptual_hash", m->calc_perceptual_hash);
    put_flag(o, "ForceSessionReinit", m->force_session_reinit);
    if (m->has_clip) {
        json_t *clip = json_object();

        put_i64(clip, "from", (int64_t)m->clip_from_ms);
        put_i64(clip, "to", (int64_t)m->clip_to_ms);
        put(o, "segment_parameters", clip);
    }
    put_profiles(o, m);
    return o;
}

static json_t *orchestrator_request_json(const struct orchestrator_request *m)
{
    json_t *o = json_object();

    put_bytes(o, "address", slice_of(m->address, sizeof(m->address)));
    put_bytes(o, "sig", m->sig);
    if (m->has_caps)
        put(o, "capabilities", caps_json(&m->caps));
    put_flag(o, "ignoreCapacityCheck", m->ignore_capacity_check);
    return o;
}

static json_t *orchestrator_info_json(const struct orchestrator_info *m)
{
    json_t *o = json_object();

    put_text(o, "transcoder", m->transcoder);
    put_bytes(o, "address", slice_of(m->address, sizeof(m->address)));
    if (m->has_caps)
        put(o, "capabilities", caps_json(&m->caps));
    if (m->has_token)
        put(o, "auth_token", token_json(&m->token));
    return o;
}

static json_t *transcode_result_json(const struct transcode_result *m)
{
    json_t *o = json_object(), *data = json_object(), *list = json_array();

    put_i64(o, "seq", m->seq);
    put_text(o, "error", m->error);
    for (size_t i = 0; i < m->n_segments; i++) {
        json_t *s = json_object();

        put_text(s, "url", m->segments[i].url);
        put_i64(s, "pixels", m->segments[i].pixels);
        put_text(s, "perceptual_hash_url", m->segments[i].perceptual_hash_url);
        json_array_append_new(list, s);
    }
    put(data, "segments", list);
    put_bytes(data, "sig", m->sig);
    if (m->has_data)
        put(o, "data", data);
    else
        json_decref(data);
    if (m->has_info)
        put(o, "info", orchestrator_info_json(&m->info));
    return o;
}

static json_t *register_request_json(const struct register_request *m)
{
    json_t *o = json_object();

    put_text(o, "secret", m->secret);
    put_i64(o, "capacity", m->capacity);
    if (m->has_caps)
        put(o, "capabilities", caps_json(&m->caps));
    return o;
}

static json_t *notify_segment_json(const struct notify_segment *m)
{
    json_t *o = json_object();

    if (!m->url[0]) {
        json_t *seg = json_object();

        put(seg, "auth_token", token_json(&m->seg.token));
        put(o, "segData", seg);
        return o;
    }
    put_text(o, "url", m->url);
    if (m->has_seg)
        put(o, "segData", seg_data_json(&m->seg));
    put_i64(o, "taskId", m->task_id);
    put_bytes(o, "profiles", SLICE_LIT("invalid"));
    put_text(o, "orchId", m->orch_id);
    return o;
}

/* --- vectors --- */

/* Where the wire lists no capacities the reader makes one of each bit; for comparing with bytes
 * they are taken away again, after a look. */
static void drop_derived(struct caps *c, const json_t *vector)
{
    size_t bits = 0;

    if (json_object_get(vector, "capacities"))
        return;
    for (size_t i = 0; i < c->n_words; i++)
        bits += (size_t)__builtin_popcountll(c->words[i]);
    assert_int_equal(c->n_capacities, bits);
    for (size_t i = 0; i < c->n_capacities; i++) {
        assert_true(caps_has(c, c->capacities[i].cap));
        assert_int_equal(c->capacities[i].capacity, 1);
    }
    c->n_capacities = 0;
}

static void drop_orchestrator_request(struct orchestrator_request *m, const json_t *v)
{
    drop_derived(&m->caps, json_object_get(v, "capabilities"));
}

static void drop_orchestrator_info(struct orchestrator_info *m, const json_t *v)
{
    drop_derived(&m->caps, json_object_get(v, "capabilities"));
}

static void drop_seg_data(struct seg_data *m, const json_t *v)
{
    drop_derived(&m->caps, json_object_get(v, "capabilities"));
}

static void drop_transcode_result(struct transcode_result *m, const json_t *v)
{
    drop_orchestrator_info(&m->info, json_object_get(v, "info"));
}

static void drop_register_request(struct register_request *m, const json_t *v)
{
    drop_derived(&m->caps, json_object_get(v, "capabilities"));
}

static void drop_notify_segment(struct notify_segment *m, const json_t *v)
{
    drop_seg_data(&m->seg, json_object_get(v, "segData"));
}

static void assert_json_equal(const char *name, const json_t *ours, const json_t *theirs)
{
    char *a, *b;

    if (json_equal(ours, theirs))
        return;
    a = json_dumps(ours, JSON_SORT_KEYS | JSON_INDENT(1));
    b = json_dumps(theirs, JSON_SORT_KEYS | JSON_INDENT(1));
    print_error("%s\nours: %s\ntheirs: %s\n", name, a, b);
    free(a);
    free(b);
    fail();
}

#define CHECK(kind)                                                                                \
    static void check_##kind(const char *name)                                                     \
    {                                                                                              \
        struct kind *m = arena_alloc(arena, sizeof(*m));                                           \
        json_t *theirs = vector_json(name), *ours;                                                 \
        struct buf bytes, again;                                                                   \
        struct err err;                                                                            \
                                                                                                   \
        vector_read(&bytes, name, ".pb");                                                          \
        if (kind##_decode(buf_slice(&bytes), arena, m, &err) != RC_OK)                             \
            fail_msg("%s: %s", name, err.text);                                                    \
        drop_##kind(m, theirs);                                                                    \
        ours = kind##_json(m);                                                                     \
        assert_json_equal(name, ours, theirs);                                                     \
        buf_init(&again, 65536);                                                                   \
        kind##_encode(m, &again);                                                                  \
        assert_true(buf_ok(&again));                                                               \
        assert_int_equal(again.n, bytes.n);                                                        \
        assert_memory_equal(again.p, bytes.p, bytes.n);                                            \
        json_decref(ours);                                                                         \
        json_decref(theirs);                                                                       \
        buf_cleanup(&bytes);                                                                       \
        buf_cleanup(&again);                                                                       \
    }

CHECK(orchestrator_request)
CHECK(orchestrator_info)
CHECK(seg_data)
CHECK(transcode_result)
CHECK(register_request)
CHECK(notify_segment)

static void recordings_read_and_write(void **state)
{
    static const struct {
        const char *name;
        void (*check)(const char *name);
    } rows[] = {
        {"offchain/get-orchestrator.request", check_orchestrator_request},
        {"offchain/get-orchestrator.response", check_orchestrator_info},
        {"offchain/segment.segdata", check_seg_data},
        {"offchain/segment-full.segdata", check_seg_data},
        {"offchain/segment-garbage.segdata", check_seg_data},
        {"offchain/segment-mp4.segdata", check_seg_data},
        {"offchain/segment-rtmp.segdata", check_seg_data},
        {"offchain/segment-slice.segdata", check_seg_data},
        {"offchain/segment.response", check_transcode_result},
        {"offchain/segment-full.response", check_transcode_result},
        {"offchain/segment-garbage.response", check_transcode_result},
        {"offchain/segment-mp4.response", check_transcode_result},
        {"offchain/segment-rtmp.response", check_transcode_result},
        {"offchain/segment-slice.response", check_transcode_result},
        {"offchain/register-transcoder.request", check_register_request},
        {"offchain/register-transcoder.notify-0", check_notify_segment},
        {"offchain/register-transcoder.notify-1", check_notify_segment},
        {"offchain/register-transcoder.notify-2", check_notify_segment},
        {"offchain/notify-full", check_notify_segment},
        {"offchain/notify-mp4", check_notify_segment},
        {"offchain/notify-rtmp", check_notify_segment},
        {"offchain/notify-teardown", check_notify_segment},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        rows[i].check(rows[i].name);
}

static void end_session_recording(void **state)
{
    json_t *theirs = vector_json("offchain/end-session.request"), *ours;
    struct auth_token token;
    struct buf bytes, again;

    (void)state;
    vector_read(&bytes, "offchain/end-session.request", ".pb");
    assert_int_equal(end_session_decode(buf_slice(&bytes), &token, NULL), RC_OK);
    ours = token_json(&token);
    assert_json_equal("end-session", ours, json_object_get(theirs, "auth_token"));
    buf_init(&again, 1024);
    end_session_encode(&token, &again);
    assert_true(slice_eq(buf_slice(&again), buf_slice(&bytes)));
    json_decref(ours);
    json_decref(theirs);
    buf_cleanup(&bytes);
    buf_cleanup(&again);
}

static void ping_recording(void **state)
{
    struct buf bytes, again;
    struct slice value;

    (void)state;
    vector_read(&bytes, "offchain/ping.request", ".pb");
    assert_int_equal(ping_decode(buf_slice(&bytes), &value, arena, NULL), RC_OK);
    assert_int_equal(value.n, 32);
    buf_init(&again, 1024);
    ping_encode(value, &again);
    assert_true(slice_eq(buf_slice(&again), buf_slice(&bytes)));
    buf_clear(&again);
    ping_encode(slice_of(NULL, 0), &again);
    assert_int_equal(again.n, 0);
    buf_cleanup(&bytes);
    buf_cleanup(&again);
}

static void capabilities_recordings(void **state)
{
    json_t *all = vector_json("capabilities/capabilities"), *one;
    size_t i;

    (void)state;
    assert_int_equal(json_array_size(all), 8);
    json_array_foreach(all, i, one)
    {
        const char *hex = json_string_value(json_object_get(one, "hex"));
        json_t *theirs = json_object_get(one, "decoded"), *ours;
        struct orchestrator_request *m = arena_alloc(arena, sizeof(*m));
        struct buf bytes;

        /* as field 3 of a request, since sets of capabilities travel in messages only */
        buf_init(&bytes, 4096);
        buf_u8(&bytes, 3 << 3 | 2);
        if (strlen(hex) / 2 > 127)
            buf_u8(&bytes, (uint8_t)(strlen(hex) / 2 & 127) | 128);
        buf_u8(&bytes, (uint8_t)(strlen(hex) / 2 > 127 ? strlen(hex) / 2 >> 7 : strlen(hex) / 2));
        assert_int_equal(hex_decode(&bytes, slice_str(hex), NULL), RC_OK);
        assert_int_equal(orchestrator_request_decode(buf_slice(&bytes), arena, m, NULL), RC_OK);
        drop_derived(&m->caps, theirs);
        /* models are for AI jobs; nobody reads them yet */
        json_object_del(json_object_get(theirs, "constraints"), "PerCapability");
        ours = caps_json(&m->caps);
        assert_json_equal(json_string_value(json_object_get(one, "name")), ours, theirs);
        json_decref(ours);
        buf_cleanup(&bytes);
    }
    json_decref(all);
}

/* --- the segment's header --- */

static enum rc header_decode(const char *text, struct seg_data *out, struct err *err)
{
    return segment_header_decode(slice_str(text), arena, out, err);
}

static void header_recording(void **state)
{
    struct seg_data *m = arena_alloc(arena, sizeof(*m));
    struct buf headers, again;
    char *line;

    (void)state;
    vector_read(&headers, "offchain/segment.request-headers", ".txt");
    line = strstr(buf_cstr(&headers), "livepeer-segment: ");
    assert_non_null(line);
    line += strlen("livepeer-segment: ");
    *strchr(line, '\n') = 0;
    assert_int_equal(header_decode(line, m, NULL), RC_OK);
    assert_true(slice_eq_str(m->manifest_id, "movie"));
    assert_int_equal(m->n_profiles, 2);
    m->caps.n_capacities = 0;
    buf_init(&again, 65536);
    segment_header_encode(m, &again);
    assert_string_equal(buf_cstr(&again), line);
    buf_cleanup(&again);
    buf_cleanup(&headers);
}

static void header_refusals_are_the_networks(void **state)
{
    json_t *cases = vector_json("offchain/http-refusals"), *one;
    struct seg_data *m = arena_alloc(arena, sizeof(*m));
    size_t i, checked = 0;
    struct err err;

    (void)state;
    json_array_foreach(cases, i, one)
    {
        json_t *headers = json_object_get(one, "request_headers");
        const char *header = json_string_value(json_object_get(headers, "Livepeer-Segment"));
        const char *body = json_string_value(json_object_get(one, "body"));

        if (!header || strcmp(body, "invalid auth token\n") == 0)
            continue;
        assert_int_equal(header_decode(header, m, &err), RC_BAD_INPUT);
        assert_memory_equal(err.text, body, strlen(body) - 1);
        assert_int_equal(strlen(err.text), strlen(body) - 1);
        checked++;
    }
    assert_int_equal(checked, 2);
    assert_int_equal(header_decode("", m, NULL), RC_OK); /* then its token is missed */
    assert_false(m->has_token);
    json_decref(cases);
}

/* --- limits --- */

/* A message with one field changed, through the whole path. */
static enum rc seg_round(struct seg_data *m, struct err *err)
{
    struct seg_data *back = arena_alloc(arena, sizeof(*back));
    struct buf bytes;
    enum rc rc;

    buf_init(&bytes, 65536);
    seg_data_encode(m, &bytes);
    rc = seg_data_decode(buf_slice(&bytes), arena, back, err);
    buf_cleanup(&bytes);
    return rc;
}

static struct seg_data *seg_new(void)
{
    struct seg_data *m = arena_alloc(arena, sizeof(*m));

    m->manifest_id = SLICE_LIT("movie");
    m->duration_ms = 2000;
    m->n_profiles = 1;
    snprintf(m->profiles[0].name, sizeof(m->profiles[0].name), "small");
    m->profiles[0].width = 320;
    m->profiles[0].height = 180;
    m->profiles[0].bitrate = 300000;
    return m;
}

static void assert_refused(struct seg_data *m, const char *text)
{
    struct err err = {RC_OK, ""};

    assert_int_not_equal(seg_round(m, &err), RC_OK);
    assert_non_null(strstr(err.text, text));
}

static void values_out_of_range_are_refused(void **state)
{
    static const struct {
        int32_t duration;
        bool fits;
    } durations[] = {{0, true}, {300000, true}, {300001, false}, {-1, false}, {INT32_MIN, false}};
    struct seg_data *m = seg_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        m->duration_ms = durations[i].duration;
        if (durations[i].fits)
            assert_int_equal(seg_round(m, NULL), RC_OK);
        else
            assert_refused(m, "invalid duration");
    }
    m = seg_new();
    m->profiles[0].container = 2;
    assert_refused(m, "unrecognized profile output format");
    m = seg_new();
    m->profiles[0].profile = 5;
    assert_refused(m, "unrecognized encoder profile");
    m = seg_new();
    m->profiles[0].encoder = 4;
    assert_refused(m, "unrecognized video codec");
    m = seg_new();
    m->profiles[0].width = -2;
    assert_refused(m, "TranscoderInvalidResolution");
    m = seg_new();
    m->profiles[0].height = 16385;
    assert_refused(m, "TranscoderInvalidResolution");
}

static void names_that_would_leave_their_place_are_refused(void **state)
{
    static const char *const bad[] = {"a/b",  "..",     "x..y", "a\"b",
                                      "a\\b", "a\r\nb", "\x7f", "\xff"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct seg_data *m = seg_new();

        snprintf(m->profiles[0].name, sizeof(m->profiles[0].name), "%s", bad[i]);
        assert_refused(m, "name");
    }
}

static void the_profiles_error_comes_before_the_durations(void **state)
{
    struct seg_data *m = seg_new();

    (void)state;
    m->profiles[0].encoder = 4;
    m->duration_ms = -1;
    assert_refused(m, "unrecognized video codec");
}

/* n times tag, as a repeated field of one kind */
static enum rc decode_many(size_t n, const char *entry, size_t entry_n, struct err *err)
{
    struct seg_data *m = arena_alloc(arena, sizeof(*m));
    struct buf bytes;
    enum rc rc;

    buf_init(&bytes, 4 * 1024 * 1024);
    for (size_t i = 0; i < n; i++)
        buf_add(&bytes, entry, entry_n);
    rc = seg_data_decode(buf_slice(&bytes), arena, m, err);
    buf_cleanup(&bytes);
    return rc;
}

static void counts_meet_their_limits(void **state)
{
    static const char profile[] = {(char)0x8a, 0x02, 0x00}; /* field 33, empty */
    struct err err;

    (void)state;
    assert_int_equal(decode_many(10, profile, sizeof(profile), &err), RC_OK);
    assert_int_equal(decode_many(11, profile, sizeof(profile), &err), RC_LIMIT);
    assert_non_null(strstr(err.text, "Too many outputs"));
    /* 3 MB that would become 150 MB of structs */
    assert_int_not_equal(decode_many(1000000, profile, sizeof(profile), &err), RC_OK);
}

static void memory_of_a_message_is_bounded(void **state)
{
    struct orchestrator_info *m = arena_alloc(arena, sizeof(*m));
    struct buf bytes;
    struct err err;

    (void)state;
    buf_init(&bytes, 4 * 1024 * 1024);
    for (int i = 0; i < 500000; i++) { /* field 34 "nodes", empty */
        buf_u8(&bytes, 0x92);
        buf_u8(&bytes, 0x02);
        buf_u8(&bytes, 0x00);
    }
    assert_int_equal(orchestrator_info_decode(buf_slice(&bytes), arena, m, &err), RC_LIMIT);
    assert_non_null(strstr(err.text, "unpacks to more than"));
    buf_cleanup(&bytes);
}

static void texts_must_be_utf8(void **state)
{
    static const uint8_t bad[] = {0x0a, 2, 0xc3, 0x28};
    struct register_request *m = arena_alloc(arena, sizeof(*m));
    struct err err;

    (void)state;
    assert_int_equal(register_request_decode(slice_of(bad, sizeof(bad)), arena, m, &err),
                     RC_BAD_INPUT);
    assert_non_null(strstr(err.text, "no UTF-8"));
}

static void unknown_fields_are_ignored(void **state)
{
    static const uint8_t bytes[] = {0xc2, 0x3e, 3, 'n', 'e', 'w', /* field 1000, a text */
                                    0xc8, 0x3e, 7,                /* field 1001, a number */
                                    0x10, 5};                     /* capacity */
    struct register_request *m = arena_alloc(arena, sizeof(*m));

    (void)state;
    assert_int_equal(register_request_decode(slice_of(bytes, sizeof(bytes)), arena, m, NULL),
                     RC_OK);
    assert_int_equal(m->capacity, 5);
}

static void both_addresses_or_none(void **state)
{
    static const uint8_t none[] = {0x18, 0}, cut[] = {0x0a, 2, 1, 2};
    struct orchestrator_request *m = arena_alloc(arena, sizeof(*m));
    struct err err;

    (void)state;
    assert_int_equal(orchestrator_request_decode(slice_of(none, 0), arena, m, &err), RC_OK);
    assert_false(m->has_caps);
    assert_int_equal(orchestrator_request_decode(slice_of(cut, sizeof(cut)), arena, m, &err),
                     RC_BAD_INPUT);
    assert_non_null(strstr(err.text, "address of 2 bytes, 20 are expected"));
}

/* A peer that hears nothing of its rendition's name gives one (video.md 2.6). */
static void profiles_without_a_name_get_one(void **state)
{
    static const uint8_t bytes[] = {0x8a, 0x02, 10,   0x88, 0x01, 100, 0x90,
                                    0x01, 50,   0x98, 1,    0xf4, 0x03};
    struct seg_data *m = arena_alloc(arena, sizeof(*m));

    (void)state;
    assert_int_equal(seg_data_decode(slice_of(bytes, sizeof(bytes)), arena, m, NULL), RC_OK);
    assert_string_equal(m->profiles[0].name, "net_100x50_500");
}

/* --- the signed form --- */

static void flattened_form(void **state)
{
    static const char expected[] =
        "6d6f766965"
        "00000000000000000000000000000000000000000000000000000000000000"
        "07"
        "1c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36deac8";
    struct seg_data *m = seg_new();
    struct buf flat, hex;
    struct hash id;

    (void)state;
    m->seq = 7;
    m->hash = keccak_of(SLICE_LIT("hello"));
    m->n_profiles = 2;
    snprintf(m->profiles[0].name, sizeof(m->profiles[0].name), "P240p30fps16x9");
    snprintf(m->profiles[1].name, sizeof(m->profiles[1].name), "P360p30fps16x9");
    buf_init(&flat, 1024);
    buf_init(&hex, 1024);
    segment_flatten(m, &flat);
    assert_int_equal(flat.n, 85);
    buf_hex(&hex, slice_sub(buf_slice(&flat), 0, 69));
    assert_string_equal(buf_cstr(&hex), expected);
    assert_memory_equal(flat.p + 69, "c0a6517a93c717e7", 16);
    id = keccak_of(buf_slice(&flat));
    buf_clear(&hex);
    buf_hex(&hex, slice_of(id.b, sizeof(id.b)));
    assert_string_equal(buf_cstr(&hex),
                        "11f18465c7d0b9a239f8c18a90a4de27ecf084094201b3ff22fb3366834bfcfc");
    buf_cleanup(&hex);
    buf_cleanup(&flat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup_arena, teardown_arena)
        T(recordings_read_and_write),
        T(end_session_recording),
        T(ping_recording),
        T(capabilities_recordings),
        T(header_recording),
        T(header_refusals_are_the_networks),
        T(values_out_of_range_are_refused),
        T(names_that_would_leave_their_place_are_refused),
        T(the_profiles_error_comes_before_the_durations),
        T(counts_meet_their_limits),
        T(memory_of_a_message_is_bounded),
        T(texts_must_be_utf8),
        T(unknown_fields_are_ignored),
        T(both_addresses_or_none),
        T(profiles_without_a_name_get_one),
        T(flattened_form),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
