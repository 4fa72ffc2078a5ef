#include "node/admin.h"

#include "net/health.h"
#include "node/cli.h"

enum { MAX_ANSWER_BYTES = 16 * 1024 * 1024 };

static void answer_ready(struct node *n, struct http_exchange *x)
{
    struct buf why;

    buf_init(&why, HEALTH_WHY_MAX);
    if (n->stopping)
        buf_str(&why, "draining: the node was asked to stop\n");
    (void)n->role->is_ready(n, &why); /* adds nothing when it is */
    health_answer_ready(x, &why);
    buf_cleanup(&why);
}

static void answer_status(struct node *n, struct http_exchange *x)
{
    struct buf json;

    buf_init(&json, MAX_ANSWER_BYTES);
    n->role->status(n, &json);
    http_set_header(x, "cache-control", "no-store");
    http_answer(x, 200, "application/json", buf_slice(&json));
    buf_cleanup(&json);
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct node *n = arg;
    struct slice path = http_request(x)->path;

    if (slice_eq_str(path, "/healthz"))
        http_answer(x, 200, NULL, slice_of(NULL, 0));
    else if (slice_eq_str(path, "/readyz"))
        answer_ready(n, x);
    else if (slice_eq_str(path, "/metrics") && opt_flag(&n->options, OPT_monitor))
        health_answer_metrics(x);
    else if (slice_eq_str(path, "/api/status"))
        answer_status(n, x);
    else if (cli_answer(x, n))
        return;
    else if (n->role->page)
        n->role->page(x, n);
    else
        http_answer(x, 404, "text/plain; charset=utf-8",
                    SLICE_LIT("not found; try /healthz, /readyz, /metrics or /api/status\n"));
}

enum rc admin_open(struct node *n, struct err *err)
{
    const struct http_server_conf conf = {.listen = {.addr = n->admin_addr, .max_connections = 256},
                                          .on_request = on_request,
                                          .arg = n};

    n->admin = http_server_open(n->loop, &conf, err);
    if (n->admin)
        return RC_OK;
    if (err->code == RC_EXISTS)
        return err_wrap(err, err->code,
                        "-cliAddr %s is taken by another program; stop it or choose another port",
                        n->admin_addr);
    return err_wrap(err, err->code, "-cliAddr %s", n->admin_addr);
}
