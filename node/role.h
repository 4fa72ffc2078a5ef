/* node/role.h: what a role is to main(): a name, defaults, start and stop.
 *
 * node/main.c reads the options, opens the admin server on -cliAddr and runs the loop;
 * each role_*.c turns options into the role's own configuration, then starts it. Adding a role
 * touches one list (roles[] in main.c).
 */
#ifndef LEAT_NODE_ROLE_H
#define LEAT_NODE_ROLE_H

#include "base/buf.h"
#include "base/err.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "node/options.h"

/* Exit status of a node that could not start: flags, ports, folders. Another try ends the same. */
enum { EXIT_START_FAILED = 2 };

struct node {
    struct loop *loop;
    struct options options;
    const struct role *role;
    void *running;             /* what role->read made */
    char *data_dir;            /* ours alone; exists when role->start is called */
    char *admin_addr;          /* -cliAddr completed; NULL for roles without one */
    struct http_server *admin; /* on -cliAddr; NULL for roles without one */
    int64_t verbosity;         /* -v, or what /setLogLevel said */
    bool stopping;
    int exit_status;
};

struct role {
    const char *name;      /* subcommand, "gateway" */
    const char *node_type; /* of metrics (operations.md 5), "bctr" */
    int option_role;       /* ROLE_G ... */
    uint16_t admin_port;   /* default of -cliAddr; 0: none */
    const char *summary;   /* one line of `leat help` */
    bool keeps_media;      /* for the length of playlists */
    /* The options become a configuration. All are checked here: nothing is opened or made yet.
     * NULL and *err. */
    void *(*read)(struct node *n, struct err *err);
    /* Opens its ports. stop() is called after a failure too. */
    MUST_CHECK enum rc (*start)(struct node *n, struct err *err);
    /* Finish what runs, then call node_stopped(); a second signal stops at once. */
    void (*drain)(struct node *n);
    void (*stop)(struct node *n);
    /* Of the admin server; NULL without one. */
    void (*status)(struct node *n, struct buf *json);
    bool (*is_ready)(struct node *n, struct buf *why);
    /* Of the reference's API on -cliAddr (cli.h); NULL where a role has no such setting. New values
     * hold for streams that come. RC_BAD_INPUT: what is wrong with the text. */
    void (*profiles)(struct node *n, struct buf *names); /* "P240p30fps16x9,..." */
    enum rc (*set_profiles)(struct node *n, const char *list, struct err *err);
    enum rc (*set_max_sessions)(struct node *n, const char *text, struct err *err);
    http_handler page; /* further paths of the admin server; arg is the node; may be NULL */
};

extern const struct role role_gateway, role_orchestrator, role_transcoder, role_up;

/* From a drain's end: leaves the loop. */
void node_stopped(struct node *n);

/* All that the flags say becomes n->data_dir, n->admin_addr and n->running; nothing is opened or
 * made. What there is of them is freed by the caller, also after an error. */
MUST_CHECK enum rc node_read_flags(struct node *n, struct err *err);

void node_set_verbosity(struct node *n, int64_t v);

/* The role cannot go on: logs the sentence, ends with status 1. */
void node_fatal(struct node *n, const struct err *err);

#endif
