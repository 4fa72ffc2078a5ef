#include "gateway/queue.h"

#include <stdlib.h>

struct queue {
    struct loop *loop;
    struct list jobs; /* oldest first */
    size_t bytes, in_flight;
    void (*on_result)(struct job *j, void *arg);
    void *arg;
};

struct queue *queue_new(struct loop *l, void (*on_result)(struct job *j, void *arg), void *arg)
{
    struct queue *q = xcalloc(1, sizeof(*q));

    q->loop = l;
    q->on_result = on_result;
    q->arg = arg;
    list_init(&q->jobs);
    return q;
}

/* Once: a job that is over may still wait for its elders when the queue is freed. */
static void tell_over(struct job *j)
{
    void (*on_over)(struct job *, void *) = j->conf.on_over;

    j->conf.on_over = NULL;
    if (on_over)
        on_over(j, j->conf.over_arg);
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    LIST_EACH (&q->jobs, struct job, node, j) {
        list_remove(&q->jobs, &j->node);
        job_give_up(j, RC_CANCELLED, "the stream was closed");
        tell_over(j);
        job_free(j);
    }
    free(q);
}

static void start_more(struct queue *q)
{
    LIST_EACH (&q->jobs, struct job, node, j) {
        if (q->in_flight >= QUEUE_MAX_IN_FLIGHT)
            return;
        if (j->state == JOB_QUEUED) {
            q->in_flight++;
            job_start(j);
        }
    }
}

/* Hands on what is finished at the head; a later one waits for its elders. */
static void hand_on(struct queue *q)
{
    struct job *j;

    while ((j = LIST_FIRST(&q->jobs, struct job, node)) && j->told) {
        list_remove(&q->jobs, &j->node);
        q->bytes -= j->conf.segment->media->n;
        q->on_result(j, q->arg);
        job_free(j);
    }
}

static void on_job_end(struct job *j, void *arg)
{
    struct queue *q = arg;

    j->told = true;
    if (j->started_ms)
        q->in_flight--;
    tell_over(j);
    hand_on(q);
    start_more(q);
}

static void skip_oldest_unsent(struct queue *q)
{
    LIST_EACH (&q->jobs, struct job, node, j)
        if (j->state == JOB_QUEUED) {
            job_give_up(j, RC_BUSY, "skipped: the queue to the orchestrators is full");
            return;
        }
}

void queue_put(struct queue *q, const struct job_conf *conf)
{
    struct job_conf c = *conf;
    struct job *j;

    c.on_end = on_job_end;
    c.arg = q;
    j = job_new(&c);
    list_push(&q->jobs, &j->node);
    q->bytes += conf->segment->media->n;
    if (q->bytes > QUEUE_MAX_BYTES)
        skip_oldest_unsent(q);
    start_more(q);
}

void queue_poke(struct queue *q)
{
    LIST_EACH (&q->jobs, struct job, node, j)
        job_poke(j);
}

void queue_give_up_all(struct queue *q, const char *why)
{
    LIST_EACH (&q->jobs, struct job, node, j)
        job_give_up(j, RC_CANCELLED, why);
}

size_t queue_length(const struct queue *q)
{
    return q->jobs.n;
}

size_t queue_in_flight(const struct queue *q)
{
    return q->in_flight;
}
