#include "node/address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/url.h"
#include "node/options.h"

static const struct kind {
    const char *expected;
    bool takes_scheme, needs_scheme, takes_http; /* https is taken where a scheme is */
    bool binds;                                  /* port 0 picks one; a path has no place */
    bool adds_https;                             /* where no scheme was given */
} kinds[] = {
    [ADDRESS_LISTEN] = {.expected = "HOST:PORT, HOST or :PORT", .binds = true},
    [ADDRESS_DOOR] = {.expected = "HOST:PORT, HOST, :PORT or http://HOST:PORT",
                      .takes_scheme = true,
                      .binds = true,
                      .takes_http = true},
    [ADDRESS_SERVICE] = {.expected = "HOST:PORT, HOST or an https or http URL without a path",
                         .takes_scheme = true,
                         .binds = true,
                         .takes_http = true,
                         .adds_https = true},
    [ADDRESS_ORCHESTRATOR] = {.expected = "HOST:PORT, HOST or an https URL",
                              .takes_scheme = true,
                              .takes_http = true,
                              .adds_https = true},
    [ADDRESS_WEB] = {.expected = "an http or https URL",
                     .takes_scheme = true,
                     .needs_scheme = true,
                     .takes_http = true},
    [ADDRESS_NODE] = {.expected = "an https URL", .takes_scheme = true, .needs_scheme = true},
};

/* An address as given, taken apart; scheme is empty where there is none. */
struct parts {
    struct slice scheme, authority;
    size_t path_n;
};

static struct parts take_apart(struct slice text)
{
    struct parts p = {.authority = text};
    size_t colon = 0, end = 0;

    while (colon + 3 <= text.n && memcmp(text.p + colon, "://", 3) != 0)
        colon++;
    if (colon + 3 > text.n)
        return p;
    p.scheme = slice_sub(text, 0, colon);
    p.authority = slice_skip(text, colon + 3);
    while (end < p.authority.n && !strchr("/?#", p.authority.p[end]))
        end++;
    p.path_n = p.authority.n - end;
    p.authority = slice_sub(p.authority, 0, end);
    return p;
}

static enum rc check_scheme(const struct kind *kind, const struct parts *p, struct err *err)
{
    bool is_http = slice_eq_str(p->scheme, "http");

    if (!p->scheme.n)
        return kind->needs_scheme ? err_set(err, RC_BAD_INPUT, "it has no scheme") : RC_OK;
    if (!kind->takes_scheme)
        return err_set(err, RC_BAD_INPUT, "it has a scheme");
    if (!slice_eq_str(p->scheme, "https") && !(is_http && kind->takes_http))
        return err_set(err, RC_BAD_INPUT, "its scheme is not https");
    if (kind->binds && p->path_n > 1)
        return err_set(err, RC_BAD_INPUT, "it has a path");
    return RC_OK;
}

/* "99999" and "1.2.3" are no names; what looks like a number was meant as an address or a port. */
static enum rc check_host(const char *host, struct err *err)
{
    struct in_addr ignored;

    if (!host[0])
        return err_set(err, RC_BAD_INPUT, "it has no host");
    if (!host[strspn(host, "0123456789")])
        return err_set(err, RC_BAD_INPUT, "\"%s\" is no host; a port alone has a colon before it",
                       host);
    if (!host[strspn(host, "0123456789.")] && inet_pton(AF_INET, host, &ignored) != 1)
        return err_set(err, RC_BAD_INPUT, "\"%s\" is no IPv4 address", host);
    return RC_OK;
}

static enum rc check_authority(const struct kind *kind, const char *addr, struct err *err)
{
    struct in6_addr ignored;
    char host[URL_HOST_MAX];
    uint16_t port = 0;
    enum rc rc;

    if (inet_pton(AF_INET6, addr, &ignored) == 1)
        return err_set(err, RC_BAD_INPUT, "an IPv6 address stands in brackets: [%s]", addr);
    rc = addr_split(addr, host, &port, err);
    if (rc == RC_OK)
        rc = check_host(host, err);
    if (rc == RC_OK && !port && !kind->binds)
        return err_set(err, RC_BAD_INPUT, "nobody can be reached at port 0");
    return rc;
}

static uint16_t default_port(enum address_kind kind, const struct parts *p, uint16_t port)
{
    if (!p->scheme.n || kinds[kind].binds)
        return port;
    return slice_eq_str(p->scheme, "http") ? 80 : 443;
}

/* The completed "host:port" in *addr. */
static enum rc read_parts(enum address_kind kind, struct slice text, uint16_t port, struct parts *p,
                          char **addr, struct err *err)
{
    struct url url;
    char *given;
    enum rc rc;

    *p = take_apart(text);
    if (slice_find(p->authority, '@') < p->authority.n)
        return err_set(err, RC_BAD_INPUT, "a user name has no place in it");
    rc = check_scheme(&kinds[kind], p, err);
    if (rc == RC_OK && p->scheme.n)
        rc = url_parse(text, &url, err);
    if (rc != RC_OK)
        return rc;
    given = slice_dup(p->authority);
    *addr = strspn(given, ":") > 1 ? xstrdup(given) /* IPv6 without brackets */
                                   : addr_complete(given, "127.0.0.1", default_port(kind, p, port));
    free(given);
    return check_authority(&kinds[kind], *addr, err);
}

static void refuse(const struct kind *kind, const char *flag, struct slice text,
                   const struct err *why, struct err *err)
{
    bool may_tell = slice_find(text, '@') == text.n; /* a password is not ours to print */
    char words[256];

    text_printable(may_tell ? text : SLICE_LIT("...@..."), words);
    (void)err_set(err, RC_BAD_INPUT, "-%s: \"%s\" is no address: %s; expected %s", flag, words,
                  why->text, kind->expected);
}

/* A URL stays as it was written; a service's always gets its port. */
static char *compose(enum address_kind kind, struct slice text, struct slice scheme,
                     const char *addr)
{
    if (scheme.n)
        return kind == ADDRESS_SERVICE ? xasprintf(SLICE_FMT "://%s", SLICE_ARG(scheme), addr)
                                       : slice_dup(text);
    return kinds[kind].adds_https ? xasprintf("https://%s", addr) : xstrdup(addr);
}

static char *read_one(enum address_kind kind, const char *flag, struct slice text, uint16_t port,
                      struct err *err)
{
    struct parts p;
    char *addr = NULL, *out = NULL;
    struct err why;

    if (read_parts(kind, text, port, &p, &addr, &why) == RC_OK)
        out = compose(kind, text, p.scheme, addr);
    else
        refuse(&kinds[kind], flag, text, &why, err);
    free(addr);
    return out;
}

char *address_read(enum address_kind kind, const char *flag, const char *text, uint16_t port,
                   struct err *err)
{
    return read_one(kind, flag, slice_trim(slice_str(text)), port, err);
}

char **address_list_read(enum address_kind kind, const char *flag, const char *list, uint16_t port,
                         struct err *err)
{
    struct slice rest = slice_str(list), part;
    char **out = xcalloc(strlen(list) + 2, sizeof(*out));
    size_t n = 0;

    if (!slice_trim(rest).n)
        return out;
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        if (!part.n)
            (void)err_set(err, RC_BAD_INPUT, "-%s: \"%s\" has an empty part; expected %s", flag,
                          list, "addresses with one comma between two");
        else
            out[n] = read_one(kind, flag, part, port, err);
        if (!out[n++]) {
            texts_free(out);
            return NULL;
        }
    }
    return out;
}
