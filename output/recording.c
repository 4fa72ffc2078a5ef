#include "output/recording.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/json.h"
#include "base/list.h"
#include "base/log.h"

enum {
    PART_MS = 3600 * 1000, /* of source in one playlist */
    MAX_ENTRIES = 4 << 20, /* bytes of one track's segments in one playlist */
    MAX_PLAYLIST = MAX_RECORDED_TRACKS * (MAX_ENTRIES + 4096),
    SEGMENT_TRIES = 3,
    SEGMENT_TRY_MS = 20000,
    SEGMENT_WHOLE_MS = 60000,
    PLAYLIST_TRIES = 30,
    PLAYLIST_TRY_MS = 30000,
    PLAYLIST_WHOLE_MS = 120000
};

struct track {
    char *name, *resolution;
    int64_t bandwidth;
    struct list pending; /* struct segment, as they came */
};

/* A segment until it is listed. */
struct segment {
    struct list_node node;
    struct recording *recording;
    struct track *track;
    char *name;
    uint64_t seq;
    int64_t duration_ms;
    bool settled, stored;
};

/* One playlist file. */
struct part {
    struct list_node node;
    struct recording *recording;
    char *name;
    struct buf *entries; /* of each track, as they stand in the file */
    int64_t source_ms;
    bool dirty, busy; /* busy: a write is on its way */
};

struct recording {
    struct objects *objects;
    struct log_tag tag;
    struct log_limit lost;
    char *folder; /* MANIFEST/NODE */
    struct track *tracks;
    size_t n_tracks;
    struct list parts; /* the last one grows, earlier ones wait to be written */
    size_t open_segments;
    bool closed;
};

/* --- parts --- */

static void part_free(struct part *p)
{
    list_remove(&p->recording->parts, &p->node);
    for (size_t i = 0; i < p->recording->n_tracks; i++)
        buf_cleanup(&p->entries[i]);
    free(p->entries);
    free(p->name);
    free(p);
}

static struct part *part_new(struct recording *r)
{
    struct part *p = xcalloc(1, sizeof(*p));
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    p->recording = r;
    p->name = xasprintf("%s/playlist_%lld%09ld.json", r->folder, (long long)now.tv_sec,
                        now.tv_nsec);
    p->entries = xcalloc(r->n_tracks, sizeof(*p->entries));
    for (size_t i = 0; i < r->n_tracks; i++)
        buf_init(&p->entries[i], MAX_ENTRIES);
    list_push(&r->parts, &p->node);
    return p;
}

static void write_tracks(const struct recording *r, struct buf *out)
{
    struct json_out j = json_out_of(out);

    jo_open(&j, NULL, '[');
    for (size_t i = 0; i < r->n_tracks; i++) {
        const struct track *t = &r->tracks[i];

        jo_open(&j, NULL, '{');
        jo_text(&j, "name", t->name);
        if (t->bandwidth > 0)
            jo_int(&j, "bandwidth", t->bandwidth);
        if (t->resolution)
            jo_text(&j, "resolution", t->resolution);
        jo_close(&j, '}');
    }
    jo_close(&j, ']');
}

/* The entries are text already, so a playlist of an hour costs one copy. */
static struct blob *part_text(const struct part *p)
{
    const struct recording *r = p->recording;
    struct buf b;
    bool first = true;

    buf_init(&b, MAX_PLAYLIST);
    buf_str(&b, "{");
    if (p->source_ms > 0)
        buf_printf(&b, "\"duration_ms\":%lld,", (long long)p->source_ms);
    buf_str(&b, "\"tracks\":");
    write_tracks(r, &b);
    buf_str(&b, ",\"segments\":{");
    for (size_t i = 0; i < r->n_tracks; i++) {
        struct json_out j = json_out_of(&b);

        if (!p->entries[i].n)
            continue;
        buf_str(&b, first ? "" : ",");
        jo_text(&j, NULL, r->tracks[i].name);
        buf_str(&b, ":[");
        buf_add_slice(&b, buf_slice(&p->entries[i]));
        buf_str(&b, "]");
        first = false;
    }
    buf_str(&b, "}}");
    return blob_of_buf(&b);
}

/* --- the end --- */

static void recording_free(struct recording *r)
{
    struct part *p;

    while ((p = LIST_FIRST(&r->parts, struct part, node)))
        part_free(p);
    for (size_t i = 0; i < r->n_tracks; i++) {
        free(r->tracks[i].name);
        free(r->tracks[i].resolution);
    }
    free(r->tracks);
    free(r->folder);
    free(r);
}

static void leave_if_done(struct recording *r)
{
    if (!r->closed || r->open_segments)
        return;
    LIST_EACH (&r->parts, struct part, node, p)
        if (p->busy)
            return;
    recording_free(r);
}

/* --- writing the playlists --- */

static void part_write(struct part *p);

static void on_part_written(const struct err *err, void *arg)
{
    struct part *p = arg;
    struct recording *r = p->recording;

    p->busy = false;
    if (err && err->code == RC_CANCELLED)
        p->dirty = false; /* the store closes */
    if (err && log_allowed(&r->lost, 6))
        log_peer(&r->tag, "the recording's playlist is not written: %s", err->text);
    if (p->dirty)
        part_write(p);
    else if (p != LIST_LAST(&r->parts, struct part, node))
        part_free(p);
    leave_if_done(r);
}

static void part_write(struct part *p)
{
    struct blob *text = part_text(p);

    p->dirty = false;
    p->busy = true;
    objects_put(p->recording->objects, &(struct object_put){.name = p->name,
                                                            .body = text,
                                                            .type = "application/json",
                                                            .tries = PLAYLIST_TRIES,
                                                            .try_ms = PLAYLIST_TRY_MS,
                                                            .whole_ms = PLAYLIST_WHOLE_MS,
                                                            .on_done = on_part_written,
                                                            .arg = p});
    blob_unref(&text);
}

/* --- listing what was stored --- */

static struct part *part_for(struct recording *r, const struct track *t)
{
    struct part *p = LIST_LAST(&r->parts, struct part, node);

    if (t == r->tracks && p->source_ms >= PART_MS) {
        struct part *next = part_new(r);

        if (p->dirty && !p->busy)
            part_write(p); /* its last segments; then it goes */
        else if (!p->busy)
            part_free(p);
        return next;
    }
    return p;
}

/* Zero values are left out, as the reference does. */
static void list_segment(struct recording *r, const struct segment *s)
{
    struct part *p = part_for(r, s->track);
    struct buf *to = &p->entries[s->track - r->tracks];
    struct json_out j = json_out_of(to);
    char *uri = xasprintf("%s/%s", objects_where(r->objects), s->name);
    size_t before = to->n;

    if (to->n)
        buf_str(to, ",");
    jo_open(&j, NULL, '{');
    if (s->seq)
        jo_int(&j, "seq_no", (int64_t)s->seq);
    jo_text(&j, "uri", uri);
    if (s->duration_ms > 0)
        jo_int(&j, "duration_ms", s->duration_ms);
    jo_close(&j, '}');
    if (!buf_ok(to)) {
        to->n = before; /* full: an hour of segments of a tenth of a second */
        to->failed = false;
    }
    if (s->track == r->tracks)
        p->source_ms += s->duration_ms;
    p->dirty = true;
    free(uri);
}

static void segment_free(struct segment *s)
{
    list_remove(&s->track->pending, &s->node);
    s->recording->open_segments--;
    free(s->name);
    free(s);
}

/* Segments end in any order; they are listed as they came. */
static void list_settled(struct recording *r, struct track *t)
{
    struct segment *s;

    while ((s = LIST_FIRST(&t->pending, struct segment, node)) && s->settled) {
        if (s->stored)
            list_segment(r, s);
        segment_free(s);
    }
}

static void on_segment_put(const struct err *err, void *arg)
{
    struct segment *s = arg;
    struct recording *r = s->recording;
    struct part *last;

    if (err && log_allowed(&r->lost, 6))
        log_peer(&r->tag, "track=%s segment=%" PRIu64 " is not recorded: %s", s->track->name,
                 s->seq, err->text);
    s->settled = true;
    s->stored = !err;
    list_settled(r, s->track);
    last = LIST_LAST(&r->parts, struct part, node);
    if (last->dirty && !last->busy && !(err && err->code == RC_CANCELLED))
        part_write(last);
    leave_if_done(r);
}

/* --- the public functions --- */

static enum rc check(const struct recording_conf *conf, const char *folder, struct err *err)
{
    if (conf->n_tracks == 0 || conf->n_tracks > MAX_RECORDED_TRACKS)
        return err_set(err, RC_BAD_INPUT, "a recording of %zu tracks; 1 to %d are possible",
                       conf->n_tracks, MAX_RECORDED_TRACKS);
    if (!object_name_is_fine(slice_str(folder)))
        return err_set(err, RC_BAD_INPUT, "\"%s\" cannot be recorded under this name",
                       conf->manifest);
    for (size_t i = 0; i < conf->n_tracks; i++)
        if (!object_name_is_fine(slice_str(conf->tracks[i].name)))
            return err_set(err, RC_BAD_INPUT, "rendition \"%s\" cannot be recorded under this name",
                           conf->tracks[i].name);
    return RC_OK;
}

struct recording *recording_open(const struct recording_conf *conf, struct err *err)
{
    char *folder = xasprintf("%s/%s", conf->manifest, conf->node);
    struct recording *r;

    if (check(conf, folder, err) != RC_OK) {
        free(folder);
        return NULL;
    }
    r = xcalloc(1, sizeof(*r));
    r->objects = conf->objects;
    r->folder = folder;
    log_tag(&r->tag, "stream=%s", conf->manifest);
    r->n_tracks = conf->n_tracks;
    r->tracks = xcalloc(r->n_tracks, sizeof(*r->tracks));
    for (size_t i = 0; i < r->n_tracks; i++) {
        const struct recorded_track *from = &conf->tracks[i];

        r->tracks[i].name = xstrdup(from->name);
        r->tracks[i].resolution = from->resolution ? xstrdup(from->resolution) : NULL;
        r->tracks[i].bandwidth = from->bandwidth;
        list_init(&r->tracks[i].pending);
    }
    list_init(&r->parts);
    part_new(r);
    return r;
}

void recording_segment(struct recording *r, const struct recorded_segment *from)
{
    struct segment *s = xcalloc(1, sizeof(*s));

    assert(!r->closed && from->track < r->n_tracks);
    s->recording = r;
    s->track = &r->tracks[from->track];
    s->seq = from->seq;
    s->duration_ms = from->duration_ms;
    s->name = xasprintf("%s/%s/%" PRIu64 "%s", r->folder, s->track->name, s->seq,
                        from->is_mp4 ? ".mp4" : ".ts");
    list_push(&s->track->pending, &s->node);
    r->open_segments++;
    objects_put(r->objects, &(struct object_put){.name = s->name,
                                                 .body = from->body,
                                                 .type = from->is_mp4 ? "video/mp4" : "video/mp2t",
                                                 .duration_ms = s->duration_ms,
                                                 .tries = SEGMENT_TRIES,
                                                 .try_ms = SEGMENT_TRY_MS,
                                                 .whole_ms = SEGMENT_WHOLE_MS,
                                                 .on_done = on_segment_put,
                                                 .arg = s});
}

void recording_close(struct recording *r)
{
    if (!r)
        return;
    r->closed = true;
    leave_if_done(r);
}
