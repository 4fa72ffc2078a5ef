#include "base/keccak.h"

#include <endian.h>

enum { BLOCK_BYTES = sizeof(((struct keccak *)0)->block), ROUNDS = 24 };

/* --- the permutation Keccak-f[1600] (FIPS 202, 3.2 and 3.3) ---
 *
 * Ours, because every byte of media goes through it on both sides: libraries either pad as SHA-3
 * only or are a third slower (doc/dependencies.md). */

static const uint64_t round_constants[ROUNDS] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t rotated(uint64_t lane, int bits)
{
    return bits ? lane << bits | lane >> (64 - bits) : lane;
}

/* One row of the next state: theta's column sums d, rho and pi say which lane comes where, turned
 * by how much; chi mixes the row. */
struct row_source {
    int lane[5], turn[5];
};

static const struct row_source rows[5] = {
    {{0, 6, 12, 18, 24}, {0, 44, 43, 21, 14}}, {{3, 9, 10, 16, 22}, {28, 20, 3, 45, 61}},
    {{1, 7, 13, 19, 20}, {1, 6, 25, 8, 18}},   {{4, 5, 11, 17, 23}, {27, 36, 10, 15, 56}},
    {{2, 8, 14, 15, 21}, {62, 55, 39, 41, 2}},
};

INLINE void one_round(const uint64_t a[25], uint64_t next[25], uint64_t constant)
{
    uint64_t c[5], d[5];

#pragma GCC unroll 5
    for (int x = 0; x < 5; x++)
        c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
#pragma GCC unroll 5
    for (int x = 0; x < 5; x++)
        d[x] = c[(x + 4) % 5] ^ rotated(c[(x + 1) % 5], 1);
#pragma GCC unroll 5
    for (int y = 0; y < 5; y++) {
        uint64_t b[5];

#pragma GCC unroll 5
        for (int x = 0; x < 5; x++)
            b[x] = rotated(a[rows[y].lane[x]] ^ d[rows[y].lane[x] % 5], rows[y].turn[x]);
#pragma GCC unroll 5
        for (int x = 0; x < 5; x++)
            next[5 * y + x] = b[x] ^ (~b[(x + 1) % 5] & b[(x + 2) % 5]);
    }
    next[0] ^= constant;
}

INLINE void permute_with(uint64_t state[25])
{
    uint64_t a[25], b[25];

    memcpy(a, state, sizeof(a));
    for (int i = 0; i < ROUNDS; i += 2) {
        one_round(a, b, round_constants[i]);
        one_round(b, a, round_constants[i + 1]);
    }
    memcpy(state, a, sizeof(a));
}

#ifdef __x86_64__
/* With "and not" and rotation into another register a sixth is saved. */
__attribute__((target("bmi,bmi2"))) static void permute_bmi(uint64_t state[25])
{
    permute_with(state);
}

static void permute(uint64_t state[25])
{
    if (__builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
        permute_bmi(state);
    else
        permute_with(state);
}
#else
static void permute(uint64_t state[25])
{
    permute_with(state);
}
#endif

/* --- the sponge: Keccak-256 as Ethereum has it, padded with 0x01 where SHA-3 has 0x06 --- */

static void absorb(struct keccak *k, const uint8_t block[BLOCK_BYTES])
{
    for (size_t i = 0; i < BLOCK_BYTES / 8; i++) {
        uint64_t word;

        memcpy(&word, block + 8 * i, 8);
        k->state[i] ^= le64toh(word);
    }
    permute(k->state);
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
