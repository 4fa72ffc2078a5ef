#include "tests/unit/unit.h"

#include <stdio.h>

#include "base/map.h"

enum { MANY = 100000 };

/* Values only have to be different pointers. */
static char values[MANY + 1];

static struct slice key_of(int i, char text[16])
{
    return slice_of(text, (size_t)snprintf(text, 16, "key-%d", i));
}

static void put_get_replace_remove(void **state)
{
    struct map *m = map_new();

    assert_null(map_get(m, SLICE_LIT("a")));
    assert_null(map_remove(m, SLICE_LIT("a")));
    assert_null(map_put(m, SLICE_LIT("a"), &values[1]));
    assert_null(map_put(m, SLICE_LIT("b"), &values[2]));
    assert_ptr_equal(map_put(m, SLICE_LIT("a"), &values[3]), &values[1]);
    assert_int_equal(map_count(m), 2);
    assert_ptr_equal(map_get(m, SLICE_LIT("a")), &values[3]);
    assert_ptr_equal(map_remove(m, SLICE_LIT("a")), &values[3]);
    assert_null(map_remove(m, SLICE_LIT("a")));
    assert_null(map_get(m, SLICE_LIT("a")));
    assert_int_equal(map_count(m), 1);
    map_free(m);
    map_free(NULL);
}

static void keys_are_bytes(void **state)
{
    static const struct slice keys[] = {
        {(const uint8_t *)"", 0},         {(const uint8_t *)"\0", 1},
        {(const uint8_t *)"\0\0", 2},     {(const uint8_t *)"a\0b", 3},
        {(const uint8_t *)"a\0c", 3},     {(const uint8_t *)"\xff", 1},
        {(const uint8_t *)"12345678", 8}, {(const uint8_t *)"123456789", 9},
    };
    struct map *m = map_new();

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_null(map_put(m, keys[i], &values[i]));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_ptr_equal(map_get(m, keys[i]), &values[i]);
    assert_ptr_equal(map_get(m, slice_of(NULL, 0)), &values[0]);
    map_free(m);
}

static void keys_are_copied(void **state)
{
    struct map *m = map_new();
    char text[] = "key";

    map_put(m, slice_str(text), &values[1]);
    text[0] = 'K';
    assert_ptr_equal(map_get(m, SLICE_LIT("key")), &values[1]);
    map_free(m);
}

static void many_keys(void **state)
{
    struct map *m = map_new();
    char text[16];

    for (int i = 0; i < MANY; i++)
        assert_null(map_put(m, key_of(i, text), &values[i]));
    assert_int_equal(map_count(m), MANY);
    for (int i = 0; i < MANY; i += 3)
        assert_ptr_equal(map_remove(m, key_of(i, text)), &values[i]);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(map_get(m, key_of(i, text)), i % 3 ? &values[i] : NULL);
    for (int i = 0; i < MANY; i += 3)
        assert_null(map_put(m, key_of(i, text), &values[i]));
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(map_get(m, key_of(i, text)), &values[i]);
    assert_null(map_get(m, key_of(MANY, text)));
    map_free(m);
}

static void walks_in_order_and_may_remove_what_it_got(void **state)
{
    struct map *m = map_new();
    size_t at = 0, seen = 0;
    struct slice key;
    char text[16];
    void *value;

    for (int i = 0; i < MANY; i++)
        map_put(m, key_of(i, text), &values[i]);
    map_put(m, key_of(0, text), &values[MANY]); /* replacing keeps the place */
    while (map_next(m, &at, &key, &value)) {
        assert_true(slice_eq(key, key_of((int)seen, text)));
        assert_ptr_equal(value, seen ? &values[seen] : &values[MANY]);
        if (seen % 2)
            assert_ptr_equal(map_remove(m, key), value); /* the key is the map's own text */
        seen++;
    }
    assert_int_equal(seen, MANY);
    assert_int_equal(map_count(m), MANY / 2);
    for (at = 0, seen = 0; map_next(m, &at, NULL, &value); seen += 2)
        assert_ptr_equal(value, seen ? &values[seen] : &values[MANY]);
    for (at = 0; map_next(m, &at, &key, NULL);)
        map_remove(m, key);
    assert_int_equal(map_count(m), 0);
    at = 0;
    assert_false(map_next(m, &at, &key, &value));
    map_free(m);
}

/* Sessions come and go for weeks: what was removed may not take room or time for ever. */
static void coming_and_going_keeps_order(void **state)
{
    struct map *m = map_new();
    size_t at = 0;
    char text[16];
    void *value;

    for (int i = 0; i < 10; i++)
        map_put(m, key_of(i, text), &values[i]);
    for (int i = 10; i < MANY; i++) {
        assert_null(map_put(m, key_of(i, text), &values[i]));
        assert_ptr_equal(map_remove(m, key_of(i - 10, text)), &values[i - 10]);
    }
    assert_int_equal(map_count(m), 10);
    for (int i = MANY - 10; map_next(m, &at, NULL, &value); i++)
        assert_ptr_equal(value, &values[i]);
    assert_true(at < 1000); /* holes were closed */
    map_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_get_replace_remove),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(keys_are_copied),
        cmocka_unit_test(many_keys),
        cmocka_unit_test(walks_in_order_and_may_remove_what_it_got),
        cmocka_unit_test(coming_and_going_keeps_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
