#include "tests/unit/unit.h"

#include <stdlib.h>

#include "base/buf.h"

/* A size that no machine has is to be answered with NULL by the sanitizers' malloc as well. */
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

__attribute__((visibility("default"))) const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void writes_what_it_is_told(void **state)
{
    static const uint8_t want[] = {1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   0xff,
                                   0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8, 0x44, 0x33, 0x22, 0x11,
                                   'x',  'y',  '0',  '0',  'a',  'f',  'n',  '=',  '7'};
    struct buf b;

    buf_init(&b, 1000);
    buf_u8(&b, 1);
    buf_be16(&b, 0x0203);
    buf_be24(&b, 0xff040506); /* only the low three bytes */
    buf_be32(&b, 0x0708090a);
    buf_be64(&b, 0xfffefdfcfbfaf9f8);
    buf_le32(&b, 0x11223344);
    buf_str(&b, "x");
    buf_add_slice(&b, SLICE_LIT("y"));
    buf_hex(&b, SLICE_LIT("\x00\xaf"));
    buf_printf(&b, "n=%d", 7);
    assert_true(buf_ok(&b));
    assert_int_equal(b.n, sizeof(want));
    assert_memory_equal(b.p, want, sizeof(want));
    buf_cleanup(&b);
    assert_int_equal(b.n, 0);
}

static void ceiling_is_exact_and_failure_sticks(void **state)
{
    for (size_t max = 0; max < 600; max += 7) {
        struct buf b;

        buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            buf_u8(&b, (uint8_t)i);
        assert_true(buf_ok(&b));
        assert_int_equal(b.n, max);
        buf_u8(&b, 1);
        assert_false(buf_ok(&b));
        assert_int_equal(b.n, max);
        assert_string_equal(buf_cstr(&b), "");
        buf_clear(&b);
        assert_true(buf_ok(&b));
        buf_add(&b, NULL, 0);
        assert_true(buf_ok(&b));
        buf_cleanup(&b);
    }
}

static void write_beyond_ceiling_writes_nothing(void **state)
{
    struct buf b;

    buf_init(&b, 5);
    buf_str(&b, "abc");
    buf_str(&b, "def");
    buf_str(&b, "g"); /* would fit, but what follows a gap is wrong */
    assert_false(buf_ok(&b));
    assert_slice(buf_slice(&b), "abc");
    buf_cleanup(&b);
}

static void sizes_that_wrap_are_refused(void **state)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, SIZE_MAX / 2 + 1};
    uint8_t byte = 0;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf b;

        buf_init(&b, 100);
        buf_u8(&b, 1);
        assert_null(buf_reserve(&b, sizes[i]));
        assert_false(buf_ok(&b));
        buf_clear(&b);
        buf_hex(&b, slice_of(&byte, sizes[i]));
        assert_false(buf_ok(&b));
        buf_cleanup(&b);
    }
}

static void memory_that_is_not_there_is_refused(void **state)
{
    struct buf b;

    buf_init(&b, SIZE_MAX);
    buf_str(&b, "kept");
    assert_null(buf_reserve(&b, SIZE_MAX / 4 - 100));
    assert_false(buf_ok(&b));
    assert_slice(buf_slice(&b), "kept");
    buf_cleanup(&b);
}

static void formatting_at_every_boundary(void **state)
{
    char text[1200];

    memset(text, 'x', sizeof(text));
    for (size_t n = 0; n < sizeof(text) - 1; n += 13) {
        struct buf b;

        buf_init(&b, n);
        buf_printf(&b, "%.*s", (int)n, text);
        assert_true(buf_ok(&b));
        assert_int_equal(b.n, n);
        assert_int_equal(strlen(buf_cstr(&b)), n);
        buf_printf(&b, "!");
        assert_false(buf_ok(&b));
        buf_cleanup(&b);
    }
}

static void consuming(void **state)
{
    struct buf b;

    buf_init(&b, 100);
    buf_consume(&b, 0);
    buf_str(&b, "abcdef");
    buf_consume(&b, 2);
    assert_slice(buf_slice(&b), "cdef");
    buf_str(&b, "g");
    assert_string_equal(buf_cstr(&b), "cdefg");
    buf_consume(&b, 99);
    assert_int_equal(b.n, 0);
    assert_string_equal(buf_cstr(&b), "");
    buf_cleanup(&b);
}

static void taking(void **state)
{
    struct buf b;
    size_t n;
    uint8_t *p;

    buf_init(&b, 100);
    p = buf_take(&b, &n);
    assert_int_equal(n, 0);
    free(p);
    buf_str(&b, "abc");
    p = buf_take(&b, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(p, "abc", 3);
    free(p);
    assert_int_equal(b.n, 0);
    buf_str(&b, "new");
    assert_string_equal(buf_cstr(&b), "new");
    buf_cleanup(&b);
}

static void growth_doubles(void **state)
{
    struct buf b;
    int moves = 0;
    size_t cap = 0;

    buf_init(&b, 1 << 24);
    for (int i = 0; i < 1 << 20; i++) {
        buf_u8(&b, 0);
        moves += b.cap != cap;
        cap = b.cap;
    }
    assert_true(moves <= 16);
    buf_cleanup(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_it_is_told),
        cmocka_unit_test(ceiling_is_exact_and_failure_sticks),
        cmocka_unit_test(write_beyond_ceiling_writes_nothing),
        cmocka_unit_test(sizes_that_wrap_are_refused),
        cmocka_unit_test(memory_that_is_not_there_is_refused),
        cmocka_unit_test(formatting_at_every_boundary),
        cmocka_unit_test(consuming),
        cmocka_unit_test(taking),
        cmocka_unit_test(growth_doubles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
