#include "output/playlist.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

enum { MAX_TEXT = 64 * 1024, AUDIO_BPS = 192000 };

#define HOUR_TICKS (3600 * (int64_t)TICKS_PER_SECOND)

void playlist_init(struct playlist *p, const struct history *history, const char *stream_path,
                   const struct playback_rendition_conf *conf)
{
    struct buf escaped;

    memset(p, 0, sizeof(*p));
    snprintf(p->name, sizeof(p->name), "%s", conf->name);
    buf_init(&escaped, 4096);
    percent_encode(&escaped, slice_str(p->name));
    p->path = xasprintf("%s/%s", stream_path, buf_cstr(&escaped));
    buf_cleanup(&escaped);
    p->ext = conf->container == CONTAINER_MP4 ? ".mp4" : ".ts";
    p->bitrate = conf->bitrate;
    p->history = history;
}

void playlist_cleanup(struct playlist *p)
{
    for (size_t i = 0; i < p->n; i++)
        blob_unref(&p->kept[i].media);
    track_cleanup(&p->video);
    track_cleanup(&p->audio);
    shared_text_cleanup(&p->text);
    free(p->path);
}

static size_t first_listed(const struct playlist *p)
{
    return p->n > HLS_WINDOW ? p->n - HLS_WINDOW : 0;
}

static void drop_media(struct playlist *p, struct entry *e)
{
    p->bytes -= e->media ? e->media->n : 0;
    blob_unref(&e->media);
}

static void drop_first(struct playlist *p)
{
    drop_media(p, &p->kept[0]);
    memmove(p->kept, p->kept + 1, (p->n - 1) * sizeof(p->kept[0]));
    p->n--;
}

bool playlist_drop_oldest(struct playlist *p)
{
    if (p->n > PLAYLIST_LEAST) {
        if (first_listed(p) == 0)
            shared_text_cleanup(&p->text);
        drop_first(p);
        return true;
    }
    for (size_t i = 0; i + 1 < p->n; i++)
        if (p->kept[i].media) {
            drop_media(p, &p->kept[i]);
            return true;
        }
    return false;
}

/* --- adding --- */

/* Media must stay for its own length and the list's after leaving the list (HLS 6.2.2); how long
 * ago the first entry left is told by the media that came since. */
static bool first_has_had_its_time(const struct playlist *p)
{
    int64_t left = p->kept[0].duration;

    if (p->n <= HLS_WINDOW)
        return false;
    for (size_t i = 0; i < HLS_WINDOW; i++)
        left += p->kept[i].duration;
    for (size_t i = HLS_WINDOW + 1; i < p->n; i++)
        left -= p->kept[i].duration;
    return left <= 0;
}

static void append(struct playlist *p, const struct entry *e)
{
    if (p->n == PLAYLIST_KEPT)
        drop_first(p);
    p->kept[p->n++] = *e;
    p->bytes += e->media ? e->media->n : 0;
    p->gaps += e->gap;
    while (first_has_had_its_time(p))
        drop_first(p);
}

/* Of a longer absence the window's length is enough. */
static void fill_gap(struct playlist *p, int64_t until)
{
    int64_t msn = MAX(p->kept[p->n - 1].at.msn + 1, until - HLS_WINDOW);

    for (; msn < until; msn++) {
        const struct moment *at = history_find(p->history, msn);

        if (at)
            append(p, &(struct entry){.at = *at, .duration = at->duration, .gap = true});
    }
}

/* Rounded up: what is declared must not be below it. */
static int64_t bits_per_second(int64_t bits, int64_t ticks)
{
    ticks = MAX(ticks, (int64_t)1);
    return (bits * TICKS_PER_SECOND + ticks - 1) / ticks;
}

/* The largest rate of neighbours that last 0.5 to 1.5 target durations together (HLS 4.1), of
 * those that end with the newest. One that is longer stands for itself. */
static int64_t peak_at_end(const struct playlist *p)
{
    int64_t target = p->history->target_s * (int64_t)TICKS_PER_SECOND;
    int64_t bits = 0, ticks = 0, peak = 0;

    for (size_t i = p->n; i > 0 && p->kept[i - 1].media; i--) {
        bits += (int64_t)p->kept[i - 1].media->n * 8;
        ticks += p->kept[i - 1].duration;
        if (ticks * 2 > target * 3 && i < p->n)
            break;
        if (ticks * 2 >= target)
            peak = MAX(peak, bits_per_second(bits, ticks));
    }
    return peak;
}

static void measure(struct playlist *p, const struct playback_segment *seg)
{
    if (p->sum_ticks > HOUR_TICKS) { /* what is older than an hour fades */
        p->sum_bits -= p->sum_bits / 16;
        p->sum_ticks -= p->sum_ticks / 16;
    }
    p->sum_bits += (int64_t)seg->media->n * 8;
    p->sum_ticks += MAX(seg->duration, (int64_t)1);
    p->peak_bps = MAX(p->peak_bps, peak_at_end(p));
    if (seg->fps > 0)
        p->fps = seg->fps;
}

static void take_track(struct track *mine, const struct track *theirs)
{
    if (!theirs || track_same(mine, theirs))
        return;
    track_cleanup(mine);
    *mine = track_ref(theirs);
}

static enum rc check_number(const struct playlist *p, int64_t msn, struct err *err)
{
    int64_t last = p->n ? p->kept[p->n - 1].at.msn : INT64_MIN;

    if (p->ended)
        return err_set(err, RC_CLOSED, "the rendition has ended");
    if (msn == last)
        return err_set(err, RC_EXISTS, "segment already exists");
    if (msn < last)
        return err_set(err, RC_STALE,
                       "segment %" PRId64 " is older than %" PRId64 ", the newest listed", msn,
                       last);
    return RC_OK;
}

enum rc playlist_add(struct playlist *p, const struct playback_segment *seg,
                     const struct moment *at, struct err *err)
{
    enum rc rc = check_number(p, seg->msn, err);

    if (rc != RC_OK)
        return rc;
    if (p->n)
        fill_gap(p, seg->msn);
    append(p, &(struct entry){.at = *at,
                              .duration = seg->media ? seg->duration : at->duration,
                              .media = blob_ref(seg->media),
                              .gap = !seg->media});
    if (seg->media) {
        measure(p, seg);
        take_track(&p->video, seg->video);
        take_track(&p->audio, seg->audio);
    }
    shared_text_cleanup(&p->text);
    return RC_OK;
}

void playlist_end(struct playlist *p)
{
    if (!p->ended)
        shared_text_cleanup(&p->text);
    p->ended = true;
}

/* --- the text --- */

static void write_entry(const struct playlist *p, const struct entry *e, struct buf *out)
{
    char when[CLOCK_TEXT_MAX];

    if (e->at.discontinuity)
        buf_str(out, "#EXT-X-DISCONTINUITY\n");
    clock_format_utc(e->at.wall_ms, when);
    buf_printf(out, "#EXT-X-PROGRAM-DATE-TIME:%s\n", when);
    if (e->gap)
        buf_str(out, "#EXT-X-GAP\n");
    buf_printf(out, "#EXTINF:%.3f,\n%s/%" PRId64 "%s\n", (double)e->duration / TICKS_PER_SECOND,
               p->path, e->at.url_seq, p->ext);
}

/* Version 3 is the lowest that decimal durations need; clients pass over tags they do not know. */
static struct blob *render(const struct playlist *p)
{
    int64_t first = p->kept[first_listed(p)].at.msn;
    struct buf out;

    buf_init(&out, MAX_TEXT);
    buf_printf(&out,
               "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:%d\n"
               "#EXT-X-MEDIA-SEQUENCE:%" PRId64 "\n#EXT-X-DISCONTINUITY-SEQUENCE:%" PRId64 "\n",
               p->history->target_s, first, history_discontinuities_before(p->history, first));
    for (size_t i = first_listed(p); i < p->n; i++)
        write_entry(p, &p->kept[i], &out);
    if (p->ended)
        buf_str(&out, "#EXT-X-ENDLIST\n");
    assert(buf_ok(&out));
    return blob_of_buf(&out);
}

struct shared_text *playlist_text(struct playlist *p)
{
    if (!p->n)
        return NULL;
    if (!p->text.plain)
        p->text.plain = render(p);
    return &p->text;
}

const struct entry *playlist_segment(const struct playlist *p, int64_t url_seq)
{
    for (size_t i = p->n; i > 0; i--)
        if (p->kept[i - 1].at.url_seq == url_seq)
            return p->kept[i - 1].media ? &p->kept[i - 1] : NULL;
    return NULL;
}

bool playlist_has_media(const struct playlist *p)
{
    return p->sum_ticks > 0;
}

/* --- bit rates --- */

/* In steps of a twentieth, so that the figure seldom changes while it grows. */
static int64_t round_up(int64_t bps)
{
    int64_t step = MAX(bps / 20, (int64_t)1000);

    return (bps + step - 1) / step * step;
}

int64_t playlist_average_bps(const struct playlist *p)
{
    return p->sum_ticks ? bits_per_second(p->sum_bits, p->sum_ticks) : 0;
}

void playlist_bandwidth(const struct playlist *p, int64_t *peak, int64_t *average)
{
    int64_t audio = p->audio.codec == CODEC_NONE ? 0 : AUDIO_BPS;
    int64_t asked = p->bitrate ? p->bitrate * INT64_C(108) / 100 + audio
                               : 0; /* 8 %: the container */
    int64_t mean = playlist_average_bps(p);

    *peak = MAX(MAX(asked, round_up(p->peak_bps)), round_up(mean));
    *average = round_up(mean);
}
