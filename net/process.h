/* net/process.h: a child process and its output lines.
 *
 * The child dies with us (PR_SET_PDEATHSIG) and inherits nothing but what is named
 * here. stdout and stderr come back line by line (cut at 4096 bytes).
 */
#ifndef LEAT_NET_PROCESS_H
#define LEAT_NET_PROCESS_H

#include "base/err.h"
#include "base/slice.h"
#include "net/loop.h"

struct process;

struct process_conf {
    const char *const *argv;    /* argv[0] is the path; NULL ends */
    const char *const *env_add; /* "NAME=value", added to ours; NULL: none */
    int pass_fd;                /* becomes descriptor 3 of the child; -1: none */
    void (*on_line)(struct slice line, bool is_stderr, void *arg); /* NULL: inherit both */
    void (*on_stdout)(struct slice bytes, void *arg);   /* stdout as it comes, not by lines; needs
                                                           on_line, for stderr; NULL: by lines */
    void (*on_exit)(int status, int signum, void *arg); /* once, after the last line */
    void *arg;
};

/* NULL and *err when it cannot be started. */
struct process *process_start(struct loop *l, const struct process_conf *conf, struct err *err);
int process_pid(const struct process *p);
void process_signal(struct process *p, int signum);
bool process_is_running(const struct process *p);

/* Stops listening; a running child is killed. NULL is fine. */
void process_free(struct process *p);

/* Absolute path of our own executable's folder + "/" + name; the caller frees it. */
char *process_sibling(const char *name);

#endif
