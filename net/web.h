/* net/web.h: calls to the web outside the network (webhooks, discovery lists).
 *
 * libcurl on the loop, loaded on first use, so a node without webhooks never pays for
 * it. Certificates are checked. Redirects are followed up to 5, proxies by environment.
 */
#ifndef LEAT_NET_WEB_H
#define LEAT_NET_WEB_H

#include "base/blob.h"
#include "base/err.h"
#include "net/loop.h"

struct web;
struct web_call;

struct web *web_new(struct loop *l);
void web_free(struct web *w);

struct web_conf {
    const char *method; /* NULL: GET */
    const char *url;
    const char *const *headers; /* "Name: value", NULL ends */
    struct slice body;          /* copied */
    struct blob *blob;          /* instead of body: large ones, referenced */
    bool stay;                  /* follow no redirect: its status is the answer */
    int timeout_ms;
    size_t max_body;
    /* Once. err NULL: an answer came (any status). body is the callee's to ref. */
    void (*on_done)(int status, struct blob *body, const struct err *err, void *arg);
    void *arg;
};

/* Fails through on_done, also when libcurl is missing (the sentence names the package). */
struct web_call *web_start(struct web *w, const struct web_conf *conf);
void web_cancel(struct web_call *c);

#endif
