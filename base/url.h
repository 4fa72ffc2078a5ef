/* base/url.h: an address taken apart. */
#ifndef LEAT_BASE_URL_H
#define LEAT_BASE_URL_H

#include "base/err.h"
#include "base/slice.h"

enum { URL_HOST_MAX = 256 };

/* scheme and host in lower case, host without brackets; port 0 when the text names none; path
 * begins with '/' or is empty; query without '?', a fragment is dropped. path and query borrow
 * from the parsed text and hold neither space nor control byte. */
struct url {
    char scheme[16];
    char host[URL_HOST_MAX];
    uint16_t port;
    struct slice path;
    struct slice query;
};

/* "https://[::1]:8935/a?b=c". RC_BAD_INPUT names what is wrong: scheme, host, port. A user name
 * before '@' is refused, and nothing of such a text is repeated. */
MUST_CHECK enum rc url_parse(struct slice text, struct url *out, struct err *err);

/* The reference's rule for address flags: empty -> host:port of the defaults; ":p" ->
 * default host; no ":" -> default port; else as it is (video.md 1.1). IPv6 in
 * brackets is understood. The caller frees the text. */
char *addr_complete(const char *addr, const char *default_host, uint16_t default_port);

/* "host:port" or "[v6]:port" taken apart; host is empty for ":port". */
MUST_CHECK enum rc addr_split(const char *addr, char host[URL_HOST_MAX], uint16_t *port,
                              struct err *err);

#endif
