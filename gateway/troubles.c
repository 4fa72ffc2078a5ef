#include "gateway/troubles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

void troubles_cleanup(struct troubles *t)
{
    for (size_t i = 0; i < TROUBLES_KEPT; i++)
        free(t->ring[i].text);
}

void troubles_add(struct troubles *t, int64_t segment, const char *text)
{
    struct trouble *to = t->n ? &t->ring[(t->n - 1) % TROUBLES_KEPT] : NULL;

    if (to && to->segment == segment && strncmp(to->text, text, TROUBLE_TEXT_MAX) == 0) {
        to->at_ms = clock_wall_ms();
        to->times++;
        return;
    }
    to = &t->ring[t->n++ % TROUBLES_KEPT];
    to->at_ms = clock_wall_ms();
    to->segment = segment;
    to->times = 1;
    free(to->text);
    to->text = xasprintf("%.*s", TROUBLE_TEXT_MAX, text);
}

static void write_text(const struct trouble *one, struct json_out *j)
{
    char text[TROUBLE_TEXT_MAX + 32];

    snprintf(text, sizeof(text), one->times > 1 ? "%s (%u times)" : "%s", one->text, one->times);
    jo_text(j, "text", text);
}

void troubles_write(const struct troubles *t, struct json_out *j)
{
    size_t kept = MIN(t->n, (size_t)TROUBLES_KEPT);

    jo_open(j, "troubles", '[');
    for (size_t i = 0; i < kept; i++) {
        const struct trouble *one = &t->ring[(t->n - 1 - i) % TROUBLES_KEPT];

        jo_open(j, NULL, '{');
        jo_int(j, "at_ms", one->at_ms);
        jo_int(j, "segment", one->segment);
        write_text(one, j);
        jo_close(j, '}');
    }
    jo_close(j, ']');
}
