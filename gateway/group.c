#include "gateway/group.h"

#include <string.h>

#include "media/ts/ts_demux.h"
#include "media/ts/ts_mux.h"

void group_cleanup(struct group *g)
{
    for (size_t i = 0; i < g->n; i++)
        segment_unref(&g->pieces[i]);
    g->n = 0;
}

static size_t bytes_of(const struct group *g)
{
    size_t n = 0;

    for (size_t i = 0; i < g->n; i++)
        n += g->pieces[i]->media->n;
    return n;
}

static struct blob *join_media(const struct group *g)
{
    struct blob *whole = blob_new(bytes_of(g));
    size_t n = 0;

    for (size_t i = 0; i < g->n; i++) {
        memcpy(blob_bytes(whole) + n, g->pieces[i]->media->p, g->pieces[i]->media->n);
        n += g->pieces[i]->media->n;
    }
    return whole;
}

static struct segment *join(const struct group *g)
{
    const struct segment *first = g->pieces[0], *last = g->pieces[g->n - 1];
    struct segment *s = segment_new();

    s->msn = first->msn;
    s->seq = first->seq;
    s->media = join_media(g);
    s->hash = last->hash; /* of all since the key frame */
    s->container = first->container;
    s->first_pts = first->first_pts;
    s->duration = last->first_pts + last->duration - first->first_pts;
    s->discontinuity = first->discontinuity;
    s->wall_ms = first->wall_ms;
    s->closed_ms = last->closed_ms;
    s->video = track_ref(&first->video);
    s->audio = track_ref(&first->audio);
    for (size_t i = 0; i < g->n; i++)
        s->fps += g->pieces[i]->fps * (double)g->pieces[i]->duration / (double)s->duration;
    for (size_t i = 1; i < g->n; i++)
        s->cuts[s->n_cuts++] = g->pieces[i]->first_pts;
    return s;
}

struct segment *group_take(struct group *g, struct segment *s)
{
    struct segment *whole = NULL;

    if (!s->continues)
        group_cleanup(g);
    else if (!g->n)
        return NULL;
    if (g->n == GROUP_MAX_PIECES || bytes_of(g) + s->media->n > SEGMENT_MAX_BYTES) {
        group_cleanup(g);
        return NULL;
    }
    g->pieces[g->n++] = segment_ref(s);
    if (s->cut_short)
        return NULL;
    whole = g->n == 1 ? segment_ref(s) : join(g);
    group_cleanup(g);
    return whole;
}

int64_t group_piece_duration(const struct segment *whole, size_t i)
{
    int64_t begin = i ? whole->cuts[i - 1] : whole->first_pts;
    int64_t end = i < whole->n_cuts ? whole->cuts[i] : whole->first_pts + whole->duration;

    return end - begin;
}

/* --- cutting what came back --- */

struct cutter {
    const struct segment *whole;
    struct ts_mux *mux;
    struct buf bytes; /* of the open piece */
    bool open;
    size_t piece;
    struct blob **out;
};

static void on_track(enum track_kind kind, const struct track *t, void *arg)
{
    struct cutter *c = arg;

    ts_mux_track(c->mux, kind, t);
}

static void close_piece(struct cutter *c)
{
    if (!c->open)
        return;
    ts_mux_end(c->mux, &c->bytes);
    c->out[c->piece] = blob_of_buf(&c->bytes);
    c->open = false;
}

static void open_piece(struct cutter *c, size_t piece)
{
    c->piece = piece;
    buf_init(&c->bytes, SEGMENT_MAX_BYTES);
    ts_mux_begin(c->mux, &c->bytes, false);
    c->open = true;
}

static size_t piece_of(const struct segment *whole, int64_t pts)
{
    size_t i = 0;

    while (i < whole->n_cuts && pts >= whole->cuts[i])
        i++;
    return i;
}

/* Sound goes with the pictures it came with, as in the source. */
static void on_frame(const struct frame *f, void *arg)
{
    struct cutter *c = arg;
    struct frame mine = *f; /* borrows the data */
    size_t piece;

    mine.pts = c->whole->first_pts + ticks_apart(f->pts, c->whole->first_pts);
    mine.dts = mine.pts - ticks_apart(f->pts, f->dts);
    piece = f->kind == TRACK_VIDEO ? piece_of(c->whole, mine.pts) : c->piece;
    if (!c->open || piece > c->piece) {
        close_piece(c);
        open_piece(c, piece);
    }
    ts_mux_frame(c->mux, &mine, &c->bytes);
}

enum rc group_cut(const struct segment *whole, struct slice rendition, const struct verified *is,
                  struct blob *out[GROUP_MAX_PIECES], struct err *err)
{
    struct cutter c = {.whole = whole, .mux = ts_mux_new(), .out = out};
    const struct frame_sink sink = {.on_track = on_track, .on_frame = on_frame, .arg = &c};
    struct ts_demux *demux = ts_demux_new(&sink);
    enum rc rc;

    memset(out, 0, GROUP_MAX_PIECES * sizeof(*out));
    on_track(TRACK_VIDEO, &is->video, &c); /* the first piece has all tracks */
    on_track(TRACK_AUDIO, &is->audio, &c);
    rc = ts_demux_feed(demux, rendition, err);
    ts_demux_flush(demux);
    close_piece(&c);
    for (size_t i = 0; rc != RC_OK && i < GROUP_MAX_PIECES; i++)
        blob_unref(&out[i]);
    ts_demux_free(demux);
    ts_mux_free(c.mux);
    return rc;
}
