/* node/address.h: the addresses among the flags.
 *
 * One function reads them all: each is completed by the network's rule (video.md 1.1: no port
 * named, the role's port; ":p", the role's host) and a bad one is refused with the flag, the
 * value, what is wrong with it and what was expected. Opens nothing, asks no name server.
 *
 * Ownership: what is returned is the caller's.   Threads: pure, call from anywhere.
 */
#ifndef LEAT_NODE_ADDRESS_H
#define LEAT_NODE_ADDRESS_H

#include "base/err.h"

enum address_kind {
    ADDRESS_LISTEN,       /* "host:port" to bind; port 0: the system picks one */
    ADDRESS_DOOR,         /* the same, or with a scheme: http:// switches TLS off */
    ADDRESS_SERVICE,      /* what an orchestrator announces; comes back as https://host:port */
    ADDRESS_ORCHESTRATOR, /* one to call; comes back as https://host:port */
    ADDRESS_WEB,          /* a whole URL, http or https */
    ADDRESS_NODE          /* a whole URL, https alone */
};

/* flag without its dash. An empty text stands for the default. NULL: RC_BAD_INPUT in *err. */
char *address_read(enum address_kind kind, const char *flag, const char *text, uint16_t port,
                   struct err *err);

/* A list with commas between; NULL-terminated, freed with texts_free(). An empty text is an empty
 * list; an empty part is refused. NULL as above. */
char **address_list_read(enum address_kind kind, const char *flag, const char *list, uint16_t port,
                         struct err *err);

#endif
