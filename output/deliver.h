/* output/deliver.h: how playlists and segments go over HTTP: methods, CORS, ranges,
 * compression, caching, types. Source: delivery.md b.6; RFC 9110 14. */
#ifndef LEAT_OUTPUT_DELIVER_H
#define LEAT_OUTPUT_DELIVER_H

#include "base/blob.h"
#include "net/http_server.h"

/* OPTIONS and methods other than GET and HEAD; true: answered. */
bool deliver_method(struct http_exchange *x);

/* gzip: where the compressed form is kept between requests; NULL inside until it is needed. */
void deliver_playlist(struct http_exchange *x, struct blob *text, struct blob **gzip,
                      int target_duration_s);
void deliver_segment(struct http_exchange *x, struct blob *media, const char *ext);
void deliver_refusal(struct http_exchange *x, int status, const char *why);

#endif
