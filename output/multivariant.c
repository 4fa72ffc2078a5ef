#include "output/multivariant.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { MAX_TEXT = 64 * 1024 };

static void write_codecs(const struct playlist *p, struct buf *out)
{
    char video[CODEC_STRING_MAX], audio[CODEC_STRING_MAX];

    track_codec_string(&p->video, video);
    track_codec_string(&p->audio, audio);
    if (video[0] || audio[0])
        buf_printf(out, ",CODECS=\"%s%s%s\"", video, video[0] && audio[0] ? "," : "", audio);
}

/* PROGRAM-ID says nothing any more; programs that read the reference's lists expect it. */
static void write_variant(const struct playlist *p, struct buf *out)
{
    int64_t peak, average;

    playlist_bandwidth(p, &peak, &average);
    buf_printf(out,
               "#EXT-X-STREAM-INF:PROGRAM-ID=0,BANDWIDTH=%" PRId64 ",AVERAGE-BANDWIDTH=%" PRId64,
               peak, average);
    write_codecs(p, out);
    if (p->video.width)
        buf_printf(out, ",RESOLUTION=%dx%d", p->video.width, p->video.height);
    if (p->video.width && p->fps > 0)
        buf_printf(out, ",FRAME-RATE=%.3f", p->fps);
    buf_printf(out, "\n%s.m3u8\n", p->path + strlen("/stream/"));
}

struct blob *multivariant_render(struct playlist *const *renditions, int n, bool independent)
{
    bool any = false;
    struct buf out;

    for (int i = 0; i < n; i++)
        any |= playlist_has_media(renditions[i]);
    if (!any)
        return NULL;
    buf_init(&out, MAX_TEXT);
    buf_str(&out, "#EXTM3U\n#EXT-X-VERSION:3\n");
    if (independent)
        buf_str(&out, "#EXT-X-INDEPENDENT-SEGMENTS\n");
    for (int i = 0; i < n; i++)
        if (playlist_has_media(renditions[i]))
            write_variant(renditions[i], &out);
    assert(buf_ok(&out));
    return blob_of_buf(&out);
}
