#include "base/map.h"

#include <assert.h>
#include <stdlib.h>

#include "base/rand.h"

/* Entries stand in an array in insertion order; a table of indices finds them. A removed
 * entry leaves a hole (key NULL) until the next rebuild. */
struct entry {
    uint8_t *key;
    size_t key_n;
    uint64_t hash;
    void *value;
};

struct map {
    uint64_t seed[2];
    struct entry *entries;
    size_t n_entries, cap_entries, count;
    uint32_t *table; /* index + 1; 0 empty */
    size_t size;     /* power of two */
};

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = ROTL(v[1], 13) ^ v[0];
    v[0] = ROTL(v[0], 32);
    v[2] += v[3];
    v[3] = ROTL(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTL(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTL(v[1], 17) ^ v[2];
    v[2] = ROTL(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein): without the seed, nobody can choose collisions. */
static uint64_t sip_hash(const uint64_t seed[2], struct slice key)
{
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
                     seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)key.n << 56;

    for (size_t i = 0; i + 8 <= key.n; i += 8) {
        uint64_t m;

        memcpy(&m, key.p + i, 8);
        v[3] ^= m;
        sip_round(v);
        sip_round(v);
        v[0] ^= m;
    }
    for (size_t i = key.n & ~(size_t)7; i < key.n; i++)
        last |= (uint64_t)key.p[i] << (8 * (i & 7));
    v[3] ^= last;
    sip_round(v);
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct map *map_new(void)
{
    struct map *m = xcalloc(1, sizeof(*m));

    rand_bytes(m->seed, sizeof(m->seed));
    return m;
}

void map_free(struct map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_entries; i++)
        free(m->entries[i].key);
    free(m->entries);
    free(m->table);
    free(m);
}

/* The table slot of the key, or where it would go; NULL in an empty map. */
static uint32_t *slot_of(const struct map *m, struct slice key, uint64_t hash)
{
    if (!m->size)
        return NULL;
    for (size_t i = hash & (m->size - 1);; i = (i + 1) & (m->size - 1)) {
        const struct entry *e = m->table[i] ? &m->entries[m->table[i] - 1] : NULL;

        if (!e)
            return &m->table[i];
        if (e->key && e->hash == hash && slice_eq(slice_of(e->key, e->key_n), key))
            return &m->table[i];
    }
}

static struct entry *find(const struct map *m, struct slice key)
{
    uint32_t *slot = slot_of(m, key, sip_hash(m->seed, key));

    return slot && *slot ? &m->entries[*slot - 1] : NULL;
}

/* Drops holes and sizes the table so that it stays at most half full. */
static void rebuild(struct map *m)
{
    size_t n = 0, size = 16;

    for (size_t i = 0; i < m->n_entries; i++)
        if (m->entries[i].key)
            m->entries[n++] = m->entries[i];
    m->n_entries = n;
    assert(n < UINT32_MAX / 4);
    while (size < 4 * (n + 1))
        size *= 2;
    free(m->table);
    m->table = xcalloc(size, sizeof(*m->table));
    m->size = size;
    m->cap_entries = size / 2;
    m->entries = xrealloc(m->entries, m->cap_entries * sizeof(*m->entries));
    for (size_t i = 0; i < n; i++)
        *slot_of(m, slice_of(m->entries[i].key, m->entries[i].key_n),
                 m->entries[i].hash) = (uint32_t)i + 1;
}

void *map_get(const struct map *m, struct slice key)
{
    struct entry *e = find(m, key);

    return e ? e->value : NULL;
}

void *map_put(struct map *m, struct slice key, void *value)
{
    struct entry *e = find(m, key);
    void *old = e ? e->value : NULL;
    uint64_t hash;

    if (e) {
        e->value = value;
        return old;
    }
    if (m->n_entries == m->cap_entries)
        rebuild(m);
    hash = sip_hash(m->seed, key);
    *slot_of(m, key, hash) = (uint32_t)m->n_entries + 1;
    m->entries[m->n_entries++] = (struct entry){
        .key = (uint8_t *)slice_dup(key), .key_n = key.n, .hash = hash, .value = value};
    m->count++;
    return NULL;
}

void *map_remove(struct map *m, struct slice key)
{
    struct entry *e = find(m, key);
    void *old = e ? e->value : NULL;

    if (!e)
        return NULL;
    free(e->key);
    e->key = NULL; /* its slot keeps pointing here, so that probes go on past it */
    e->value = NULL;
    m->count--;
    return old;
}

size_t map_count(const struct map *m)
{
    return m->count;
}

bool map_next(const struct map *m, size_t *at, struct slice *key, void **value)
{
    while (*at < m->n_entries) {
        const struct entry *e = &m->entries[(*at)++];

        if (!e->key)
            continue;
        if (key)
            *key = slice_of(e->key, e->key_n);
        if (value)
            *value = e->value;
        return true;
    }
    return false;
}
