#include "wire/profiles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROFILES_FILE = 256 * 1024 };

static const struct {
    const char *name;
    int width, height, kbps;
    uint32_t fps;
} presets[] = {
    {"P720p60fps16x9", 1280, 720, 6000, 60}, {"P720p30fps16x9", 1280, 720, 4000, 30},
    {"P720p25fps16x9", 1280, 720, 3500, 25}, {"P720p30fps4x3", 960, 720, 3500, 30},
    {"P576p30fps16x9", 1024, 576, 1500, 30}, {"P576p25fps16x9", 1024, 576, 1500, 25},
    {"P360p30fps16x9", 640, 360, 1200, 30},  {"P360p25fps16x9", 640, 360, 1000, 25},
    {"P360p30fps4x3", 480, 360, 1000, 30},   {"P240p30fps16x9", 426, 240, 600, 30},
    {"P240p25fps16x9", 426, 240, 600, 25},   {"P240p30fps4x3", 320, 240, 600, 30},
    {"P144p30fps16x9", 256, 144, 400, 30},
};

bool profile_preset(struct slice name, struct profile *out)
{
    for (size_t i = 0; i < ARRAY_LEN(presets); i++) {
        if (!slice_eq_str(name, presets[i].name))
            continue;
        *out = (struct profile){.width = presets[i].width,
                                .height = presets[i].height,
                                .bitrate = presets[i].kbps * 1000,
                                .fps = presets[i].fps};
        snprintf(out->name, sizeof(out->name), "%s", presets[i].name);
        return true;
    }
    return false;
}

const char *profile_preset_name(size_t i)
{
    return i < ARRAY_LEN(presets) ? presets[i].name : NULL;
}

enum rc profile_name_check(const char *name, struct err *err)
{
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f || strchr("/\\\"", *c))
            return err_set(err, RC_BAD_INPUT,
                           "a profile name holds no slash, quote or control byte");
    if (strstr(name, ".."))
        return err_set(err, RC_BAD_INPUT, "a profile name holds no \"..\"");
    return RC_OK;
}

/* --- JSON, video.md 5.2 --- */

struct word {
    const char *text;
    int value;
};

static bool find_word(const struct word *words, size_t n, const char *text, bool any_case, int *out)
{
    for (size_t i = 0; i < n; i++)
        if (any_case ? strcasecmp(words[i].text, text) == 0 : strcmp(words[i].text, text) == 0) {
            *out = words[i].value;
            return true;
        }
    return false;
}

static enum rc read_encoder_profile(json_t *v, void *out, int64_t max, struct err *err)
{
    static const struct word words[] = {{"", ENCODER_DEFAULT},
                                        {"none", ENCODER_DEFAULT},
                                        {"h264baseline", ENCODER_H264_BASELINE},
                                        {"h264main", ENCODER_H264_MAIN},
                                        {"h264high", ENCODER_H264_HIGH},
                                        {"h264constrainedhigh", ENCODER_H264_CONSTRAINED_HIGH}};
    int value;

    (void)max;
    if (!json_is_string(v) ||
        !find_word(words, ARRAY_LEN(words), json_string_value(v), true, &value))
        return err_set(err, RC_BAD_INPUT,
                       "unknown VideoProfile profile name \"%.60s\": H264Baseline, H264Main, "
                       "H264High, H264ConstrainedHigh or None is expected",
                       json_is_string(v) ? json_string_value(v) : "");
    *(enum encoder_profile *)out = (enum encoder_profile)value;
    return RC_OK;
}

static enum rc read_encoder(json_t *v, void *out, int64_t max, struct err *err)
{
    static const struct word words[] = {{"", VIDEO_H264},
                                        {"H.264", VIDEO_H264},
                                        {"HEVC", VIDEO_H265},
                                        {"VP8", VIDEO_VP8},
                                        {"VP9", VIDEO_VP9}};
    int value;

    (void)max;
    if (!json_is_string(v) ||
        !find_word(words, ARRAY_LEN(words), json_string_value(v), false, &value))
        return err_set(err, RC_BAD_INPUT, "unknown codec name \"%.60s\": H.264 is expected",
                       json_is_string(v) ? json_string_value(v) : "");
    *(enum video_encoder *)out = (enum video_encoder)value;
    return RC_OK;
}

static enum rc read_gop(json_t *v, void *out, int64_t max_s, struct err *err)
{
    const char *text = json_is_string(v) ? json_string_value(v) : NULL;
    char *end;
    double s;

    if (!text)
        return err_set(err, RC_BAD_INPUT, "a text is expected: seconds, or \"intra\"");
    if (strcmp(text, "intra") == 0) {
        *(int32_t *)out = GOP_INTRA;
        return RC_OK;
    }
    if (!text[0])
        return RC_OK;
    s = strtod(text, &end);
    if (*end || !(s >= 0 && s <= (double)max_s))
        return err_set(err, RC_BAD_INPUT, "\"%.60s\" is neither \"intra\" nor 0 to %lld seconds",
                       text, (long long)max_s);
    *(int32_t *)out = (int32_t)(s * 1000 + 0.5);
    return RC_OK;
}

static enum rc read_name(json_t *v, void *out, int64_t max, struct err *err)
{
    char *name = NULL;
    enum rc rc = json_text(v, &name, max, err);

    if (rc == RC_OK)
        snprintf(out, PROFILE_NAME_MAX + 1, "%s", name);
    free(name);
    return rc == RC_OK ? profile_name_check(out, err) : rc;
}

static enum rc read_int(json_t *v, void *out, int64_t max, struct err *err)
{
    int64_t n = 0;
    enum rc rc = json_i64(v, &n, max, err);

    if (rc == RC_OK && n < 0)
        return err_set(err, RC_BAD_INPUT, "expected no negative number, got %lld", (long long)n);
    if (rc == RC_OK)
        *(int *)out = (int)n;
    return rc;
}

static enum rc profile_read(json_t *object, struct profile *p, struct err *err)
{
    uint32_t depth = 0, chroma = 0; /* read and left: every transcoder's output is 8-bit 4:2:0 */
    const struct json_field fields[] = {
        {"name", JSON_OPTIONAL, read_name, p->name, PROFILE_NAME_MAX},
        {"width", JSON_REQUIRED, read_int, &p->width, PROFILE_MAX_SIDE},
        {"height", JSON_REQUIRED, read_int, &p->height, PROFILE_MAX_SIDE},
        {"bitrate", JSON_REQUIRED, read_int, &p->bitrate, 1000000000},
        {"fps", JSON_OPTIONAL, json_u32, &p->fps, 1000000},
        {"fpsDen", JSON_OPTIONAL, json_u32, &p->fps_den, 1000000},
        {"profile", JSON_OPTIONAL, read_encoder_profile, &p->profile, 0},
        {"gop", JSON_OPTIONAL, read_gop, &p->gop_ms, 300},
        {"encoder", JSON_OPTIONAL, read_encoder, &p->encoder, 0},
        {"colorDepth", JSON_OPTIONAL, json_u32, &depth, 8},
        {"chromaFormat", JSON_OPTIONAL, json_u32, &chroma, 2},
        {"quality", JSON_OPTIONAL, json_u32, &p->quality, 63},
    };
    enum rc rc;

    memset(p, 0, sizeof(*p));
    rc = json_read(object, fields, ARRAY_LEN(fields), err);
    if (rc == RC_OK && !p->name[0])
        snprintf(p->name, sizeof(p->name), "custom_%dx%d_%d", p->width, p->height, p->bitrate);
    return rc;
}

/* "source" is the publisher's own in every playlist. */
static bool is_taken(const struct profile *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return true;
    return strcmp(name, "source") == 0;
}

enum rc profiles_from_json(json_t *array, struct profile out[MAX_PROFILES], size_t *n,
                           struct err *err)
{
    size_t count = json_array_size(array);

    *n = 0;
    if (!json_is_array(array))
        return err_set(err, RC_BAD_INPUT, "an array of profiles is expected");
    if (count > MAX_PROFILES)
        return err_set(err, RC_LIMIT, "%zu profiles, at most %d", count, MAX_PROFILES);
    for (size_t i = 0; i < count; i++) {
        enum rc rc = profile_read(json_array_get(array, i), &out[i], err);

        if (rc == RC_OK && is_taken(out, i, out[i].name))
            rc = err_set(err, RC_BAD_INPUT, "the name \"%s\" is taken", out[i].name);
        if (rc != RC_OK)
            return err_wrap(err, rc, "profile %zu", i);
    }
    *n = count;
    return RC_OK;
}

/* --- the option --- */

/* Leaves out empty when there is nothing to read at that path. */
static void read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    size_t got;

    if (!f)
        return;
    while (buf_reserve(out, 4096) && (got = fread(out->p + out->n, 1, 4096, f)) > 0)
        out->n += got;
    fclose(f);
}

static enum rc from_text(const struct buf *text, struct profile out[MAX_PROFILES], size_t *n,
                         struct err *err)
{
    json_t *root = NULL;
    enum rc rc = RC_BAD_INPUT;

    if (!buf_ok(text))
        return err_set(err, RC_LIMIT, "larger than %d bytes", MAX_PROFILES_FILE);
    root = json_parse(buf_slice(text), err);
    if (root)
        rc = profiles_from_json(root, out, n, err);
    json_decref(root);
    return rc;
}

static void from_names(const char *list, struct profile out[MAX_PROFILES], size_t *n,
                       char **skipped)
{
    struct slice rest = slice_str(list), name;
    struct buf text;

    buf_init(&text, 4096);
    while (slice_split(&rest, ',', &name)) {
        name = slice_trim(name);
        if (*n < MAX_PROFILES && profile_preset(name, &out[*n]) && !is_taken(out, *n, out[*n].name))
            (*n)++;
        else if (name.n)
            buf_printf(&text, "%s" SLICE_FMT, text.n ? ", " : "", SLICE_ARG(name));
    }
    if (skipped)
        *skipped = xstrdup(buf_cstr(&text));
    buf_cleanup(&text);
}

enum rc profiles_from_option(const char *value, struct profile out[MAX_PROFILES], size_t *n,
                             char **skipped, struct err *err)
{
    struct buf text;
    enum rc rc = RC_OK;

    *n = 0;
    if (skipped)
        *skipped = NULL;
    buf_init(&text, MAX_PROFILES_FILE);
    if (slice_has_prefix(slice_trim(slice_str(value)), "["))
        buf_str(&text, value);
    else
        read_file(value, &text);
    if (text.n || !buf_ok(&text)) {
        rc = from_text(&text, out, n, err);
        rc = rc == RC_OK ? rc : err_wrap(err, rc, "%.200s", value);
    } else {
        from_names(value, out, n, skipped);
    }
    buf_cleanup(&text);
    if (rc == RC_OK && *n == 0)
        return err_set(err, RC_BAD_INPUT,
                       "No transcoding profiles found in \"%.200s\": names like P360p30fps16x9, or "
                       "a JSON array of profiles or a file with one, are expected",
                       value);
    return rc;
}

const char *container_mime(enum container c)
{
    return c == CONTAINER_MP4 ? "video/mp4" : "video/mp2t";
}

const char *container_ext(enum container c)
{
    return c == CONTAINER_MP4 ? ".mp4" : ".ts";
}
