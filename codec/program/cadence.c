#include "codec/program/cadence.h"

#include <stdlib.h>

typedef __int128 wide; /* products of times, counts and rates that a stranger chose */

enum { DEFAULT_FPS = 30 };

/* What a source's clock of whole milliseconds adds to the length of a segment. */
enum { CLOCK_ROUNDING_90K = CLOCK_HZ / 1000 };

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* No frame strays from its place on the even grid by half an interval or more, so the
 * grid of the same rate would show each of them exactly once. */
static bool is_regular(const int64_t *times, size_t n)
{
    wide span = times[n - 1] - times[0];

    for (size_t i = 0; i < n; i++) {
        wide off = (wide)(times[i] - times[0]) * (wide)(n - 1) - span * (wide)i;
        if ((off < 0 ? -off : off) * 2 >= span)
            return false;
    }
    return true;
}

struct cadence cadence_measure(int64_t *times, size_t n, int64_t only_frame_90k)
{
    if (n == 0)
        return (struct cadence){0};
    qsort(times, n, sizeof(*times), compare_times);

    struct cadence c = {.frames = n, .first = times[0], .last = times[n - 1]};
    int64_t span = c.last - c.first;

    if (n == 1 || span <= 0) {
        c.end = c.last + only_frame_90k;
        c.regular = n == 1;
        return c;
    }
    c.end = c.last + span / (int64_t)(n - 1);
    c.regular = is_regular(times, n);
    return c;
}

struct rate cadence_rate(const struct cadence *c)
{
    wide span = c->last - c->first, frames = (wide)c->frames - 1;

    if (frames <= 0 || span <= 0)
        return (struct rate){DEFAULT_FPS, 1};
    wide millihertz = (frames * CLOCK_HZ * 1000 + span / 2) / span;
    return (struct rate){(uint32_t)MIN(MAX(millihertz, 1000), 1000 * 1000), 1000};
}

bool cadence_passes(const struct cadence *c, struct rate asked)
{
    if (asked.num == 0 || c->frames <= 1)
        return true;
    if (!c->regular)
        return false;
    /* |span - ideal| <= ideal / 1000 + rounding, all times asked.num */
    wide span = (wide)(c->last - c->first) * asked.num;
    wide ideal = (wide)(c->frames - 1) * asked.den * CLOCK_HZ;
    wide off = span > ideal ? span - ideal : ideal - span;
    return off * 1000 <= ideal + (wide)CLOCK_ROUNDING_90K * asked.num * 1000;
}

static int64_t div_round(wide a, wide b)
{
    return (int64_t)((a + b / 2) / b);
}

int64_t grid_ticks(const struct cadence *c, struct rate grid)
{
    return MAX(1, grid_tick_of(c, grid, c->end));
}

int64_t grid_tick_of(const struct cadence *c, struct rate grid, int64_t time)
{
    if (time <= c->first)
        return 0;
    return div_round((wide)(time - c->first) * grid.num, (wide)grid.den * CLOCK_HZ);
}

int64_t grid_time_of(const struct cadence *c, struct rate grid, int64_t tick)
{
    return c->first + div_round((wide)tick * grid.den * CLOCK_HZ, grid.num);
}
