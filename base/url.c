#include "base/url.h"

#include <stdio.h>

static bool is_scheme(struct slice s)
{
    if (!s.n || s.n >= sizeof(((struct url *)0)->scheme))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '+' && c != '-' && c != '.')
            return false;
    }
    return true;
}

static enum rc copy_host(struct slice host, char out[URL_HOST_MAX], struct err *err)
{
    if (host.n >= URL_HOST_MAX)
        return err_set(err, RC_BAD_INPUT, "host of %zu bytes, at most %d", host.n,
                       URL_HOST_MAX - 1);
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] <= ' ' || host.p[i] == 0x7f || host.p[i] == '/' || host.p[i] == '@')
            return err_set(err, RC_BAD_INPUT, "host holds byte 0x%02x", host.p[i]);
    if (host.n)
        memcpy(out, host.p, host.n);
    out[host.n] = '\0';
    return RC_OK;
}

/* "host", "host:port", "[v6]:port"; port 0 when none is named. */
static enum rc split(struct slice s, char host[URL_HOST_MAX], uint16_t *port, struct err *err)
{
    uint64_t number = 0;
    struct slice name;
    size_t end;
    enum rc rc;

    if (s.n && s.p[0] == '[') {
        end = slice_find(s, ']');
        if (end == s.n)
            return err_set(err, RC_BAD_INPUT, "address \"" SLICE_FMT "\" lacks a ]", SLICE_ARG(s));
        name = slice_sub(s, 1, end - 1);
        s = slice_skip(s, end + 1);
        if (s.n && s.p[0] != ':')
            return err_set(err, RC_BAD_INPUT, "after ] a :port is expected");
    } else {
        end = slice_find(s, ':');
        name = slice_sub(s, 0, end);
        s = slice_skip(s, end);
    }
    rc = copy_host(name, host, err);
    if (rc != RC_OK)
        return rc;
    if (s.n && !slice_u64(slice_skip(s, 1), 65535, &number))
        return err_set(err, RC_BAD_INPUT, "port \"" SLICE_FMT "\" is no number from 0 to 65535",
                       SLICE_ARG(slice_skip(s, 1)));
    *port = (uint16_t)number;
    return RC_OK;
}

static size_t find_scheme_end(struct slice text)
{
    for (size_t i = 0; i + 3 <= text.n; i++)
        if (memcmp(text.p + i, "://", 3) == 0)
            return i;
    return text.n;
}

enum rc url_parse(struct slice text, struct url *out, struct err *err)
{
    size_t colon = find_scheme_end(text), end;
    struct slice scheme = slice_sub(text, 0, colon), rest = slice_skip(text, colon + 3), authority;
    enum rc rc;

    memset(out, 0, sizeof(*out));
    if (colon == text.n || !is_scheme(scheme))
        return err_set(err, RC_BAD_INPUT,
                       "\"" SLICE_FMT "\" is no URL: scheme://host:port/path is expected",
                       SLICE_ARG(slice_sub(text, 0, 200)));
    memcpy(out->scheme, scheme.p, scheme.n);
    for (char *c = out->scheme; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 32);
    for (end = 0; end < rest.n && rest.p[end] != '/' && rest.p[end] != '?'; end++)
        ;
    authority = slice_sub(rest, 0, end);
    rc = split(authority, out->host, &out->port, err);
    if (rc != RC_OK)
        return rc;
    if (!out->host[0])
        return err_set(err, RC_BAD_INPUT, "\"" SLICE_FMT "\" names no host",
                       SLICE_ARG(slice_sub(text, 0, 200)));
    rest = slice_skip(rest, end);
    end = slice_find(rest, '?');
    out->path = slice_sub(rest, 0, end);
    out->query = slice_skip(rest, end + 1);
    return RC_OK;
}

char *addr_complete(const char *addr, const char *default_host, uint16_t default_port)
{
    struct slice s = slice_str(addr);
    bool is_v6_alone = s.n && s.p[0] == '[' && s.p[s.n - 1] == ']';

    if (!s.n)
        return xasprintf("%s:%u", default_host, default_port);
    if (s.p[0] == ':')
        return xasprintf("%s%s", default_host, addr);
    if (is_v6_alone || slice_find(s, ':') == s.n)
        return xasprintf("%s:%u", addr, default_port);
    return xstrdup(addr);
}

enum rc addr_split(const char *addr, char host[URL_HOST_MAX], uint16_t *port, struct err *err)
{
    struct slice s = slice_str(addr);

    if (s.n && s.p[0] != '[' && slice_find(s, ':') == s.n)
        return err_set(err, RC_BAD_INPUT, "address \"%s\" names no port: host:port is expected",
                       addr);
    return split(s, host, port, err);
}
