#include "output/history.h"

#include <math.h>
#include <string.h>

static const struct moment *last_of(const struct history *h)
{
    return h->n ? &h->kept[h->n - 1] : NULL;
}

static void append(struct history *h, const struct moment *m)
{
    if (h->n == HISTORY_KEPT) {
        h->discontinuities += h->kept[0].discontinuity;
        memmove(h->kept, h->kept + 1, (h->n - 1) * sizeof(h->kept[0]));
        h->n--;
    }
    h->kept[h->n++] = *m;
}

/* A pushed number may come twice, when its sender began anew; a URL must not. */
static int64_t next_url_seq(const struct history *h, int64_t wanted)
{
    const struct moment *last = last_of(h);

    return last ? MAX(wanted, last->url_seq + 1) : wanted;
}

static void forget_all(struct history *h)
{
    for (size_t i = 0; i < h->n; i++)
        h->discontinuities += h->kept[i].discontinuity;
    h->n = 0;
}

static void fill(struct history *h, const struct playback_segment *seg)
{
    int64_t msn = last_of(h)->msn + 1;

    if (seg->msn - msn > HLS_WINDOW) {
        forget_all(h);
        msn = seg->msn - HLS_WINDOW;
    }
    for (; msn < seg->msn; msn++) {
        int64_t before = seg->msn - msn;

        append(h, &(struct moment){.msn = msn,
                                   .url_seq = next_url_seq(h, seg->url_seq - before),
                                   .duration = seg->duration,
                                   .wall_ms = seg->wall_ms - before * seg->duration / 90});
    }
}

const struct moment *history_note(struct history *h, const struct playback_segment *seg)
{
    const struct moment *last = last_of(h);

    if (last && seg->msn <= last->msn)
        return history_find(h, seg->msn);
    if (last)
        fill(h, seg);
    else
        h->target_s = MAX(h->target_s, (int)lround((double)seg->duration / TICKS_PER_SECOND));
    append(h, &(struct moment){.msn = seg->msn,
                               .url_seq = next_url_seq(h, seg->url_seq),
                               .duration = seg->duration,
                               .wall_ms = seg->wall_ms,
                               .discontinuity = seg->discontinuity});
    return last_of(h);
}

const struct moment *history_find(const struct history *h, int64_t msn)
{
    if (!h->n || msn < h->kept[0].msn || msn > last_of(h)->msn)
        return NULL;
    return &h->kept[msn - h->kept[0].msn];
}

int64_t history_discontinuities_before(const struct history *h, int64_t msn)
{
    int64_t count = h->discontinuities;

    for (size_t i = 0; i < h->n && h->kept[i].msn < msn; i++)
        count += h->kept[i].discontinuity;
    return count;
}
