#include "base/rand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void rand_bytes(void *out, size_t n)
{
    uint8_t *p = out;

    while (n) {
        ssize_t got = getrandom(p, MIN(n, (size_t)256), 0);

        if (got < 0 && errno != EINTR)
            abort(); /* without randomness no token is safe */
        if (got > 0) {
            p += got;
            n -= (size_t)got;
        }
    }
}

uint64_t rand_u64(void)
{
    uint64_t v;

    rand_bytes(&v, sizeof(v));
    return v;
}

double rand_unit(void)
{
    return (double)(rand_u64() >> 11) * 0x1.0p-53;
}

void rand_hex(char *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t b;

        rand_bytes(&b, 1);
        snprintf(out + 2 * i, 3, "%02x", b);
    }
    out[2 * bytes] = '\0';
}
