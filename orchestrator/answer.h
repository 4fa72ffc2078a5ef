/* orchestrator/answer.h: answers in the reference's form, and what the log says beside them.
 *
 * The wire carries the network's text only; the log and the status page say who was refused,
 * with the figures and the remedy. */
#ifndef LEAT_ORCHESTRATOR_ANSWER_H
#define LEAT_ORCHESTRATOR_ANSWER_H

#include "base/json.h"
#include "base/log.h"
#include "net/http_server.h"

/* text/plain with a newline at the end, as the reference's errors are. */
void answer_text(struct http_exchange *x, int status, const char *text);
void answer_not_found(struct http_exchange *x);

/* One line of log (limited: a stranger can cause it) and one of memory. tag may be NULL. */
struct refusals;
struct refusals *refusals_new(void);
void refusals_free(struct refusals *r);
void refused(struct refusals *r, const struct log_tag *tag, const char *peer, const char *why, ...)
    PRINTF_LIKE(4, 5);
void refusals_status(const struct refusals *r, struct json_out *j); /* "refusals":[...] */

#endif
