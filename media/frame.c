#include "media/frame.h"

#include <stdio.h>

#include "base/reader.h"

struct track track_ref(const struct track *t)
{
    struct track r = *t;

    r.config = blob_ref(t->config);
    return r;
}

void track_cleanup(struct track *t)
{
    blob_unref(&t->config);
    *t = (struct track){.codec = CODEC_NONE};
}

bool track_same(const struct track *a, const struct track *b)
{
    return a->codec == b->codec && slice_eq(blob_slice(a->config), blob_slice(b->config));
}

/* The first field of an AudioSpecificConfig: 5 bits, or 6 more behind the escape 31. */
static unsigned audio_object_type(struct slice config)
{
    struct bitreader r = bitreader_of(config);
    unsigned type = rb_bits(&r, 5);

    return type == 31 ? 32 + rb_bits(&r, 6) : type;
}

void track_codec_string(const struct track *t, char out[CODEC_STRING_MAX])
{
    struct slice config = blob_slice(t->config);

    out[0] = '\0';
    switch (t->codec) {
    case CODEC_NONE:
        break;
    case CODEC_H264: /* profile, constraints and level: bytes 1 to 3 of the avcC */
        if (config.n >= 4)
            snprintf(out, CODEC_STRING_MAX, "avc1.%02x%02x%02x", config.p[1], config.p[2],
                     config.p[3]);
        break;
    case CODEC_AAC:
        if (config.n >= 2)
            snprintf(out, CODEC_STRING_MAX, "mp4a.40.%u", audio_object_type(config));
        break;
    }
}
