#include "output/recorded.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "store/object_url.h"

enum { MAX_NAME = 255, MAX_URI = 4096, MAX_RESOLUTION = 9999, MAX_SEGMENT_MS = 3600 * 1000 };
static const int64_t max_bandwidth = 1000000000000;

struct segment {
    size_t session, order; /* order: as they were added */
    int64_t seq, duration_ms;
    char *path; /* below the session */
};

struct track {
    char *name;
    int64_t bandwidth;
    char resolution[16]; /* "" : not known */
    struct segment *segments;
    size_t n, room;
    bool sorted;
};

struct recorded {
    char *sessions[MAX_JOINED_SESSIONS];
    size_t n_sessions;
    struct track tracks[MAX_JOINED_TRACKS];
    size_t n_tracks, n_segments;
};

struct recorded *recorded_new(void)
{
    return xcalloc(1, sizeof(struct recorded));
}

void recorded_free(struct recorded *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_tracks; i++) {
        for (size_t k = 0; k < r->tracks[i].n; k++)
            free(r->tracks[i].segments[k].path);
        free(r->tracks[i].segments);
        free(r->tracks[i].name);
    }
    for (size_t i = 0; i < r->n_sessions; i++)
        free(r->sessions[i]);
    free(r);
}

/* --- reading: first everything is looked at, then everything is taken --- */

static bool is_track_name(const char *name)
{
    struct slice s = slice_str(name);

    return s.n <= MAX_NAME && object_name_is_fine(s) && slice_find(s, '/') == s.n;
}

static struct track *track_find(const struct recorded *r, const char *name)
{
    for (size_t i = 0; i < r->n_tracks; i++)
        if (strcmp(r->tracks[i].name, name) == 0)
            return (struct track *)&r->tracks[i];
    return NULL;
}

/* What follows "SESSION/" in an address, where that begins the address or a part of it; NULL when
 * it lies elsewhere or could not stand in a playlist. */
static const char *path_below(const char *uri, const char *session)
{
    size_t n = strlen(session);

    for (const unsigned char *p = (const unsigned char *)uri; *p; p++)
        if (*p < ' ' || *p == 0x7f)
            return NULL;
    for (const char *at = uri; (at = strstr(at, session)); at++)
        if ((at == uri || at[-1] == '/') && at[n] == '/' &&
            object_name_is_fine(slice_str(at + n + 1)))
            return at + n + 1;
    return NULL;
}

struct read_segment {
    int64_t seq, duration_ms;
    char *uri;
};

static enum rc read_segment(json_t *value, struct read_segment *s, struct err *err)
{
    const struct json_field fields[] = {
        {"seq_no", JSON_OPTIONAL, json_i64, &s->seq, INT64_MAX},
        {"uri", JSON_REQUIRED, json_text, &s->uri, MAX_URI},
        {"duration_ms", JSON_OPTIONAL, json_i64, &s->duration_ms, MAX_SEGMENT_MS},
    };
    enum rc rc = json_read(value, fields, ARRAY_LEN(fields), err);

    if (rc == RC_OK && (s->seq < 0 || s->duration_ms < 0))
        return err_set(err, RC_BAD_INPUT, "a segment has a negative number or duration");
    return rc;
}

static void track_add(struct recorded *r, struct track *t, const struct read_segment *s)
{
    const char *path = path_below(s->uri, r->sessions[r->n_sessions - 1]);

    if (!path)
        return;
    if (t->n == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->segments = xrealloc(t->segments, t->room * sizeof(*t->segments));
    }
    t->segments[t->n] = (struct segment){.session = r->n_sessions - 1,
                                         .order = t->n,
                                         .seq = s->seq,
                                         .duration_ms = s->duration_ms,
                                         .path = xstrdup(path)};
    t->n++;
    t->sorted = false;
    r->n_segments++;
}

/* take false: only looks. */
static enum rc walk_segments(struct recorded *r, struct track *t, json_t *list, bool take,
                             struct err *err)
{
    enum rc rc = RC_OK;

    if (!json_is_array(list))
        return err_set(err, RC_BAD_INPUT, "the segments of a track are no list");
    for (size_t i = 0; rc == RC_OK && i < json_array_size(list); i++) {
        struct read_segment s = {0};

        rc = read_segment(json_array_get(list, i), &s, err);
        if (rc == RC_OK && take)
            track_add(r, t, &s);
        free(s.uri);
    }
    return rc;
}

struct read_track {
    char *name, *resolution;
    int64_t bandwidth;
};

static enum rc read_track(json_t *value, struct read_track *t, struct err *err)
{
    const struct json_field fields[] = {
        {"name", JSON_REQUIRED, json_text, &t->name, MAX_NAME},
        {"bandwidth", JSON_OPTIONAL, json_i64, &t->bandwidth, max_bandwidth},
        {"resolution", JSON_OPTIONAL, json_text, &t->resolution, MAX_NAME},
    };
    enum rc rc = json_read(value, fields, ARRAY_LEN(fields), err);

    if (rc == RC_OK && !is_track_name(t->name))
        return err_set(err, RC_BAD_INPUT, "a track has no possible name");
    return rc;
}

/* "1280x720"; anything else, "0x0" too, counts as not known. */
static void set_resolution(struct track *t, const char *text)
{
    struct slice rest = slice_str(text), width;
    uint64_t w, h;

    if (text && slice_split(&rest, 'x', &width) && slice_u64(width, MAX_RESOLUTION, &w) &&
        slice_u64(rest, MAX_RESOLUTION, &h) && w && h)
        snprintf(t->resolution, sizeof(t->resolution), "%" PRIu64 "x%" PRIu64, w, h);
}

static struct track *track_get(struct recorded *r, const struct read_track *from)
{
    struct track *t = track_find(r, from->name);

    if (!t) {
        t = &r->tracks[r->n_tracks++];
        t->name = xstrdup(from->name);
    }
    if (from->bandwidth > 0)
        t->bandwidth = from->bandwidth;
    set_resolution(t, from->resolution);
    return t;
}

static enum rc walk_tracks(struct recorded *r, json_t *root, bool take, struct err *err)
{
    json_t *list = json_object_get(root, "tracks"), *segments = json_object_get(root, "segments");
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < json_array_size(list); i++) {
        struct read_track t = {0};
        json_t *its = NULL;

        rc = read_track(json_array_get(list, i), &t, err);
        if (rc == RC_OK)
            its = json_object_get(segments, t.name);
        if (its)
            rc = walk_segments(r, take ? track_get(r, &t) : NULL, its, take, err);
        if (take)
            (void)json_object_del(segments, t.name); /* a track named twice counts once */
        free(t.name);
        free(t.resolution);
    }
    return rc;
}

static size_t count_segments(json_t *segments)
{
    const char *key;
    json_t *list;
    size_t n = 0;

    json_object_foreach(segments, key, list) n += json_array_size(list);
    return n;
}

static enum rc check_limits(const struct recorded *r, const char *session, json_t *root,
                            struct err *err)
{
    json_t *tracks = json_object_get(root, "tracks"), *segments = json_object_get(root, "segments");
    bool is_new = !r->n_sessions || strcmp(r->sessions[r->n_sessions - 1], session) != 0;

    if (!json_is_array(tracks) || !json_is_object(segments))
        return err_set(err, RC_BAD_INPUT, "\"tracks\" or \"segments\" is missing");
    if (json_array_size(tracks) + r->n_tracks > MAX_JOINED_TRACKS)
        return err_set(err, RC_LIMIT, "more than %d tracks", MAX_JOINED_TRACKS);
    if (count_segments(segments) > MAX_JOINED_SEGMENTS - MIN(r->n_segments, MAX_JOINED_SEGMENTS))
        return err_set(err, RC_LIMIT, "more than %d segments", MAX_JOINED_SEGMENTS);
    if (is_new && r->n_sessions == MAX_JOINED_SESSIONS)
        return err_set(err, RC_LIMIT, "more than %d sessions", MAX_JOINED_SESSIONS);
    return RC_OK;
}

static void enter_session(struct recorded *r, const char *session)
{
    if (!r->n_sessions || strcmp(r->sessions[r->n_sessions - 1], session) != 0)
        r->sessions[r->n_sessions++] = xstrdup(session);
}

enum rc recorded_add(struct recorded *r, const char *session, struct slice json, struct err *err)
{
    json_t *root = json_parse(json, err);
    enum rc rc;

    if (!root)
        return RC_BAD_INPUT;
    rc = check_limits(r, session, root, err);
    if (rc == RC_OK)
        rc = walk_tracks(r, root, false, err);
    if (rc == RC_OK) {
        enter_session(r, session);
        rc = walk_tracks(r, root, true, err);
    }
    json_decref(root);
    return rc;
}

/* --- writing --- */

static int compare(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;

    if (x->session != y->session)
        return x->session < y->session ? -1 : 1;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void sort(struct track *t)
{
    if (!t->sorted && t->n)
        qsort(t->segments, t->n, sizeof(*t->segments), compare);
    t->sorted = true;
}

static bool repeats(const struct segment *s, const struct segment *before)
{
    return before && before->session == s->session && before->seq == s->seq;
}

static int64_t longest_s(const struct track *t)
{
    int64_t ms = 1;

    for (size_t i = 0; i < t->n; i++)
        ms = MAX(ms, t->segments[i].duration_ms);
    return (ms + 999) / 1000;
}

static void write_segment(const struct recorded *r, const struct segment *s, const char *base,
                          struct buf *out)
{
    const char *session = r->sessions[s->session];

    buf_printf(out, "#EXTINF:%" PRId64 ".%03d,\n", s->duration_ms / 1000,
               (int)(s->duration_ms % 1000));
    if (base)
        buf_printf(out, "%s/%s/", base, session);
    else if (strcmp(session, r->sessions[r->n_sessions - 1]) != 0)
        buf_printf(out, "../%s/", session);
    buf_printf(out, "%s\n", s->path);
}

enum rc recorded_track(struct recorded *r, const char *name, const char *base, struct buf *out,
                       struct err *err)
{
    struct track *t = track_find(r, name);
    const struct segment *before = NULL;

    if (!t || !t->n)
        return err_set(err, RC_NOT_FOUND, "nothing is recorded of this track");
    sort(t);
    buf_printf(out,
               "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:0\n"
               "#EXT-X-TARGETDURATION:%" PRId64 "\n",
               longest_s(t));
    for (size_t i = 0; i < t->n; i++) {
        const struct segment *s = &t->segments[i];

        if (repeats(s, before))
            continue;
        if (before && before->session != s->session)
            buf_str(out, "#EXT-X-DISCONTINUITY\n");
        write_segment(r, s, base, out);
        before = s;
    }
    buf_str(out, "#EXT-X-ENDLIST\n");
    return buf_ok(out) ? RC_OK : err_set(err, RC_LIMIT, "the playlist is too long");
}

enum rc recorded_index(const struct recorded *r, struct buf *out, struct err *err)
{
    bool any = false;

    buf_str(out, "#EXTM3U\n#EXT-X-VERSION:3\n");
    for (size_t i = 0; i < r->n_tracks; i++) {
        const struct track *t = &r->tracks[i];

        if (!t->n)
            continue;
        any = true;
        buf_printf(out, "#EXT-X-STREAM-INF:PROGRAM-ID=0,BANDWIDTH=%" PRId64, t->bandwidth);
        if (*t->resolution)
            buf_printf(out, ",RESOLUTION=%s", t->resolution);
        buf_printf(out, "\n%s.m3u8\n", t->name);
    }
    if (!any)
        return err_set(err, RC_NOT_FOUND, "nothing is recorded");
    return buf_ok(out) ? RC_OK : err_set(err, RC_LIMIT, "the playlist is too long");
}
