/* base/rand.h: unpredictable bytes from the kernel. */
#ifndef LEAT_BASE_RAND_H
#define LEAT_BASE_RAND_H

#include "base/base.h"

void rand_bytes(void *out, size_t n);
uint64_t rand_u64(void);
double rand_unit(void);                 /* [0, 1) */
void rand_hex(char *out, size_t bytes); /* writes 2 * bytes digits and a NUL */

#endif
