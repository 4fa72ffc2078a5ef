#include "base/keccak.h"

#include <endian.h>
#include <nettle/sha3.h>

/* nettle's SHA-3 pads with 0x06 and cannot be told otherwise; its permutation can be used. */
static void absorb(struct keccak *k)
{
    struct sha3_state s;

    for (size_t i = 0; i < sizeof(k->block) / 8; i++) {
        uint64_t word;

        memcpy(&word, k->block + 8 * i, 8);
        k->state[i] ^= le64toh(word);
    }
    memcpy(s.a, k->state, sizeof(s.a));
    sha3_permute(&s);
    memcpy(k->state, s.a, sizeof(s.a));
    k->fill = 0;
}

void keccak_init(struct keccak *k)
{
    memset(k, 0, sizeof(*k));
}

void keccak_add(struct keccak *k, struct slice bytes)
{
    while (bytes.n) {
        size_t n = MIN(bytes.n, sizeof(k->block) - k->fill);

        memcpy(k->block + k->fill, bytes.p, n);
        k->fill += n;
        bytes = slice_skip(bytes, n);
        if (k->fill == sizeof(k->block))
            absorb(k);
    }
}

struct hash keccak_done(struct keccak *k)
{
    struct hash out;

    memset(k->block + k->fill, 0, sizeof(k->block) - k->fill);
    k->block[k->fill] = 0x01;
    k->block[sizeof(k->block) - 1] |= 0x80;
    absorb(k);
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
