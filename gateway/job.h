/* gateway/job.h: one segment until its renditions are there or it is given up.
 *
 * Picks an orchestrator, sends, tries the next one on failure (at most max_attempts
 * failures), and starts a second attempt beside the first when that one is overdue: a
 * frozen orchestrator costs a moment, not a time-out. The first good answer wins. With
 * nobody to ask it waits for its deadline, or fails at once when impatient (a push).
 *
 *   WAITING --picked--> SENT --good--> DONE
 *      ^                 |
 *      +---- failed -----+       deadline, final fault, attempts used up --> GIVEN_UP
 */
#ifndef LEAT_GATEWAY_JOB_H
#define LEAT_GATEWAY_JOB_H

#include "gateway/attempt.h"
#include "gateway/routing.h"

enum { JOB_MAX_PARALLEL = 2, JOB_MAX_TRIED = 8, JOB_OVERDUE_MIN_MS = 1000, JOB_OVERDUE_FACTOR = 3 };
enum { JOB_LATE_FACTOR = 2 }; /* times the expected, or those at the edge are lost in mid-work */

enum job_state { JOB_QUEUED, JOB_WAITING, JOB_SENT, JOB_DONE, JOB_GIVEN_UP };

struct job;

struct job_conf {
    struct loop *loop;
    struct http_client *client;
    struct routing *routing;
    const struct log_tag *log;
    const char *manifest_id;
    struct segment *segment;        /* a reference is kept; without its media once it is over */
    const struct profile *profiles; /* borrowed */
    size_t n_profiles;
    const struct caps *need;
    int max_attempts;
    int deadline_ms;        /* from job_new */
    int timeout_multiplier; /* of each attempt's waits; 0: 1 */
    bool impatient;         /* nobody can be asked: give up now, say why */
    /* Once, from the loop: state DONE or GIVEN_UP. The queue's. */
    void (*on_end)(struct job *j, void *arg);
    void *arg;
    /* The moment it is over, whatever its elders do; may be NULL: a push's answer. */
    void (*on_over)(struct job *j, void *over_arg);
    void *over_arg;
    /* An attempt failed; the job may go on. For the page's troubles. */
    void (*on_trouble)(struct job *j, const char *sentence, void *trouble_arg);
    void *trouble_arg;
};

struct job {
    struct list_node node; /* the queue's */
    struct job_conf conf;
    struct log_tag log;
    enum job_state state;
    bool told;    /* the queue's: its end came; elders may still run */
    size_t bytes; /* the queue's: of media it answers for */
    struct attempt *attempts[JOB_MAX_PARALLEL];
    uint64_t tried[JOB_MAX_TRIED]; /* ids of sessions */
    size_t n_tried;
    int failures;
    struct timer *deadline, *overdue;
    int64_t made_ms, started_ms;
    struct deferred end;

    /* the result */
    struct rendition renditions[MAX_PROFILES];
    char orchestrator[256];
    int64_t round_trip_ms, pixels;
    struct err err; /* of GIVEN_UP: rc RC_UNSUPPORTED when no retry helps */
};

struct job *job_new(const struct job_conf *conf); /* JOB_QUEUED */
void job_start(struct job *j);
void job_poke(struct job *j); /* routing changed, be it by this job's own failed attempt */
bool job_is_over(const struct job *j);
/* Sent now it will hardly be ready in time, by what orchestrators take. */
bool job_is_late(const struct job *j);
void job_give_up(struct job *j, enum rc rc, const char *why);
void job_free(struct job *j); /* cancels; NULL is fine */

#endif
