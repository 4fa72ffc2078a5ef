#include "gateway/stream_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "wire/profiles.h"

enum { MAX_VERIFICATION_FREQ = 1000000 };

static bool is_taken(const struct stream_config *c, const char *name)
{
    for (size_t i = 0; i < c->n_profiles; i++)
        if (strcmp(c->profiles[i].name, name) == 0)
            return true;
    return false;
}

static void note_unknown(struct stream_config *c, json_t *name)
{
    char shown[256];

    if (!c->unknown_preset[0])
        snprintf(
            c->unknown_preset, sizeof(c->unknown_preset), "%.60s",
            text_printable(slice_str(json_is_string(name) ? json_string_value(name) : "?"), shown));
}

/* As the network does it: unknown names are skipped, and no known one means no transcoding. */
static enum rc read_presets(json_t *v, void *out, int64_t max, struct err *err)
{
    struct stream_config *c = out;
    struct profile p;
    size_t i;
    json_t *name;

    if (!json_is_array(v))
        return err_set(err, RC_BAD_INPUT, "expected an array of preset names");
    if (json_array_size(v) > (size_t)max)
        return err_set(err, RC_LIMIT, "expected at most %lld names, got %zu", (long long)max,
                       json_array_size(v));
    json_array_foreach(v, i, name)
    {
        if (!json_is_string(name) ||
            !profile_preset(slice_trim(slice_str(json_string_value(name))), &p))
            note_unknown(c, name);
        else if (!is_taken(c, p.name))
            c->profiles[c->n_profiles++] = p;
    }
    c->n_presets = c->n_profiles;
    c->has_profiles = json_array_size(v) > 0;
    return RC_OK;
}

/* Comes after the presets. */
static enum rc read_profiles(json_t *v, void *out, int64_t max, struct err *err)
{
    struct stream_config *c = out;
    struct profile more[MAX_PROFILES];
    size_t n = 0;
    enum rc rc = profiles_from_json(v, more, &n, err);

    if (rc != RC_OK)
        return rc;
    if (c->n_profiles + n > (size_t)max)
        return err_set(err, RC_LIMIT, "expected at most %lld with the presets, got %zu",
                       (long long)max, c->n_profiles + n);
    for (size_t i = 0; i < n; i++) {
        if (is_taken(c, more[i].name))
            return err_set(err, RC_BAD_INPUT, "profile %zu: the name \"%s\" is a preset's", i,
                           more[i].name);
        c->profiles[c->n_profiles++] = more[i];
    }
    c->has_profiles = true; /* an explicit empty list means: do not transcode */
    return RC_OK;
}

static enum rc read_manifest_id(json_t *v, void *out, int64_t max, struct err *err)
{
    struct stream_name name;
    char *id = NULL;
    enum rc rc = json_text(v, &id, max, err);

    if (rc == RC_OK)
        rc = stream_name_parse(slice_str(id), false, &name, err);
    if (rc == RC_OK)
        snprintf(out, STREAM_NAME_MAX + 1, "%s", name.name);
    free(id);
    return rc;
}

static enum rc read_key(json_t *v, void *out, int64_t max, struct err *err)
{
    char *key = NULL;
    enum rc rc = json_text(v, &key, max, err);

    if (rc == RC_OK)
        snprintf(out, STREAM_KEY_MAX + 1, "%s", key);
    free(key);
    return rc;
}

static enum rc read_not_built(json_t *v, void *out, int64_t max, struct err *err)
{
    (void)out;
    (void)max;
    if (json_is_string(v) && !json_string_length(v))
        return RC_OK;
    return err_set(err, RC_UNSUPPORTED,
                   "this version of leat stores no streams: expected no store, or \"\"");
}

enum rc stream_config_read(struct slice text, struct stream_config *out, struct err *err)
{
    const struct json_field fields[] = {
        {"manifestID", JSON_OPTIONAL, read_manifest_id, out->manifest_id, 1024},
        {"streamKey", JSON_OPTIONAL, read_key, out->stream_key, STREAM_KEY_MAX},
        {"presets", JSON_OPTIONAL, read_presets, out, MAX_PROFILES},
        {"profiles", JSON_OPTIONAL, read_profiles, out, MAX_PROFILES},
        {"objectStore", JSON_OPTIONAL, read_not_built, NULL, 0},
        {"recordObjectStore", JSON_OPTIONAL, read_not_built, NULL, 0},
        {"verificationFreq", JSON_OPTIONAL, json_u32, &out->verification_freq,
         MAX_VERIFICATION_FREQ},
        {"timeoutMultiplier", JSON_OPTIONAL, json_u32, &out->timeout_multiplier,
         MAX_TIMEOUT_MULTIPLIER},
        {"forceSessionReinit", JSON_OPTIONAL, json_flag, &out->reinit, 0},
    };
    json_t *root;
    enum rc rc;

    memset(out, 0, sizeof(*out));
    if (!text.n)
        return RC_OK;
    root = json_parse(text, err);
    if (!root)
        return RC_BAD_INPUT;
    out->given = true;
    rc = json_read(root, fields, ARRAY_LEN(fields), err);
    json_decref(root);
    return rc;
}

static bool same_profile(const struct profile *a, const struct profile *b)
{
    return strcmp(a->name, b->name) == 0 && a->width == b->width && a->height == b->height &&
           a->bitrate == b->bitrate && a->fps == b->fps && a->fps_den == b->fps_den &&
           a->gop_ms == b->gop_ms && a->profile == b->profile && a->encoder == b->encoder &&
           a->quality == b->quality;
}

static bool same_lists(const struct stream_config *a, const struct stream_config *b)
{
    size_t n = a->n_profiles - a->n_presets;

    if (b->n_profiles - b->n_presets != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!same_profile(&a->profiles[a->n_presets + i], &b->profiles[b->n_presets + i]))
            return false;
    return true;
}

enum rc stream_config_merge(struct stream_config *config, const struct stream_config *webhook,
                            struct err *err)
{
    if (!webhook->given)
        return RC_OK;
    if (config->given && !same_lists(config, webhook))
        return err_set(err, RC_DENIED,
                       "the profiles of the header Livepeer-Transcode-Configuration (%zu) are not "
                       "those of the auth webhook (%zu)",
                       config->n_profiles - config->n_presets,
                       webhook->n_profiles - webhook->n_presets);
    if (!config->given)
        *config = *webhook;
    return RC_OK;
}
