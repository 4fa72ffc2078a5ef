/* orchestrator/local_worker.h: a worker of this machine: `leat transcoder` as a supervised
 * child that registers over the Unix socket with a secret of its own. It starts again, with
 * back-off, when it dies, and is ended when it does not answer. */
#ifndef LEAT_ORCHESTRATOR_LOCAL_WORKER_H
#define LEAT_ORCHESTRATOR_LOCAL_WORKER_H

#include "base/err.h"
#include "net/loop.h"

struct local_worker;

struct local_worker_conf {
    const char *program; /* NULL: our own executable */
    const char *socket;  /* path */
    const char *secret;  /* goes through the environment, not the command line */
    const char *data_dir;
    int capacity;
    const char *const *args; /* further flags, NULL ends; may be NULL */
};

struct local_worker *local_worker_start(struct loop *l, const struct local_worker_conf *conf);
const char *local_worker_trouble(const struct local_worker *w); /* "" when it runs */
/* It does not answer: a process that was stopped (SIGSTOP) is ended at once, any when `dead`. */
void local_worker_is_silent(struct local_worker *w, bool dead);
void local_worker_stop(struct local_worker *w); /* NULL is fine */

#endif
