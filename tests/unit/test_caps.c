#include "vector_test.h"

#include "wire/caps.h"

static void assert_word(const struct caps *c, uint64_t expected)
{
    assert_int_equal(c->n_words, expected ? 1 : 0);
    assert_true(c->words[0] == expected);
}

static void sets_of_nodes(void **state)
{
    /* The reference's default set is 0x4005fff. Of it we leave out what nobody tested here: two
     * object stores (5, 6) and perceptual signatures (14). */
    const uint64_t reference = 0x4005fff, missing = 1 << 5 | 1 << 6 | 1 << 14;
    /* HEVC, VP8, VP9; five forms of H.264 */
    const uint64_t decoders = 1 << 15 | 1 << 17 | 1 << 18 | UINT64_C(0x1f) << 21;
    struct caps c;

    (void)state;
    caps_of_orchestrator(&c);
    assert_word(&c, reference & ~missing);
    assert_int_equal(c.n_capacities, 12);
    for (size_t i = 0; i < c.n_capacities; i++)
        assert_int_equal(c.capacities[i].capacity, 1);
    caps_of_software_worker(&c);
    assert_word(&c, (reference & ~missing) | decoders);
    assert_int_equal(c.n_capacities, 20);
}

static void bits_lie_where_the_network_wants_them(void **state)
{
    struct caps c = {.n_words = 0};

    (void)state;
    caps_add(&c, 0);
    caps_add(&c, 63);
    caps_add(&c, 65);
    caps_add(&c, CAPS_MAX_WORDS * 64); /* beyond what we keep: left out */
    assert_int_equal(c.n_words, 2);
    assert_true(c.words[0] == 0x8000000000000001);
    assert_true(c.words[1] == 2);
    assert_true(caps_has(&c, 65));
    assert_false(caps_has(&c, 64));
    assert_false(caps_has(&c, 100000));
}

static const struct profile plain = {.name = "plain", .width = 640, .height = 360, .fps = 30};

static void needs_of_jobs(void **state)
{
    const uint64_t always = 1 << 12;
    const struct {
        const char *what;
        struct caps_job job;
        struct profile p;
        uint64_t more;
    } rows[] = {
        {"RTMP", {.pushed = false}, plain, 1 << 1},
        {"push", {.pushed = true}, plain, 1 << 1 | 1 << 26},
        {"4:2:0 of 8 bits", {false, 1, 8}, plain, 1 << 1},
        {"4:4:4 of 8 bits", {false, 3, 8}, plain, 1 << 1 | 1 << 21},
        {"4:2:2 of 8 bits", {false, 2, 8}, plain, 1 << 1 | 1 << 22},
        {"4:4:4 of 10 bits", {false, 3, 10}, plain, 1 << 1 | 1 << 23},
        {"4:2:2 of 10 bits", {false, 2, 10}, plain, 1 << 1 | 1 << 24},
        {"4:2:0 of 10 bits", {false, 1, 10}, plain, 1 << 1 | 1 << 25},
        {"MP4", {.pushed = false}, {.container = CONTAINER_MP4}, 1 << 2},
        {"fractions", {.pushed = false}, {.fps_den = 1}, 1 << 1 | 1 << 3},
        {"baseline", {.pushed = false}, {.profile = ENCODER_H264_BASELINE}, 1 << 1 | 1 << 7},
        {"main", {.pushed = false}, {.profile = ENCODER_H264_MAIN}, 1 << 1 | 1 << 8},
        {"high", {.pushed = false}, {.profile = ENCODER_H264_HIGH}, 1 << 1 | 1 << 9},
        {"constrained high",
         {.pushed = false},
         {.profile = ENCODER_H264_CONSTRAINED_HIGH},
         1 << 1 | 1 << 10},
        {"GOP", {.pushed = false}, {.gop_ms = GOP_INTRA}, 1 << 1 | 1 << 11},
        {"HEVC", {.pushed = false}, {.encoder = VIDEO_H265}, 1 << 1 | 1 << 16},
        /* H.264 comes in by the renditions alone */
        {"HEVC in", {.input = INPUT_HEVC}, plain, 1 << 15 | 1 << 1 | 1 << 0},
        {"HEVC in, out",
         {.input = INPUT_HEVC},
         {.encoder = VIDEO_H265},
         1 << 15 | 1 << 1 | 1 << 16},
        {"VP8 in", {.input = INPUT_VP8}, plain, 1 << 17 | 1 << 1 | 1 << 0},
        {"VP9 in", {.input = INPUT_VP9}, plain, 1 << 18 | 1 << 1 | 1 << 0},
        {"AV1 in", {.input = INPUT_AV1}, plain, UINT64_C(1) << 63 | 1 << 1 | 1 << 0},
        {"HEVC of 10 bits in", {false, 1, 10, INPUT_HEVC}, plain, 1 << 15 | 1 << 1 | 1 << 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct caps_job job = rows[i].job;
        struct caps c;

        job.profiles = &rows[i].p;
        job.n_profiles = 1;
        caps_for_job(&c, &job);
        uint64_t input = job.input == INPUT_H264 ? 1 << 0 : 0;
        if (c.words[0] != (always | input | rows[i].more))
            fail_msg("%s: 0x%llx", rows[i].what, (unsigned long long)c.words[0]);
        assert_int_equal(c.n_capacities, 0);
        assert_true(c.has_constraints);
    }
}

static void the_recorded_job(void **state)
{
    json_t *all = vector_json("capabilities/capabilities"), *one;
    const struct caps_job job = {.pushed = true, .profiles = &plain, .n_profiles = 1};
    bool found = false;
    struct caps c;
    size_t i;

    (void)state;
    caps_for_job(&c, &job);
    json_array_foreach(all, i, one)
    {
        json_t *words = json_object_get(one, "bitstring_words");
        const char *word = json_string_value(json_array_get(words, 0));

        if (strcmp(json_string_value(json_object_get(one, "name")), "job-push-h264-ts") != 0)
            continue;
        assert_word(&c, strtoull(word, NULL, 16));
        found = true;
    }
    assert_true(found);
    json_decref(all);
}

static void workers_join_and_leave(void **state)
{
    struct caps total, worker, own;

    (void)state;
    caps_of_orchestrator(&total);
    own = total;
    caps_of_software_worker(&worker);
    caps_join(&total, &worker);
    caps_join(&total, &worker);
    assert_true(caps_has(&total, CAP_DECODE_444_8));
    assert_int_equal(total.capacities[0].capacity, 3);
    caps_leave(&total, &worker);
    assert_true(caps_has(&total, CAP_DECODE_444_8));
    caps_leave(&total, &worker);
    assert_false(caps_has(&total, CAP_DECODE_444_8));
    assert_int_equal(total.n_capacities, own.n_capacities);
    assert_word(&total, own.words[0]);
    caps_leave(&total, &own);
    assert_word(&total, 0);
    caps_leave(&total, &own); /* a second goodbye takes nothing */
    assert_int_equal(total.n_capacities, 0);
}

/* However many bits workers make up, what they brought goes with them. */
static void made_up_capabilities_go_again(void **state)
{
    struct caps total = {.n_words = 0}, worker = {.n_words = 0};

    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        worker.n_capacities = 0;
        for (unsigned i = 0; i < CAPS_MAX_CAPACITIES; i++) {
            worker.capacities[i].cap = round * CAPS_MAX_CAPACITIES + i;
            worker.capacities[i].capacity = UINT32_MAX;
            worker.n_capacities++;
        }
        caps_join(&total, &worker);
        caps_join(&total, &worker);
        assert_int_equal(total.capacities[0].capacity, UINT32_MAX);
    }
    for (unsigned id = 0; id < CAPS_MAX_WORDS * 64; id++)
        assert_int_equal(caps_has(&total, id), id < CAPS_MAX_CAPACITIES);
}

static void compatibility(void **state)
{
    struct caps job, node;
    struct err err;
    const struct caps_job hevc = {
        .pushed = true, .profiles = &(struct profile){.encoder = VIDEO_H265}, .n_profiles = 1};

    (void)state;
    caps_of_orchestrator(&node);
    caps_for_job(&job, &(struct caps_job){.pushed = true, .profiles = &plain, .n_profiles = 1});
    assert_int_equal(caps_compatible(&job, &node, NULL), RC_OK);
    caps_for_job(&job, &hevc);
    assert_int_equal(caps_compatible(&job, &node, &err), RC_UNSUPPORTED);
    assert_string_equal(err.text, "lacks HEVC encode");
    caps_add(&job, 77);
    assert_int_equal(caps_compatible(&job, &node, &err), RC_UNSUPPORTED);
    assert_string_equal(err.text, "lacks HEVC encode, capability 77");
    memset(&job, 0, sizeof(job));
    assert_int_equal(caps_compatible(&job, &node, NULL), RC_OK);
    node.mandatories[0] = 1 << 12;
    node.n_mandatories = 1;
    assert_int_equal(caps_compatible(&job, &node, &err), RC_UNSUPPORTED);
    assert_string_equal(err.text, "demands what the job does not offer: Auth token");
}

/* 512 names do not fit a sentence; it is cut, not lost. */
static void a_long_list_is_cut(void **state)
{
    struct caps job = {.n_words = CAPS_MAX_WORDS}, node = {.n_words = 0};
    struct err err;

    (void)state;
    memset(job.words, 0xff, sizeof(job.words));
    assert_int_equal(caps_compatible(&job, &node, &err), RC_UNSUPPORTED);
    assert_non_null(strstr(err.text, "lacks H.264, MPEGTS"));
}

static void versions(void **state)
{
    static const struct {
        const char *least, *have;
        bool ok;
    } rows[] = {
        {"", "", true},
        {"", "undefined", true},
        {"0.9.1", "", false},
        {"0.9.1", "undefined", false},
        {"0.9.1", "0.9.1", true},
        {"0.9.1", "0.9.0", false},
        {"0.9.1", "0.10.0", true},
        {"0.9.1", "1.0.0", true},
        {"1.0.0", "0.99.99", false},
        {"0.9.1", "0.9.1-4-g1234567", true}, /* what follows does not count */
        {"0.9.1-rc1", "0.9.1", true},
        {"0.9.2-rc1", "0.9.1-9-gabc", false},
        {"v0.9", "0.9.1+build", true},
        {"not a version", "0.1.0", true}, /* asks for nothing we could compare */
        {"not a version", "undefined", false},
        {"0.9.1", "development", false},
        {"0.9.1", "1.2.3.4", false},
        {"0.9.1", "0.9.-1", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct caps need = {.n_words = 0}, have = {.n_words = 0};

        snprintf(need.min_version, sizeof(need.min_version), "%s", rows[i].least);
        snprintf(have.version, sizeof(have.version), "%s", rows[i].have);
        if ((caps_compatible(&need, &have, NULL) == RC_OK) != rows[i].ok)
            fail_msg("needs \"%s\", has \"%s\"", rows[i].least, rows[i].have);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_of_nodes),
        cmocka_unit_test(bits_lie_where_the_network_wants_them),
        cmocka_unit_test(needs_of_jobs),
        cmocka_unit_test(the_recorded_job),
        cmocka_unit_test(workers_join_and_leave),
        cmocka_unit_test(made_up_capabilities_go_again),
        cmocka_unit_test(compatibility),
        cmocka_unit_test(a_long_list_is_cut),
        cmocka_unit_test(versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
