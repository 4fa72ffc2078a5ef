/* net/http_client.h: HTTP/1.1 and HTTP/2 calls to Livepeer peers.
 *
 * One client per process keeps connections by (scheme, host, port, protocol) and
 * reuses them; HTTP/2 calls share a connection. Certificates are not checked, as no
 * Livepeer peer does (video.md 1.2). For the web (webhooks) see net/web.h.
 *
 * A call that fails on a reused connection before any byte of an answer is tried once
 * more on a fresh one. Every callback comes from the loop; exactly one on_done.
 */
#ifndef LEAT_NET_HTTP_CLIENT_H
#define LEAT_NET_HTTP_CLIENT_H

#include "base/blob.h"
#include "base/err.h"
#include "net/http.h"
#include "net/loop.h"

struct http_client;
struct http_call;

struct http_client *http_client_new(struct loop *l);
void http_client_free(struct http_client *c); /* running calls end with RC_CANCELLED */

/* What to speak (video.md 1.4). */
enum http_speak {
    HTTP_SPEAK_ANY, /* TLS: offer h2, http/1.1; clear text: HTTP/1.1 */
    HTTP_SPEAK_1,   /* HTTP/1.1, no ALPN */
    HTTP_SPEAK_2    /* HTTP/2 only; clear text: prior knowledge */
};

struct http_call_conf {
    const char *method;
    const char *url;       /* "https://host:port/path?query", "http://..." */
    const char *unix_path; /* connect there instead, clear text; NULL: by url */
    enum http_speak speak;
    const struct http_header *headers; /* copied */
    size_t n_headers;
    struct blob *body;              /* referenced; NULL: none */
    struct blob *const *body_parts; /* instead of body: sent one after another, referenced */
    size_t n_body_parts;
    int connect_timeout_ms; /* 0: 2000 */
    int header_timeout_ms;  /* from the start until the status; 0: none */
    int timeout_ms;         /* from the start to the last byte; 0: none */
    int ping_every_ms;      /* HTTP/2; 0: none */
    size_t max_body;        /* of the answer: RC_LIMIT above */
    bool collect;           /* gather the body into one blob for on_done */

    void (*on_headers)(int status, const struct http_headers *h, void *arg); /* may be NULL */
    void (*on_bytes)(struct slice bytes, void *arg);                         /* may be NULL */
    /* Once. err NULL: complete. status 0 when none came; body NULL unless collect (the callee
     * refs it to keep it). err->code: RC_TIMEOUT, RC_CLOSED, RC_UNAVAILABLE (could not connect),
     * RC_LIMIT, RC_BAD_INPUT (broken answer), RC_CANCELLED. Texts begin "header timeout: " or
     * "body timeout: " where the reference's do (video.md 4.5). */
    void (*on_done)(int status, const struct http_headers *h, struct blob *body,
                    const struct err *err, void *arg);
    void *arg;
};

/* Trailers of HTTP/2 answers are appended to the headers that on_done sees. */
struct http_call *http_call_start(struct http_client *c, const struct http_call_conf *conf);
void http_call_cancel(struct http_call *call); /* on_done is not called; the call is gone */

/* Monotonic time when the last request byte went to the kernel, 0 before; for upload metrics. */
int64_t http_call_sent_us(const struct http_call *call);

#endif
