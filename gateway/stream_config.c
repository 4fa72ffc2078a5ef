#include "gateway/stream_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "wire/profiles.h"

static enum rc add_presets(json_t *presets, struct stream_config *out, struct err *err)
{
    size_t i;
    json_t *name;

    if (!presets || json_is_null(presets))
        return RC_OK;
    if (!json_is_array(presets))
        return err_set(err, RC_BAD_INPUT, "presets: an array of names is expected");
    json_array_foreach(presets, i, name)
    {
        if (out->n_profiles == MAX_PROFILES)
            return err_set(err, RC_LIMIT, "more than %d presets", MAX_PROFILES);
        if (json_is_string(name) &&
            profile_preset(slice_str(json_string_value(name)), &out->profiles[out->n_profiles]))
            out->n_profiles++;
    }
    out->has_profiles = json_array_size(presets) > 0;
    return RC_OK;
}

static enum rc add_profiles(json_t *list, struct stream_config *out, struct err *err)
{
    struct profile more[MAX_PROFILES];
    size_t n = 0;
    enum rc rc;

    if (!list || json_is_null(list))
        return RC_OK;
    rc = profiles_from_json(list, more, &n, err);
    if (rc != RC_OK)
        return rc;
    if (out->n_profiles + n > MAX_PROFILES)
        return err_set(err, RC_LIMIT, "%zu presets and profiles, at most %d", out->n_profiles + n,
                       MAX_PROFILES);
    memcpy(out->profiles + out->n_profiles, more, n * sizeof(more[0]));
    out->n_profiles += n;
    out->has_profiles = true; /* an explicit empty list means: do not transcode */
    return RC_OK;
}

static enum rc read_manifest_id(json_t *root, struct stream_config *out, struct err *err)
{
    char *id = NULL;
    const struct json_field field = {"manifestID", JSON_OPTIONAL, json_text, &id, 1024};
    struct stream_name name;
    enum rc rc = json_read(root, &field, 1, err);

    if (rc == RC_OK && id) {
        rc = stream_name_parse(slice_str(id), false, &name, err);
        if (rc == RC_OK)
            snprintf(out->manifest_id, sizeof(out->manifest_id), "%s", name.name);
    }
    free(id);
    return rc;
}

enum rc stream_config_read(struct slice header, struct stream_config *out, struct err *err)
{
    json_t *root;
    enum rc rc;

    memset(out, 0, sizeof(*out));
    if (!header.n)
        return RC_OK;
    root = json_parse(header, err);
    if (!root)
        return RC_BAD_INPUT;
    rc = read_manifest_id(root, out, err);
    if (rc == RC_OK)
        rc = add_presets(json_object_get(root, "presets"), out, err);
    if (rc == RC_OK)
        rc = add_profiles(json_object_get(root, "profiles"), out, err);
    json_decref(root);
    return rc;
}
