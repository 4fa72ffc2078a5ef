#include "gateway/verify.h"

#include <stdlib.h>

#include "media/ts/ts_demux.h"

/* One frame at the lowest rate a rendition is asked for, or at the source's own. */
static int64_t tolerance(const struct segment *source)
{
    double fps = source->fps > 1 ? source->fps : 10;

    return (int64_t)(TICKS_PER_SECOND / fps) + TICKS_PER_SECOND / 10;
}

static enum rc check(const struct segment *source, const struct ts_probe *p, struct err *err)
{
    int64_t apart, longer;

    if (!p->video_frames)
        return err_set(err, RC_BAD_INPUT, "rendition holds no picture");
    if (!p->key_frames)
        return err_set(err, RC_BAD_INPUT, "rendition of %d pictures holds no key frame",
                       p->video_frames);
    if (segment_is_clip(source))
        return RC_OK; /* a clip begins at its own zero */
    apart = ticks_apart(p->first_video_pts, source->first_pts);
    if (llabs(apart) > tolerance(source))
        return err_set(err, RC_BAD_INPUT,
                       "rendition begins %lld ms away from its source (at most %lld)",
                       (long long)apart / 90, (long long)tolerance(source) / 90);
    longer = p->duration - source->duration;
    if (llabs(longer) > 2 * tolerance(source))
        return err_set(err, RC_BAD_INPUT,
                       "rendition lasts %lld ms, its source %lld (at most %lld apart)",
                       (long long)p->duration / 90, (long long)source->duration / 90,
                       (long long)tolerance(source) / 45);
    return RC_OK;
}

enum rc verify_rendition(const struct segment *source, struct slice rendition, struct verified *out,
                         struct err *err)
{
    struct ts_probe p;
    enum rc rc = ts_probe(rendition, &p, err);

    *out = (struct verified){0};
    if (rc != RC_OK)
        return err_wrap(err, rc, "rendition");
    rc = check(source, &p, err);
    if (rc == RC_OK) {
        out->video = track_ref(&p.video);
        out->audio = track_ref(&p.audio);
        if (p.duration > 0)
            out->fps = (double)p.video_frames * TICKS_PER_SECOND / (double)p.duration;
    }
    ts_probe_cleanup(&p);
    return rc;
}
