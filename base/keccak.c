#include "base/keccak.h"

#include <endian.h>
#include <nettle/sha3.h>

enum { BLOCK_BYTES = sizeof(((struct keccak *)0)->block) };

_Static_assert(sizeof(struct sha3_state) == sizeof(((struct keccak *)0)->state),
               "the library's state is the 25 lanes and nothing else");

/* nettle's SHA-3 pads with 0x06 and cannot be told otherwise; its permutation can be used. */
static void absorb(struct keccak *k, const uint8_t block[BLOCK_BYTES])
{
    for (size_t i = 0; i < BLOCK_BYTES / 8; i++) {
        uint64_t word;

        memcpy(&word, block + 8 * i, 8);
        k->state[i] ^= le64toh(word);
    }
    sha3_permute((struct sha3_state *)k->state);
}

void keccak_init(struct keccak *k)
{
    memset(k, 0, sizeof(*k));
}

void keccak_add(struct keccak *k, struct slice bytes)
{
    while (bytes.n) {
        size_t n = MIN(bytes.n, BLOCK_BYTES - k->fill);

        if (n == BLOCK_BYTES) { /* whole blocks are taken where they stand */
            absorb(k, bytes.p);
        } else {
            memcpy(k->block + k->fill, bytes.p, n);
            k->fill += n;
        }
        if (k->fill == BLOCK_BYTES) {
            absorb(k, k->block);
            k->fill = 0;
        }
        bytes = slice_skip(bytes, n);
    }
}

struct hash keccak_done(struct keccak *k)
{
    struct hash out;

    memset(k->block + k->fill, 0, sizeof(k->block) - k->fill);
    k->block[k->fill] = 0x01;
    k->block[sizeof(k->block) - 1] |= 0x80;
    absorb(k, k->block);
    for (size_t i = 0; i < 4; i++) {
        uint64_t word = htole64(k->state[i]);

        memcpy(out.b + 8 * i, &word, 8);
    }
    return out;
}

struct hash keccak_of(struct slice bytes)
{
    struct keccak k;

    keccak_init(&k);
    keccak_add(&k, bytes);
    return keccak_done(&k);
}
