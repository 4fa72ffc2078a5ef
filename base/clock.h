/* base/clock.h: the two clocks. Deadlines and durations use the monotonic one, so a
 * jump of the wall clock changes nothing but dates shown to people. */
#ifndef LEAT_BASE_CLOCK_H
#define LEAT_BASE_CLOCK_H

#include "base/base.h"

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void); /* Unix time */

/* "2026-11-24T18:10:51.123Z", clamped to the years 0 to 9999 */
enum { CLOCK_TEXT_MAX = 32 };
void clock_format_utc(int64_t wall_ms, char out[CLOCK_TEXT_MAX]);

#endif
