/* Profiles as JSON: of a pushed stream's header, or a file. */
#include <assert.h>

#include "wire/profiles.h"

static void check(const struct profile *p)
{
    assert(p->name[0] && profile_name_check(p->name, NULL) == RC_OK);
    assert(p->width >= 0 && p->width <= PROFILE_MAX_SIDE);
    assert(p->height >= 0 && p->height <= PROFILE_MAX_SIDE);
    assert(p->bitrate >= 0);
    assert(p->gop_ms >= GOP_INTRA);
    assert(p->encoder <= VIDEO_VP9 && p->profile <= ENCODER_H264_CONSTRAINED_HIGH);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct profile list[MAX_PROFILES];
    json_t *root = json_parse(slice_of(p, n), NULL);
    struct err err;
    size_t count;

    if (!root)
        return 0;
    if (profiles_from_json(root, list, &count, &err) == RC_OK) {
        assert(count <= MAX_PROFILES);
        for (size_t i = 0; i < count; i++)
            check(&list[i]);
    } else {
        assert(err.text[0]);
    }
    json_decref(root);
    return 0;
}
