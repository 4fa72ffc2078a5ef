#include "gateway/segment.h"

#include <stdlib.h>

struct segment *segment_new(void)
{
    struct segment *s = xcalloc(1, sizeof(*s));

    s->refs = 1;
    return s;
}

struct segment *segment_ref(struct segment *s)
{
    s->refs++;
    return s;
}

struct segment *segment_without_media(const struct segment *s)
{
    struct segment *bare = segment_new();

    *bare = *s;
    bare->refs = 1;
    bare->media = NULL;
    bare->video = track_ref(&s->video);
    bare->audio = track_ref(&s->audio);
    return bare;
}

void segment_unref(struct segment **s)
{
    struct segment *seg = *s;

    *s = NULL;
    if (!seg || --seg->refs)
        return;
    blob_unref(&seg->media);
    track_cleanup(&seg->video);
    track_cleanup(&seg->audio);
    free(seg);
}

int64_t ticks_apart(int64_t a, int64_t b)
{
    const int64_t wrap = INT64_C(1) << 33;
    int64_t d = ((a - b) % wrap + wrap) % wrap;

    return d > wrap / 2 ? d - wrap : d;
}

int32_t segment_duration_ms(const struct segment *s)
{
    int64_t ms = (s->duration + 45) / 90;

    return (int32_t)MAX(ms, (int64_t)1);
}
