/* node/page.h: the pages of a gateway, served from the binary.
 *
 *   /            dashboard: streams, who transcodes them, what went wrong, how to push
 *   /play/NAME   the plain player
 *   /assets/...  scripts and styles (hls.js among them)
 *   /api/status  what the dashboard reads
 *
 * Stream names and push addresses are not for the public: on the media port the dashboard
 * is shown only when that is bound to loopback or -dashboard was given.
 */
#ifndef LEAT_NODE_PAGE_H
#define LEAT_NODE_PAGE_H

#include "base/buf.h"
#include "net/http_server.h"

struct page;

struct page_conf {
    bool dashboard_for_all; /* on the media port too */
    void (*status)(struct buf *json, void *arg);
    void *arg;
};

struct page *page_new(const struct page_conf *conf);
void page_free(struct page *p);

/* Answers, 404 included. arg is the struct page. */
void page_handle(struct http_exchange *x, void *arg); /* media port */
void page_handle_admin(struct http_exchange *x, struct page *p);

#endif
