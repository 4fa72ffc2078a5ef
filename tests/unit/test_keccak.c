#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/keccak.h"
#include "base/text.h"

static void assert_hash(struct hash h, const char *want)
{
    struct buf b;

    buf_init(&b, 64);
    buf_hex(&b, slice_of(h.b, sizeof(h.b)));
    assert_string_equal(buf_cstr(&b), want);
    buf_cleanup(&b);
}

/* The empty text and "abc" are well-known vectors, "hello" is of the protocol's, video.md 16. */
static void vectors(void **state)
{
    static const struct {
        const char *text, *hash;
    } cases[] = {
        {"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"},
        {"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"},
        {"hello", "1c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36deac8"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_hash(keccak_of(slice_str(cases[i].text)), cases[i].hash);
}

/* A segment's flattened metadata: manifest id, number as 32 bytes, media hash, profiles; then
 * what is signed: the hash of "\x19Ethereum Signed Message:\n32" and that. */
static void segment_vector(void **state)
{
    struct hash media = keccak_of(SLICE_LIT("hello")), flat;
    static const uint8_t zeros[31];
    struct buf b;

    buf_init(&b, 1000);
    buf_str(&b, "movie");
    buf_add(&b, zeros, sizeof(zeros));
    buf_u8(&b, 7);
    buf_add(&b, media.b, sizeof(media.b));
    buf_str(&b, "c0a6517a93c717e7");
    assert_int_equal(b.n, 85);
    flat = keccak_of(buf_slice(&b));
    assert_hash(flat, "11f18465c7d0b9a239f8c18a90a4de27ecf084094201b3ff22fb3366834bfcfc");
    buf_clear(&b);
    buf_str(&b, "\x19"
                "Ethereum Signed Message:\n32");
    buf_add(&b, flat.b, sizeof(flat.b));
    assert_hash(keccak_of(buf_slice(&b)),
                "26ae944d15954305208b4649e0fb199da20d86a7981ac29974b18244126e910e");
    buf_cleanup(&b);
}

/* However the bytes arrive, around every block boundary. */
static void streaming(void **state)
{
    uint8_t in[3 * 136 + 2];

    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 7);
    for (size_t n = 0; n <= sizeof(in); n++) {
        struct hash whole = keccak_of(slice_of(in, n));

        for (size_t step = 1; step <= 137; step += step < 134 ? 19 : 1) {
            struct keccak k;
            struct hash h;

            keccak_init(&k);
            for (size_t at = 0; at < n; at += step)
                keccak_add(&k, slice_of(in + at, MIN(step, n - at)));
            keccak_add(&k, slice_of(NULL, 0));
            h = keccak_done(&k);
            assert_memory_equal(h.b, whole.b, sizeof(h.b));
        }
    }
}

static void state_may_be_used_again(void **state)
{
    struct keccak k;

    for (int i = 0; i < 2; i++) {
        keccak_init(&k);
        keccak_add(&k, SLICE_LIT("abc"));
        assert_hash(keccak_done(&k),
                    "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
    }
}

/* Exactly one block, one byte less and more: the two padding bits share a byte or not. The
 * hashes of so many letters "a" come from a second implementation, written in Python from the
 * specification's reference code. */
static void padding(void **state)
{
    static const struct {
        size_t n;
        const char *hash;
    } cases[] = {
        {135, "34367dc248bbd832f4e3e69dfaac2f92638bd0bbd18f2912ba4ef454919cf446"},
        {136, "a6c4d403279fe3e0af03729caada8374b5ca54d8065329a3ebcaeb4b60aa386e"},
        {137, "d869f639c7046b4929fc92a4d988a8b22c55fbadb802c0c66ebcd484f1915f39"},
    };
    char letters[137];

    memset(letters, 'a', sizeof(letters));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_hash(keccak_of(slice_of(letters, cases[i].n)), cases[i].hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),   cmocka_unit_test(segment_vector),
        cmocka_unit_test(streaming), cmocka_unit_test(state_may_be_used_again),
        cmocka_unit_test(padding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
