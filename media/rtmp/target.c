/* Where a peer wants to publish or play. The app, the URL it connected to and the stream
 * name can each hold a part of the path and a query (delivery.md a.8). */
#include "base/text.h"
#include "media/rtmp/rtmp_int.h"

/* Cuts "name?a=b" in two. */
static struct slice cut_query(struct slice *s)
{
    size_t at = slice_find(*s, '?');
    struct slice query = slice_skip(*s, at + 1);

    *s = slice_sub(*s, 0, at);
    return query;
}

/* Adds the parts of `query` whose names *to does not hold yet: the same query often stands
 * in app and tcUrl, and the stream name's own goes first. */
static void merge_query(struct buf *to, struct slice query)
{
    struct slice pair, ignored;

    while (slice_split(&query, '&', &pair)) {
        char name[128];
        size_t n = slice_find(pair, '=');

        if (!pair.n || n >= sizeof(name))
            continue;
        memcpy(name, pair.p, n);
        name[n] = '\0';
        if (query_get(buf_slice(to), name, &ignored))
            continue;
        if (to->n)
            buf_u8(to, '&');
        buf_add_slice(to, pair);
    }
}

/* A path decoded once, its empty parts dropped. */
static enum rc append_path(struct buf *to, struct slice encoded, struct err *err)
{
    struct buf plain;
    struct slice left, part;
    enum rc rc;

    buf_init(&plain, RTMP_MAX_TEXT);
    rc = percent_decode(&plain, encoded, err);
    if (rc == RC_OK && !slice_is_utf8(buf_slice(&plain)))
        rc = err_set(err, RC_BAD_INPUT, "not UTF-8");
    left = buf_slice(&plain);
    while (rc == RC_OK && slice_split(&left, '/', &part)) {
        if (!part.n)
            continue;
        if (to->n)
            buf_u8(to, '/');
        buf_add_slice(to, part);
    }
    buf_cleanup(&plain);
    return rc == RC_OK ? RC_OK : err_wrap(err, rc, "stream path");
}

bool rtmp_target_text_is_fit(struct slice text)
{
    if (text.n > RTMP_MAX_TEXT)
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < 0x20 || text.p[i] == 0x7f)
            return false;
    return true;
}

static bool has_parent_step(struct slice path)
{
    return path.n >= 2 && memmem(path.p, path.n, "..", 2) != NULL;
}

/* The texts fit their buffers: *path and *query have these sizes as ceilings. */
static void finish(const struct buf *path, const struct buf *query, const char *tc_url,
                   struct rtmp_target *out)
{
    *out = (struct rtmp_target){0};
    if (path->n)
        memcpy(out->path, path->p, path->n);
    if (query->n)
        memcpy(out->query, query->p, query->n);
    memcpy(out->tc_url, tc_url, strnlen(tc_url, sizeof(out->tc_url) - 1));
}

static enum rc collect(struct slice app, struct slice tc_url, struct slice name, struct buf *path,
                       struct buf *query, struct err *err)
{
    struct slice app_query = cut_query(&app), name_query = cut_query(&name);
    enum rc rc = append_path(path, app, err);

    if (rc == RC_OK)
        rc = append_path(path, name, err);
    if (rc != RC_OK)
        return rc;
    merge_query(query, name_query);
    merge_query(query, app_query);
    merge_query(query, cut_query(&tc_url));
    if (!buf_ok(path) || !buf_ok(query))
        return err_set(err, RC_LIMIT, "stream %s of more than %zu bytes",
                       buf_ok(path) ? "query" : "path", buf_ok(path) ? query->max : path->max);
    if (has_parent_step(buf_slice(path)))
        return err_set(err, RC_BAD_INPUT, "stream path with '..'");
    return RC_OK;
}

enum rc rtmp_target_make(const char *app, const char *tc_url, struct slice name,
                         struct rtmp_target *out, struct err *err)
{
    struct buf path, query;
    enum rc rc;

    if (!rtmp_target_text_is_fit(name))
        return err_set(err, RC_BAD_INPUT, "stream name with control bytes or above %d bytes",
                       RTMP_MAX_TEXT);
    buf_init(&path, sizeof(out->path) - 1);
    buf_init(&query, sizeof(out->query) - 1);
    rc = collect(slice_str(app), slice_str(tc_url), name, &path, &query, err);
    if (rc == RC_OK)
        finish(&path, &query, tc_url, out);
    buf_cleanup(&path);
    buf_cleanup(&query);
    return rc;
}
