/* What was taken apart and put together again is taken apart the same way. */
#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/url.h"

static void write_host(struct buf *b, const char *host)
{
    buf_printf(b, strchr(host, ':') ? "[%s]" : "%s", host);
}

static bool same(const struct url *a, const struct url *b)
{
    return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0 &&
           a->port == b->port && slice_eq(a->path, b->path) && slice_eq(a->query, b->query);
}

static void check_clean(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        assert(s.p[i] > ' ' && s.p[i] != 0x7f);
}

static void check_url(struct slice text)
{
    struct err err = {0};
    struct url u, again;
    struct buf b;

    if (url_parse(text, &u, &err) != RC_OK) {
        assert(err.code == RC_BAD_INPUT && slice_is_utf8(slice_str(err.text)));
        return;
    }
    assert(u.scheme[0] && u.host[0]);
    assert(!u.path.n || u.path.p[0] == '/');
    check_clean(slice_str(u.host));
    check_clean(u.path);
    check_clean(u.query);
    buf_init(&b, 2 * text.n + 1000);
    buf_printf(&b, "%s://", u.scheme);
    write_host(&b, u.host);
    buf_printf(&b, ":%u", u.port);
    buf_add_slice(&b, u.path);
    buf_str(&b, "?");
    buf_add_slice(&b, u.query);
    assert(url_parse(buf_slice(&b), &again, &err) == RC_OK && same(&u, &again));
    buf_cleanup(&b);
}

static void check_address(const char *addr)
{
    char host[URL_HOST_MAX], again_host[URL_HOST_MAX];
    uint16_t port, again_port;
    struct err err;
    struct buf b;

    if (addr_split(addr, host, &port, &err) != RC_OK) {
        assert(slice_is_utf8(slice_str(err.text)));
        return;
    }
    buf_init(&b, 1000);
    write_host(&b, host);
    buf_printf(&b, ":%u", port);
    assert(addr_split(buf_cstr(&b), again_host, &again_port, &err) == RC_OK);
    assert(strcmp(host, again_host) == 0 && port == again_port);
    buf_cleanup(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    char *addr = slice_dup(slice_of(p, n)), *complete = addr_complete(addr, "127.0.0.1", 8935);

    check_url(slice_of(p, n));
    check_address(addr);
    check_address(complete);
    free(complete);
    free(addr);
    return 0;
}
