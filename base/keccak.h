/* base/keccak.h: Keccak-256, the network's hash (padding 0x01, not SHA-3's 0x06).
 * Fed as bytes arrive, so nothing has to run over a whole segment at once.
 * Source: protocol video.md 16, vectors in tests/vectors/. Threads: pure. */
#ifndef LEAT_BASE_KECCAK_H
#define LEAT_BASE_KECCAK_H

#include "base/slice.h"

struct hash {
    uint8_t b[32];
};

struct keccak {
    uint64_t state[25];
    uint8_t block[136];
    size_t fill;
};

void keccak_init(struct keccak *k);
void keccak_add(struct keccak *k, struct slice bytes);
struct hash keccak_done(struct keccak *k); /* k may be used again after keccak_init */
struct hash keccak_of(struct slice bytes);

#endif
