#include "store/object_url.h"

#include <ctype.h>
#include <stdio.h>

#include "base/text.h"
#include "base/url.h"

/* The S3 interface's region where nobody names one. */
static const char default_region[] = "us-east-1";

enum s3_form { S3_AMAZON, S3_HTTPS, S3_HTTP, S3_NOT };

static const struct scheme {
    const char *prefix;
    enum s3_form form;
    const char *instead; /* S3_NOT: what to use */
} schemes[] = {
    {"s3://", S3_AMAZON, NULL},
    {"s3+https://", S3_HTTPS, NULL},
    {"s3+http://", S3_HTTP, NULL},
    {"gs://", S3_NOT,
     "Google's storage has an S3 interface: make an HMAC key there and use "
     "s3+https://KEY:SECRET@storage.googleapis.com/BUCKET"},
    {"ipfs://", S3_NOT, "use a folder or s3+https://KEY:SECRET@HOST/BUCKET"},
    {"w3s://", S3_NOT, "use a folder or s3+https://KEY:SECRET@HOST/BUCKET"},
};

/* --- the fields --- */

static bool only(struct slice s, const char *others)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum(s.p[i]) && !(s.p[i] && strchr(others, s.p[i])))
            return false;
    return s.n > 0;
}

/* Copies a field of plain characters. */
static enum rc read_word(struct slice text, const char *what, const char *others, char *out,
                         size_t max, struct err *err)
{
    if (text.n > max)
        return err_set(err, RC_BAD_INPUT, "the %s has %zu bytes, at most %zu are possible", what,
                       text.n, max);
    if (!only(text, others))
        return err_set(err, RC_BAD_INPUT, "the %s is %s", what,
                       text.n ? "not of letters, digits and \"-._\"" : "empty");
    memcpy(out, text.p, text.n);
    out[text.n] = '\0';
    return RC_OK;
}

/* Copies a percent-encoded field. Its value is never repeated in the error. */
static enum rc read_encoded(struct slice text, const char *what, char *out, size_t max,
                            struct err *err)
{
    struct buf b;
    enum rc rc;

    buf_init(&b, max);
    rc = percent_decode(&b, text, NULL);
    if (rc == RC_LIMIT || !buf_ok(&b))
        rc = err_set(err, RC_BAD_INPUT, "the %s has more than %zu bytes", what, max);
    else if (rc != RC_OK)
        rc = err_set(err, RC_BAD_INPUT, "the %s has a broken %%-escape or a control byte", what);
    else if (!b.n)
        rc = err_set(err, RC_BAD_INPUT, "the %s is empty", what);
    else
        memcpy(out, buf_cstr(&b), b.n + 1);
    buf_cleanup(&b);
    return rc;
}

bool object_name_is_fine(struct slice name)
{
    struct slice part;

    if (!name.n || name.n > OBJECT_PATH_MAX || !slice_is_utf8(name))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < ' ' || name.p[i] == 0x7f)
            return false;
    while (slice_split(&name, '/', &part))
        if (!part.n || slice_eq_str(part, ".") || slice_eq_str(part, ".."))
            return false;
    return true;
}

static struct slice without_end_slashes(struct slice s)
{
    while (s.n > 1 && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

/* --- S3 --- */

static enum rc read_credentials(struct slice text, struct object_url *out, struct err *err)
{
    size_t colon = slice_find(text, ':');
    enum rc rc;

    if (colon == text.n)
        return err_set(err, RC_BAD_INPUT, "no \":\" between key and secret before the \"@\"");
    rc = read_encoded(slice_sub(text, 0, colon), "key", out->key, OBJECT_KEY_MAX, err);
    if (rc != RC_OK)
        return rc;
    return read_encoded(slice_skip(text, colon + 1), "secret", out->secret, OBJECT_SECRET_MAX, err);
}

static enum rc read_host(struct slice text, struct object_url *out, struct err *err)
{
    char whole[OBJECT_HOST_MAX + 16];
    struct url u;
    int n;

    if (text.n > OBJECT_HOST_MAX)
        return err_set(err, RC_BAD_INPUT, "the host has more than %d bytes", OBJECT_HOST_MAX);
    if (!only(text, "-._:[]"))
        return err_set(err, RC_BAD_INPUT, "the host is not of letters, digits and \"-._:[]\"");
    n = snprintf(whole, sizeof(whole), "http://%.*s/", (int)text.n, (const char *)text.p);
    if (url_parse(slice_of(whole, (size_t)n), &u, NULL) != RC_OK)
        return err_set(err, RC_BAD_INPUT, "the host is no name or address with a port");
    if (u.port == (out->tls ? 443 : 80))
        u.port = 0;
    n = snprintf(out->host, sizeof(out->host), strchr(u.host, ':') ? "[%s]" : "%s", u.host);
    if (u.port)
        snprintf(out->host + n, sizeof(out->host) - (size_t)n, ":%u", u.port);
    return RC_OK;
}

static enum rc read_place(enum s3_form form, struct slice text, struct object_url *out,
                          struct err *err)
{
    enum rc rc;

    out->tls = form != S3_HTTP;
    if (form != S3_AMAZON) {
        memcpy(out->region, default_region, sizeof(default_region));
        return read_host(text, out, err);
    }
    rc = read_word(text, "region", "-", out->region, OBJECT_REGION_MAX, err);
    if (rc == RC_OK)
        snprintf(out->host, sizeof(out->host), "s3.%s.amazonaws.com", out->region);
    return rc;
}

static enum rc read_prefix(struct slice text, struct object_url *out, struct err *err)
{
    enum rc rc;

    text = without_end_slashes(text);
    if (!text.n || slice_eq_str(text, "/"))
        return RC_OK;
    rc = read_encoded(text, "path after the bucket", out->path, OBJECT_PATH_MAX, err);
    if (rc == RC_OK && !object_name_is_fine(slice_str(out->path)))
        return err_set(err, RC_BAD_INPUT,
                       "the path after the bucket has an empty, \".\" or \"..\" part");
    return rc;
}

static enum rc read_s3(enum s3_form form, struct slice rest, struct object_url *out,
                       struct err *err)
{
    size_t slash = slice_find(rest, '/');
    struct slice authority = slice_sub(rest, 0, slash), bucket;
    size_t at = slice_find(authority, '@');
    enum rc rc;

    out->kind = OBJECTS_IN_S3;
    rest = slice_skip(rest, slash + 1);
    if (slice_find(rest, '?') < rest.n || slice_find(rest, '#') < rest.n)
        return err_set(err, RC_BAD_INPUT, "no \"?\" or \"#\" may follow the bucket");
    if (at == authority.n)
        return err_set(err, RC_BAD_INPUT,
                       "no KEY:SECRET@ before the first \"/\" (write / in the secret as %%2F)");
    rc = read_credentials(slice_sub(authority, 0, at), out, err);
    if (rc == RC_OK)
        rc = read_place(form, slice_skip(authority, at + 1), out, err);
    if (rc != RC_OK)
        return rc;
    bucket = slice_sub(rest, 0, slice_find(rest, '/'));
    rc = read_word(bucket, "bucket", "-._", out->bucket, OBJECT_BUCKET_MAX, err);
    if (rc == RC_OK && (slice_eq_str(bucket, ".") || slice_eq_str(bucket, "..")))
        return err_set(err, RC_BAD_INPUT, "the bucket is no name");
    return rc == RC_OK ? read_prefix(slice_skip(rest, bucket.n + 1), out, err) : rc;
}

/* --- folders --- */

static enum rc read_folder(struct slice text, struct object_url *out, struct err *err)
{
    out->kind = OBJECTS_IN_FOLDER;
    text = without_end_slashes(text);
    if (text.n > OBJECT_PATH_MAX)
        return err_set(err, RC_BAD_INPUT, "the folder has more than %d bytes", OBJECT_PATH_MAX);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < ' ' || text.p[i] == 0x7f)
            return err_set(err, RC_BAD_INPUT, "the folder has a control byte");
    if (!text.n)
        return err_set(err, RC_BAD_INPUT, "the folder is empty");
    memcpy(out->path, text.p, text.n);
    out->path[text.n] = '\0';
    return RC_OK;
}

static enum rc read_file_url(struct slice rest, struct object_url *out, struct err *err)
{
    char decoded[OBJECT_PATH_MAX + 1];
    enum rc rc;

    if (slice_has_prefix(rest, "//"))
        rest = slice_skip(rest, 2);
    else if (!slice_has_prefix(rest, "/"))
        return err_set(err, RC_BAD_INPUT, "a folder as URL is file:///PATH");
    if (!slice_has_prefix(rest, "/"))
        return err_set(err, RC_BAD_INPUT,
                       "file://HOST would be another machine; a folder of this "
                       "one is file:///PATH");
    rc = read_encoded(rest, "folder", decoded, OBJECT_PATH_MAX, err);
    return rc == RC_OK ? read_folder(slice_str(decoded), out, err) : rc;
}

/* "name" of "name://...", when it looks like one. */
static struct slice scheme_of(struct slice text)
{
    size_t n = slice_find(text, ':');
    struct slice name = slice_sub(text, 0, n);

    return slice_has_prefix(slice_skip(text, n), "://") && n <= 16 && only(name, "+-.")
               ? name
               : slice_of(NULL, 0);
}

static enum rc read_any(struct slice text, struct object_url *out, struct err *err)
{
    struct slice scheme = scheme_of(text);

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        const struct scheme *s = &schemes[i];

        if (!slice_has_prefix(text, s->prefix))
            continue;
        if (s->form == S3_NOT)
            return err_set(err, RC_UNSUPPORTED, "%s is not supported; %s", s->prefix, s->instead);
        return read_s3(s->form, slice_skip(text, strlen(s->prefix)), out, err);
    }
    if (slice_has_prefix(text, "file:"))
        return read_file_url(slice_skip(text, 5), out, err);
    if (scheme.n)
        return err_set(err, RC_UNSUPPORTED,
                       SLICE_FMT ":// is not known; there are s3://, s3+https://, s3+http:// and "
                                 "file:///",
                       SLICE_ARG(scheme));
    return read_folder(text, out, err);
}

enum rc object_url_parse(struct slice text, struct object_url *out, struct err *err)
{
    enum rc rc;

    memset(out, 0, sizeof(*out));
    rc = read_any(text, out, err);
    return rc == RC_OK ? rc : err_wrap(err, rc, "object store");
}

void object_url_name(const struct object_url *u, char out[OBJECT_NAME_MAX])
{
    if (u->kind == OBJECTS_IN_FOLDER)
        snprintf(out, OBJECT_NAME_MAX, "%s", u->path);
    else
        snprintf(out, OBJECT_NAME_MAX, "%s://%s/%s%s%s", u->tls ? "https" : "http", u->host,
                 u->bucket, *u->path ? "/" : "", u->path);
}
