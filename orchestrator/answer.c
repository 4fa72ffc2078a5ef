#include "orchestrator/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

enum { REFUSALS_KEPT = 16, LINES_PER_MINUTE = 60 };

void answer_text(struct http_exchange *x, int status, const char *text)
{
    http_set_header(x, "X-Content-Type-Options", "nosniff");
    http_answer(x, status, "text/plain; charset=utf-8",
                slice_str(arena_printf(http_arena(x), "%s\n", text)));
}

void answer_not_found(struct http_exchange *x)
{
    answer_text(x, 404, "404 page not found");
}

struct refusal {
    int64_t at_ms;
    char peer[64];
    char text[300];
};

struct refusals {
    struct refusal ring[REFUSALS_KEPT];
    size_t n; /* ever */
    struct log_limit limit;
};

struct refusals *refusals_new(void)
{
    return xcalloc(1, sizeof(struct refusals));
}

void refusals_free(struct refusals *r)
{
    free(r);
}

void refused(struct refusals *r, const struct log_tag *tag, const char *peer, const char *why, ...)
{
    struct refusal *to = &r->ring[r->n++ % REFUSALS_KEPT];
    va_list ap;

    to->at_ms = clock_wall_ms();
    snprintf(to->peer, sizeof(to->peer), "%s", peer);
    va_start(ap, why);
    vsnprintf(to->text, sizeof(to->text), why, ap);
    va_end(ap);
    if (log_allowed(&r->limit, LINES_PER_MINUTE))
        log_peer(tag, "%s was refused: %s", peer, to->text);
}

void refusals_status(const struct refusals *r, struct json_out *j)
{
    size_t kept = MIN(r->n, (size_t)REFUSALS_KEPT);

    jo_open(j, "refusals", '[');
    for (size_t i = 0; i < kept; i++) {
        const struct refusal *f = &r->ring[(r->n - kept + i) % REFUSALS_KEPT];

        jo_open(j, NULL, '{');
        jo_int(j, "at_ms", f->at_ms);
        jo_text(j, "peer", f->peer);
        jo_text(j, "text", f->text);
        jo_close(j, '}');
    }
    jo_close(j, ']');
}
