/* gateway/queue.h: a stream's segments on their way to orchestrators, in order.
 *
 * Several may be in flight; what comes back is handed on strictly in the order the
 * segments were put in. Bounded in bytes: when full, the oldest that was not sent yet is
 * skipped (its renditions become gaps), never the process. When the renditions that wait for a slow
 * elder are too many bytes, the elder is given up. One that waits and can hardly be ready in time
 * is skipped as soon as a younger one waits too.
 */
#ifndef LEAT_GATEWAY_QUEUE_H
#define LEAT_GATEWAY_QUEUE_H

#include "gateway/job.h"

enum {
    QUEUE_MAX_IN_FLIGHT = 4,
    QUEUE_MAX_BYTES = 64 * 1024 * 1024 /* of sources; of renditions */
};

struct queue;

/* on_result: in order, for every job once; the job is freed when it returns. */
struct queue *queue_new(struct loop *l, void (*on_result)(struct job *j, void *arg), void *arg);
void queue_free(struct queue *q); /* cancels what is left: on_over, no on_result */

/* Fills conf.on_end and conf.arg itself. */
void queue_put(struct queue *q, const struct job_conf *conf);
void queue_poke(struct queue *q); /* routing changed */
void queue_give_up_all(struct queue *q, const char *why);
size_t queue_length(const struct queue *q);
size_t queue_in_flight(const struct queue *q);

#endif
