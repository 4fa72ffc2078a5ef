/* node/cli.h: the reference's own API on -cliAddr (operations.md 3), as far as it concerns video
 * without a chain: /status, /getBroadcastConfig, /setMaxSessions and so on.
 *
 * The method does not matter; parameters come from the query or from a form. What needs a chain
 * answers 500 "missing ETH client", as the reference does off-chain. Answers are made from what
 * the role tells at /api/status, so the two agree.
 */
#ifndef LEAT_NODE_CLI_H
#define LEAT_NODE_CLI_H

#include "node/role.h"

/* False: no path of this API, x is untouched. */
bool cli_answer(struct http_exchange *x, struct node *n);

#endif
