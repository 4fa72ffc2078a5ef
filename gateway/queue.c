#include "gateway/queue.h"

#include <stdlib.h>

struct queue {
    struct loop *loop;
    struct list jobs;  /* oldest first */
    size_t bytes;      /* of sources on their way */
    size_t done_bytes; /* of renditions that wait for their elders */
    size_t in_flight;
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

static bool waits(const struct job *j)
{
    return j->state == JOB_QUEUED || j->state == JOB_WAITING;
}

/* Orchestrators that are slower than the stream are given what they can do in time. In order,
 * every segment would be sent when it is too late already, and not one would be ready. */
static void skip_late(struct queue *q)
{
    struct job *newest = NULL;

    LIST_EACH (&q->jobs, struct job, node, j)
        newest = waits(j) ? j : newest;
    LIST_EACH (&q->jobs, struct job, node, j)
        if (waits(j) && j != newest && job_is_late(j))
            job_give_up(j, RC_BUSY,
                        "skipped: the orchestrators are slower than the stream, and "
                        "a younger segment waits");
}

static void start_more(struct queue *q)
{
    skip_late(q);
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
        q->done_bytes -= j->bytes;
        q->on_result(j, q->arg);
        job_free(j);
    }
}

static void release_source(struct queue *q, struct job *j)
{
    q->bytes -= j->bytes;
    j->bytes = 0;
}

static void keep_renditions(struct queue *q, struct job *j)
{
    for (size_t i = 0; i < MAX_PROFILES; i++)
        j->bytes += j->renditions[i].media ? j->renditions[i].media->n : 0;
    q->done_bytes += j->bytes;
}

/* Others are faster: what they brought is worth more than the one they wait for. */
static void give_up_slow_head(struct queue *q)
{
    struct job *head = LIST_FIRST(&q->jobs, struct job, node);

    if (head && q->done_bytes > QUEUE_MAX_BYTES)
        job_give_up(head, RC_TIMEOUT, "given up: the renditions of later segments fill the queue");
}

static void on_job_end(struct job *j, void *arg)
{
    struct queue *q = arg;

    j->told = true;
    if (j->started_ms)
        q->in_flight--;
    release_source(q, j);
    keep_renditions(q, j);
    tell_over(j);
    hand_on(q);
    give_up_slow_head(q);
    start_more(q);
}

static bool skip_oldest_unsent(struct queue *q)
{
    LIST_EACH (&q->jobs, struct job, node, j)
        if (j->state == JOB_QUEUED) {
            release_source(q, j);
            job_give_up(j, RC_BUSY, "skipped: the queue to the orchestrators is full");
            return true;
        }
    return false;
}

void queue_put(struct queue *q, const struct job_conf *conf)
{
    struct job_conf c = *conf;
    struct job *j;

    c.on_end = on_job_end;
    c.arg = q;
    j = job_new(&c);
    list_push(&q->jobs, &j->node);
    j->bytes = conf->segment->media->n;
    q->bytes += j->bytes;
    while (q->bytes > QUEUE_MAX_BYTES && skip_oldest_unsent(q))
        ;
    start_more(q);
}

void queue_poke(struct queue *q)
{
    skip_late(q);
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
