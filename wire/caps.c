#include "wire/caps.h"

#include <stdio.h>
#include <string.h>

static const struct {
    unsigned id;
    const char *name;
} names[] = {
#define X(id, bit, name) {bit, name},
    CAP_LIST(X)
#undef X
};

const char *cap_name(unsigned id)
{
    static char made[32];

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].id == id)
            return names[i].name;
    snprintf(made, sizeof(made), "capability %u", id);
    return made;
}

static void set_bit(uint64_t words[CAPS_MAX_WORDS], size_t *n, unsigned id)
{
    size_t word = id / 64;

    if (word >= CAPS_MAX_WORDS)
        return;
    words[word] |= UINT64_C(1) << id % 64;
    *n = MAX(*n, word + 1);
}

void caps_add(struct caps *c, unsigned id)
{
    set_bit(c->words, &c->n_words, id);
}

static bool has_bit(const uint64_t *words, size_t n, unsigned id)
{
    return id / 64 < n && (words[id / 64] >> id % 64 & 1);
}

bool caps_has(const struct caps *c, unsigned id)
{
    return has_bit(c->words, c->n_words, id);
}

/* --- sets of nodes, video.md 6.2 --- */

static void add_with_capacity(struct caps *c, const unsigned *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        caps_add(c, ids[i]);
        c->capacities[c->n_capacities].cap = ids[i];
        c->capacities[c->n_capacities++].capacity = 1;
    }
}

void caps_of_orchestrator(struct caps *c)
{
    static const unsigned ids[] = {CAP_H264,
                                   CAP_MPEGTS,
                                   CAP_MP4,
                                   CAP_FRACTIONAL_FPS,
                                   CAP_STORAGE_DIRECT,
                                   CAP_PROFILE_BASELINE,
                                   CAP_PROFILE_MAIN,
                                   CAP_PROFILE_HIGH,
                                   CAP_PROFILE_CONSTRAINED_HIGH,
                                   CAP_GOP,
                                   CAP_AUTH_TOKEN,
                                   CAP_SEGMENT_SLICING};

    memset(c, 0, sizeof(*c));
    c->has_constraints = true;
    add_with_capacity(c, ids, ARRAY_LEN(ids));
}

void caps_of_software_worker(struct caps *c)
{
    /* Not AV1: its number is ours, and nobody knows what the reference does with one that it has
     * not given away. */
    static const unsigned decoders[] = {CAP_HEVC_DECODE,   CAP_VP8_DECODE,   CAP_VP9_DECODE,
                                        CAP_DECODE_444_8,  CAP_DECODE_422_8, CAP_DECODE_444_10,
                                        CAP_DECODE_422_10, CAP_DECODE_420_10};

    caps_of_orchestrator(c);
    add_with_capacity(c, decoders, ARRAY_LEN(decoders));
}

static uint32_t *capacity_of(struct caps *c, uint32_t cap)
{
    for (size_t i = 0; i < c->n_capacities; i++)
        if (c->capacities[i].cap == cap)
            return &c->capacities[i].capacity;
    return NULL;
}

void caps_join(struct caps *total, const struct caps *worker)
{
    for (size_t i = 0; i < worker->n_capacities; i++) {
        uint32_t cap = worker->capacities[i].cap, *have = capacity_of(total, cap);

        if (have) {
            *have += MIN(worker->capacities[i].capacity, UINT32_MAX - *have);
        } else if (total->n_capacities < CAPS_MAX_CAPACITIES) {
            total->capacities[total->n_capacities].cap = cap;
            total->capacities[total->n_capacities++].capacity = worker->capacities[i].capacity;
            caps_add(total, cap);
        }
    }
}

static void drop(struct caps *c, size_t i)
{
    uint32_t cap = c->capacities[i].cap;

    c->words[cap / 64] &= ~(UINT64_C(1) << cap % 64);
    c->capacities[i] = c->capacities[--c->n_capacities];
    while (c->n_words && !c->words[c->n_words - 1])
        c->n_words--;
}

void caps_leave(struct caps *total, const struct caps *worker)
{
    for (size_t k = 0; k < worker->n_capacities; k++)
        for (size_t i = 0; i < total->n_capacities; i++) {
            if (total->capacities[i].cap != worker->capacities[k].cap)
                continue;
            if (total->capacities[i].capacity > worker->capacities[k].capacity)
                total->capacities[i].capacity -= worker->capacities[k].capacity;
            else
                drop(total, i);
            break;
        }
}

/* --- need of a job, video.md 6.3 --- */

static void add_input(struct caps *c, enum video_input input)
{
    static const unsigned decoders[] = {[INPUT_H264] = CAP_H264,
                                        [INPUT_HEVC] = CAP_HEVC_DECODE,
                                        [INPUT_VP8] = CAP_VP8_DECODE,
                                        [INPUT_VP9] = CAP_VP9_DECODE,
                                        [INPUT_AV1] = CAP_AV1_DECODE};

    caps_add(c, decoders[input]);
}

static void add_pixel_format(struct caps *c, int chroma, int depth)
{
    static const struct {
        int chroma, depth;
        unsigned cap;
    } rows[] = {{3, 8, CAP_DECODE_444_8},
                {2, 8, CAP_DECODE_422_8},
                {3, 10, CAP_DECODE_444_10},
                {2, 10, CAP_DECODE_422_10},
                {1, 10, CAP_DECODE_420_10}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].chroma == chroma && rows[i].depth == depth)
            caps_add(c, rows[i].cap);
}

static void add_profile(struct caps *c, const struct profile *p)
{
    static const unsigned encoders[] = {[VIDEO_H264] = CAP_H264,
                                        [VIDEO_H265] = CAP_HEVC_ENCODE,
                                        [VIDEO_VP8] = CAP_VP8_ENCODE,
                                        [VIDEO_VP9] = CAP_VP9_ENCODE};
    static const unsigned profiles[] = {
        [ENCODER_H264_BASELINE] = CAP_PROFILE_BASELINE,
        [ENCODER_H264_MAIN] = CAP_PROFILE_MAIN,
        [ENCODER_H264_HIGH] = CAP_PROFILE_HIGH,
        [ENCODER_H264_CONSTRAINED_HIGH] = CAP_PROFILE_CONSTRAINED_HIGH};

    caps_add(c, p->container == CONTAINER_MP4 ? CAP_MP4 : CAP_MPEGTS);
    caps_add(c, encoders[p->encoder]);
    if (p->fps_den > 0)
        caps_add(c, CAP_FRACTIONAL_FPS);
    if (p->profile != ENCODER_DEFAULT)
        caps_add(c, profiles[p->profile]);
    if (p->gop_ms != GOP_DEFAULT)
        caps_add(c, CAP_GOP);
}

void caps_for_job(struct caps *c, const struct caps_job *job)
{
    memset(c, 0, sizeof(*c));
    c->has_constraints = true;
    caps_add(c, CAP_AUTH_TOKEN);
    add_input(c, job->input);
    if (job->pushed)
        caps_add(c, CAP_SEGMENT_SLICING);
    if (job->input == INPUT_H264)
        add_pixel_format(c, job->chroma_format_idc, job->bit_depth);
    for (size_t i = 0; i < job->n_profiles; i++)
        add_profile(c, &job->profiles[i]);
}

/* --- compatibility, video.md 6.5 --- */

/* "0.9.1", "v0.9", "0.9.1-4-gabc": what follows the numbers does not count. */
static bool version_parse(const char *text, uint64_t v[3])
{
    struct slice rest = slice_str(text), part;

    if (slice_has_prefix(rest, "v"))
        rest = slice_skip(rest, 1);
    rest.n = MIN(slice_find(rest, '-'), slice_find(rest, '+'));
    memset(v, 0, 3 * sizeof(v[0]));
    for (int i = 0; slice_split(&rest, '.', &part); i++)
        if (i == 3 || !slice_u64(part, INT64_MAX, &v[i]))
            return false;
    return true;
}

static bool version_at_least(const char *have, const char *least)
{
    uint64_t a[3], b[3];

    if (!have[0] || strcmp(have, "undefined") == 0)
        return false;
    if (!version_parse(least, a))
        return true;
    if (!version_parse(have, b))
        return false;
    for (int i = 0; i < 3; i++)
        if (a[i] != b[i])
            return b[i] > a[i];
    return true;
}

static enum rc check_version(const char *least, const char *have, struct err *err)
{
    if (!least[0] || version_at_least(have, least))
        return RC_OK;
    return err_set(err, RC_UNSUPPORTED, "version \"%.60s\" is below the minimum %.60s", have,
                   least);
}

/* Names of the bits in need that have lacks, as many as a sentence holds; false when none is. */
static bool list_missing(const uint64_t *need, size_t n_need, const uint64_t *have, size_t n_have,
                         char text[ERR_TEXT_MAX])
{
    size_t n = 0;

    for (unsigned id = 0; id < n_need * 64 && n < ERR_TEXT_MAX; id++)
        if (has_bit(need, n_need, id) && !has_bit(have, n_have, id))
            n += (size_t)snprintf(text + n, ERR_TEXT_MAX - n, "%s%s", n ? ", " : "", cap_name(id));
    return n > 0;
}

static enum rc check_bits(const struct caps *need, const struct caps *have, struct err *err)
{
    char text[ERR_TEXT_MAX];

    if (list_missing(have->mandatories, have->n_mandatories, need->words, need->n_words, text))
        return err_set(err, RC_UNSUPPORTED, "demands what the job does not offer: %s", text);
    if (list_missing(need->words, need->n_words, have->words, have->n_words, text))
        return err_set(err, RC_UNSUPPORTED, "lacks %s", text);
    return RC_OK;
}

enum rc caps_compatible(const struct caps *need, const struct caps *have, struct err *err)
{
    enum rc rc = check_version(need->min_version, have->version, err);

    return rc == RC_OK ? check_bits(need, have, err) : rc;
}
