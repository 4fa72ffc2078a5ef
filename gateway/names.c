#include "gateway/names.h"

#include <string.h>

static struct slice without_extension(struct slice s)
{
    for (size_t i = s.n; i > 0 && s.p[i - 1] != '/'; i--)
        if (s.p[i - 1] == '.')
            return slice_sub(s, 0, i - 1);
    return s;
}

static struct slice without_front(struct slice s, const char *front)
{
    return slice_has_prefix(s, front) ? slice_skip(s, strlen(front)) : s;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static bool has_dot_dot(struct slice s)
{
    struct slice part;

    while (slice_split(&s, '/', &part))
        if (slice_eq_str(part, "..") || slice_eq_str(part, "."))
            return true;
    return false;
}

static enum rc copy(struct slice from, char *to, size_t max, const char *what, struct err *err)
{
    if (from.n > max)
        return err_set(err, RC_BAD_INPUT, "%s of %zu bytes, at most %zu are taken", what, from.n,
                       max);
    if (from.n) /* an empty slice may point nowhere */
        memcpy(to, from.p, from.n);
    to[from.n] = '\0';
    return RC_OK;
}

enum rc stream_name_parse(struct slice path, bool with_extension, struct stream_name *out,
                          struct err *err)
{
    size_t slash;
    enum rc rc;

    memset(out, 0, sizeof(*out));
    if (has_control(path) || !slice_is_utf8(path))
        return err_set(err, RC_BAD_INPUT, "stream name holds control bytes or broken UTF-8");
    if (has_dot_dot(path))
        return err_set(err, RC_BAD_INPUT, "stream name holds \".\" or \"..\" as a part");
    if (with_extension)
        path = without_extension(path);
    while (path.n && (path.p[0] == '/' || path.p[0] == ' '))
        path = slice_skip(path, 1);
    path = without_front(path, "stream/");
    path = without_front(path, "live/");
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    slash = slice_find(path, '/');
    rc = copy(slice_sub(path, 0, slash), out->name, STREAM_NAME_MAX, "stream name", err);
    if (rc != RC_OK)
        return rc;
    return copy(slice_skip(path, slash + 1), out->key, STREAM_KEY_MAX, "stream key", err);
}
