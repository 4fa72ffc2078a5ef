/* gateway/auth.h: asks the operator's webhook (-authWebhookUrl) whether a stream may begin, and
 * as what.
 *
 * POST {"url": what the publisher asked for}; not 200 refuses, 200 without a body allows, anything
 * else is a stream_config. The call runs beside everything else: a slow or dead webhook delays the
 * one stream it was asked about, at most AUTH_TIMEOUT_MS, and then refuses it.
 * Source: video.md 9.5.   Threads: loop.
 */
#ifndef LEAT_GATEWAY_AUTH_H
#define LEAT_GATEWAY_AUTH_H

#include "gateway/gateway_int.h"
#include "gateway/stream_config.h"

enum {
    AUTH_TIMEOUT_MS = 10000,
    AUTH_MAX_BODY = 256 * 1024,
    AUTH_MAX_ASKED = 512 /* at once */
};

struct auth;

/* Once, from the loop, never within auth_ask(). config NULL: refused, and *why is a sentence for
 * the publisher. The refusal is logged already. */
typedef void (*auth_on_answer)(const struct stream_config *config, const struct err *why,
                               void *arg);

/* name: for the log. url: complete, told to the webhook, never logged: it may hold a key. */
struct auth *auth_ask(struct gateway *g, const char *name, struct slice url,
                      auth_on_answer on_answer, void *arg);
void auth_cancel(struct auth *a); /* on_answer will not run; NULL is fine */

#endif
