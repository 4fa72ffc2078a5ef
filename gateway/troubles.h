/* gateway/troubles.h: what went wrong with one stream lately, in sentences, for the page.
 * A ring: the newest TROUBLES_KEPT stay. One that repeats is told once, with its count. */
#ifndef LEAT_GATEWAY_TROUBLES_H
#define LEAT_GATEWAY_TROUBLES_H

#include "base/json.h"

enum { TROUBLES_KEPT = 24, TROUBLE_TEXT_MAX = 320 };

struct trouble {
    int64_t at_ms;   /* Unix time */
    int64_t segment; /* -1: the stream as a whole */
    unsigned times;
    char *text; /* own; most streams never have any */
};

/* All zero: none yet. */
struct troubles {
    struct trouble ring[TROUBLES_KEPT];
    size_t n; /* ever */
};

void troubles_cleanup(struct troubles *t);
/* Longer texts are cut at TROUBLE_TEXT_MAX. */
void troubles_add(struct troubles *t, int64_t segment, const char *text);
void troubles_write(const struct troubles *t,
                    struct json_out *j); /* "troubles":[...] newest first */

#endif
