/* output/deliver.h: how playlists and segments go over HTTP: methods, CORS, ranges,
 * compression, caching, types. Source: delivery.md b.6; RFC 9110 14. */
#ifndef LEAT_OUTPUT_DELIVER_H
#define LEAT_OUTPUT_DELIVER_H

#include "net/http_server.h"
#include "output/shared_text.h"

/* OPTIONS and methods other than GET and HEAD; true: answered. */
bool deliver_method(struct http_exchange *x);

void deliver_playlist(struct http_exchange *x, struct shared_text *t, int target_duration_s);

/* max_age_s: how long a cache may keep it. */
void deliver_segment(struct http_exchange *x, struct blob *media, const char *ext, int max_age_s);
void deliver_refusal(struct http_exchange *x, int status, const char *why);

#endif
