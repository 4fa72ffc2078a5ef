#include "output/playlist.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

enum { MAX_TEXT = 64 * 1024, AUDIO_BPS = 192000 };

void playlist_init(struct playlist *p, const char *stream_path, const char *name,
                   enum container container, int bitrate, int target_duration,
                   int64_t discontinuities)
{
    struct buf escaped;

    memset(p, 0, sizeof(*p));
    strncpy(p->name, name, sizeof(p->name) - 1);
    buf_init(&escaped, 4096);
    percent_encode(&escaped, slice_str(name));
    p->path = xasprintf("%s/%s", stream_path, buf_cstr(&escaped));
    buf_cleanup(&escaped);
    p->ext = container == CONTAINER_MP4 ? ".mp4" : ".ts";
    p->bitrate = bitrate;
    p->target_duration = target_duration;
    p->discontinuities = discontinuities;
}

void playlist_cleanup(struct playlist *p)
{
    for (size_t i = 0; i < p->n; i++)
        blob_unref(&p->kept[i].media);
    track_cleanup(&p->video);
    track_cleanup(&p->audio);
    blob_unref(&p->text);
    blob_unref(&p->gzip);
    free(p->path);
}

static void changed(struct playlist *p)
{
    blob_unref(&p->text);
    blob_unref(&p->gzip);
}

static size_t first_listed(const struct playlist *p)
{
    return p->n > HLS_WINDOW ? p->n - HLS_WINDOW : 0;
}

static void drop_first(struct playlist *p)
{
    p->bytes -= p->kept[0].media ? p->kept[0].media->n : 0;
    blob_unref(&p->kept[0].media);
    memmove(p->kept, p->kept + 1, (p->n - 1) * sizeof(p->kept[0]));
    p->n--;
}

void playlist_drop_oldest(struct playlist *p)
{
    if (first_listed(p) > 0)
        drop_first(p);
}

static void append(struct playlist *p, const struct entry *e)
{
    if (p->n == PLAYLIST_KEPT)
        drop_first(p);
    p->kept[p->n++] = *e;
    p->bytes += e->media ? e->media->n : 0;
    p->gaps += !e->media;
    /* What leaves the listed window takes its discontinuity along (HLS 6.2.2). */
    if (p->n > HLS_WINDOW)
        p->discontinuities += p->kept[p->n - HLS_WINDOW - 1].discontinuity;
}

static void fill_gap(struct playlist *p, int64_t until, const struct playback_segment *like)
{
    const struct entry *last = &p->kept[p->n - 1];
    int64_t msn = MAX(last->msn + 1, until - HLS_WINDOW), wall_ms = last->wall_ms;

    for (; msn < until; msn++) {
        wall_ms += like->duration / 90;
        append(p, &(struct entry){.msn = msn,
                                  .url_seq = msn,
                                  .duration = like->duration,
                                  .wall_ms = wall_ms});
    }
}

static void measure(struct playlist *p, const struct playback_segment *seg)
{
    int64_t bits = (int64_t)seg->media->n * 8;

    p->peak_bps = MAX(p->peak_bps, bits * TICKS_PER_SECOND / MAX(seg->duration, (int64_t)1));
    p->sum_bits += bits;
    p->sum_ticks += seg->duration;
    p->fps = seg->fps;
}

static void take_tracks(struct playlist *p, const struct playback_segment *seg)
{
    if (seg->video && !track_same(&p->video, seg->video)) {
        track_cleanup(&p->video);
        p->video = track_ref(seg->video);
    }
    if (seg->audio && !track_same(&p->audio, seg->audio)) {
        track_cleanup(&p->audio);
        p->audio = track_ref(seg->audio);
    }
}

enum rc playlist_add(struct playlist *p, const struct playback_segment *seg, struct err *err)
{
    int64_t last = p->n ? p->kept[p->n - 1].msn : INT64_MIN;

    if (p->ended)
        return err_set(err, RC_CLOSED, "the rendition has ended");
    if (seg->msn == last)
        return err_set(err, RC_EXISTS, "segment already exists");
    if (seg->msn < last)
        return err_set(err, RC_STALE, "segment %" PRId64 " is older than %" PRId64
                                      ", the newest listed",
                       seg->msn, last);
    if (p->n && seg->msn > last + 1)
        fill_gap(p, seg->msn, seg);
    append(p, &(struct entry){.msn = seg->msn,
                              .url_seq = seg->url_seq,
                              .duration = seg->duration,
                              .wall_ms = seg->wall_ms,
                              .discontinuity = seg->discontinuity,
                              .media = blob_ref(seg->media)});
    if (seg->media) {
        measure(p, seg);
        take_tracks(p, seg);
    }
    changed(p);
    return RC_OK;
}

void playlist_end(struct playlist *p)
{
    p->ended = true;
    changed(p);
}

static void write_entry(const struct playlist *p, const struct entry *e, struct buf *out)
{
    char when[CLOCK_TEXT_MAX];

    if (e->discontinuity)
        buf_str(out, "#EXT-X-DISCONTINUITY\n");
    clock_format_utc(e->wall_ms, when);
    buf_printf(out, "#EXT-X-PROGRAM-DATE-TIME:%s\n", when);
    if (!e->media)
        buf_str(out, "#EXT-X-GAP\n");
    buf_printf(out, "#EXTINF:%.3f,\n%s/%" PRId64 "%s\n", (double)e->duration / TICKS_PER_SECOND,
               p->path, e->url_seq, p->ext);
}

/* Discontinuities before the first listed one were counted when they left. */
struct blob *playlist_text(struct playlist *p)
{
    size_t first = first_listed(p);
    struct buf out;

    if (p->text || !p->n)
        return p->text;
    buf_init(&out, MAX_TEXT);
    buf_printf(&out,
               "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:%d\n"
               "#EXT-X-MEDIA-SEQUENCE:%" PRId64 "\n#EXT-X-DISCONTINUITY-SEQUENCE:%" PRId64 "\n",
               p->target_duration, p->kept[first].msn, p->discontinuities);
    for (size_t i = first; i < p->n; i++)
        write_entry(p, &p->kept[i], &out);
    if (p->ended)
        buf_str(&out, "#EXT-X-ENDLIST\n");
    p->text = blob_of_buf(&out);
    return p->text;
}

struct blob *playlist_segment(const struct playlist *p, int64_t url_seq)
{
    for (size_t i = p->n; i > 0; i--)
        if (p->kept[i - 1].url_seq == url_seq && p->kept[i - 1].media)
            return p->kept[i - 1].media;
    return NULL;
}

/* Rounded up in steps of a twentieth, so that the figure changes seldom while it grows. */
static int64_t round_up(int64_t bps)
{
    int64_t step = MAX(bps / 20, (int64_t)1000);

    return (bps + step - 1) / step * step;
}

void playlist_bandwidth(const struct playlist *p, int64_t *peak, int64_t *average)
{
    int64_t asked = p->bitrate ? p->bitrate * INT64_C(108) / 100 + AUDIO_BPS : 0;
    int64_t mean = p->sum_ticks ? p->sum_bits * TICKS_PER_SECOND / p->sum_ticks : 0;

    *peak = MAX(asked, round_up(p->peak_bps));
    *average = round_up(mean ? mean : asked);
    *average = MIN(*average, *peak);
}
