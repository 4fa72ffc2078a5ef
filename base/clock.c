#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t now_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return now_us(CLOCK_REALTIME) / 1000;
}

/* Years 0 to 9999: the others have no date of this width. */
static const int64_t FIRST_MS = -62167219200000, LAST_MS = 253402300799999;

void clock_format_utc(int64_t wall_ms, char out[CLOCK_TEXT_MAX])
{
    int64_t ms = MIN(MAX(wall_ms, FIRST_MS), LAST_MS);
    int64_t part = (ms % 1000 + 1000) % 1000; /* also before 1970 */
    time_t s = (time_t)((ms - part) / 1000);
    struct tm t = {0};

    gmtime_r(&s, &t);
    snprintf(out, CLOCK_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", t.tm_year + 1900,
             t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)part);
}
