/* net/http.h: what server and client share: header lists and status texts. */
#ifndef LEAT_NET_HTTP_H
#define LEAT_NET_HTTP_H

#include "base/slice.h"

struct http_header {
    struct slice name, value; /* names compare without case; sent lowercase on HTTP/2 */
};

enum {
    HTTP_MAX_HEADERS = 64,
    HTTP_MAX_HEADER_BYTES = 64 * 1024, /* all of one message; Livepeer-Segment is the largest */
    HTTP_MAX_TARGET = 8192
};

struct http_headers {
    const struct http_header *v;
    size_t n;
};

/* First value, or an empty slice with p NULL when absent. */
struct slice http_header_get(const struct http_headers *h, const char *name);

/* Does Accept-Encoding take gzip?  "gzip;q=0" does not. Source: RFC 9110 12.5.3. */
bool http_accepts_gzip(const struct http_headers *h);

const char *http_status_text(int status); /* "Not Found" */
struct slice http_date_now(void);         /* "Tue, 24 Nov 2026 18:10:51 GMT", cached a second */

#endif
