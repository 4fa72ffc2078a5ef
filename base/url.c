#include "base/url.h"

#include <arpa/inet.h>

#include "base/base_int.h"
#include "base/text.h"

/* RFC 3986 3.1. */
static bool is_scheme(struct slice s)
{
    if (!s.n || s.n >= sizeof(((struct url *)0)->scheme) || !ascii_is_alnum(s.p[0]) ||
        s.p[0] <= '9')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '+' && s.p[i] != '-' && s.p[i] != '.')
            return false;
    return true;
}

/* What may stand in a name or an IPv4 address; '_' is no host name, but is used as one. */
static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '-' && s.p[i] != '_')
            return false;
    return true;
}

static bool is_v6(const char *host)
{
    struct in6_addr ignored;

    return inet_pton(AF_INET6, host, &ignored) == 1;
}

static enum rc copy_host(struct slice host, bool in_brackets, char out[URL_HOST_MAX],
                         struct err *err)
{
    char words[256];

    out[0] = '\0';
    if (host.n >= URL_HOST_MAX)
        return err_set(err, RC_BAD_INPUT, "host of %zu bytes, at most %d", host.n,
                       URL_HOST_MAX - 1);
    for (size_t i = 0; i < host.n; i++)
        out[i] = (char)ascii_lower(host.p[i]);
    out[host.n] = '\0';
    if (in_brackets ? is_v6(out) : is_name(host))
        return RC_OK;
    return err_set(err, RC_BAD_INPUT, "host \"%s\" is no %s", text_printable(host, words),
                   in_brackets ? "IPv6 address" : "name or address");
}

static enum rc read_port(struct slice text, uint16_t *port, struct err *err)
{
    uint64_t number = 0;
    char words[256];

    if (!slice_u64(text, UINT16_MAX, &number))
        return err_set(err, RC_BAD_INPUT, "port \"%s\" is no number from 0 to 65535",
                       text_printable(text, words));
    *port = (uint16_t)number;
    return RC_OK;
}

/* "host", "host:port", "[v6]:port"; port 0 when none is named. */
static enum rc split(struct slice s, char host[URL_HOST_MAX], uint16_t *port, struct err *err)
{
    bool in_brackets = s.n && s.p[0] == '[';
    size_t end = slice_find(s, in_brackets ? ']' : ':');
    struct slice name = in_brackets ? slice_sub(s, 1, end - 1) : slice_sub(s, 0, end);
    struct slice rest = slice_skip(s, in_brackets ? end + 1 : end);
    char words[256];
    enum rc rc;

    *port = 0;
    if (in_brackets && (end == s.n || (rest.n && rest.p[0] != ':')))
        return err_set(err, RC_BAD_INPUT, "host \"%s\": expected [address] or [address]:port",
                       text_printable(s, words));
    rc = copy_host(name, in_brackets, host, err);
    if (rc != RC_OK || !rest.n)
        return rc;
    return read_port(slice_skip(rest, 1), port, err);
}

/* Where "://" stands, or text.n. Looked for only where a scheme can end. */
static size_t find_scheme_end(struct slice text)
{
    for (size_t i = 0; i + 3 <= text.n && i < sizeof(((struct url *)0)->scheme); i++)
        if (memcmp(text.p + i, "://", 3) == 0)
            return i;
    return text.n;
}

/* No spaces and no line ends: what is parsed here is written into request lines later. */
static bool is_clean(struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if (is_control(text.p[i]) || text.p[i] == ' ')
            return false;
    return true;
}

static size_t find_authority_end(struct slice s)
{
    size_t i = 0;

    while (i < s.n && s.p[i] != '/' && s.p[i] != '?' && s.p[i] != '#')
        i++;
    return i;
}

enum rc url_parse(struct slice text, struct url *out, struct err *err)
{
    size_t colon = find_scheme_end(text), end;
    struct slice scheme = slice_sub(text, 0, colon), rest = slice_skip(text, colon + 3);
    bool may_tell = slice_find(text, '@') == text.n; /* a password is not ours to print */
    char words[256];
    enum rc rc;

    memset(out, 0, sizeof(*out));
    text_printable(may_tell ? text : SLICE_LIT("...@..."), words);
    if (colon == text.n || !is_scheme(scheme))
        return err_set(err, RC_BAD_INPUT, "scheme missing in \"%s\": expected scheme://host:port",
                       words);
    if (!is_clean(text))
        return err_set(err, RC_BAD_INPUT, "space or control byte in \"%s\"", words);
    for (size_t i = 0; i < scheme.n; i++)
        out->scheme[i] = (char)ascii_lower(scheme.p[i]);
    end = find_authority_end(rest);
    if (slice_find(rest, '@') < end)
        return err_set(err, RC_BAD_INPUT, "host: a user name before @ is not supported");
    rc = split(slice_sub(rest, 0, end), out->host, &out->port, err);
    if (rc != RC_OK)
        return rc;
    if (!out->host[0])
        return err_set(err, RC_BAD_INPUT, "host missing in \"%s\"", words);
    rest = slice_skip(rest, end);
    rest = slice_sub(rest, 0, slice_find(rest, '#')); /* a fragment stays with who asks */
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
    bool in_brackets = s.n && s.p[0] == '[';
    char words[256];

    if (in_brackets ? slice_has_suffix(s, "]") : slice_find(s, ':') == s.n)
        return err_set(err, RC_BAD_INPUT, "address \"%s\" names no port: host:port is expected",
                       text_printable(s, words));
    return split(s, host, port, err);
}
