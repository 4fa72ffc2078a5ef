/* node/admin.h: the admin server every role has on -cliAddr: /healthz, /readyz, /metrics,
 * /api/status, and the role's page. */
#ifndef LEAT_NODE_ADMIN_H
#define LEAT_NODE_ADMIN_H

#include "node/role.h"

MUST_CHECK enum rc admin_open(struct node *n, struct err *err);

#endif
