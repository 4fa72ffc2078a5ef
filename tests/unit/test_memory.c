/* alloc, arena, blob, list: who owns memory, and until when. */
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/blob.h"
#include "base/list.h"

/* A size that no machine has is to be answered with NULL by the sanitizers' malloc as well. */
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

__attribute__((visibility("default"))) const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void checked_sizes(void **state)
{
    static const struct {
        size_t a, b;
        bool mul, add;
    } cases[] = {
        {0, SIZE_MAX, true, true},          {1, SIZE_MAX, true, false},
        {2, SIZE_MAX / 2, true, true},      {2, SIZE_MAX / 2 + 1, false, true},
        {SIZE_MAX, SIZE_MAX, false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t out = 5;

        assert_int_equal(size_mul(&out, cases[i].a, cases[i].b), cases[i].mul);
        assert_true(cases[i].mul ? out == cases[i].a * cases[i].b : out == 5);
        out = 5;
        assert_int_equal(size_add(&out, cases[i].a, cases[i].b), cases[i].add);
        assert_true(cases[i].add ? out == cases[i].a + cases[i].b : out == 5);
    }
}

static void heap_texts(void **state)
{
    char three[] = {'a', 'b', 'c'}; /* no NUL: reading on would be seen by ASan */
    char *s = xstrndup(three, 3);

    assert_string_equal(s, "abc");
    free(s);
    s = xstrndup("ab", 100);
    assert_string_equal(s, "ab");
    free(s);
    s = xstrdup("");
    assert_string_equal(s, "");
    free(s);
    s = xasprintf("%s-%d", "n", 4);
    assert_string_equal(s, "n-4");
    free(s);
    free(xrealloc(xmalloc(0), 0));
    free(xcalloc(0, 8));
}

static void sizes_of_peers_are_refused(void **state)
{
    void *p = try_malloc(10, 10);

    assert_non_null(p);
    free(p);
    assert_null(try_malloc(11, 10));
    p = try_malloc(0, 0);
    assert_non_null(p);
    free(p);
    assert_null(try_malloc(SIZE_MAX, SIZE_MAX));
}

static void arena_gives_zeroed_aligned_memory(void **state)
{
    struct arena *a = arena_new(1 << 20);

    for (size_t n = 0; n < 9000; n = n * 2 + 1) {
        uint8_t *p = arena_alloc(a, n);

        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    assert_string_equal(arena_strdup(a, "text"), "text");
    assert_string_equal(arena_text(a, SLICE_LIT("slice")), "slice");
    assert_string_equal(arena_text(a, slice_of(NULL, 0)), "");
    assert_string_equal(arena_printf(a, "%s=%d", "n", 5), "n=5");
    arena_free(a);
    arena_free(NULL);
}

static void arena_keeps_to_its_ceiling(void **state)
{
    static const size_t too_much[] = {101, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX / 2};
    struct arena *a = arena_new(100);
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(too_much); i++)
        assert_null(arena_try_alloc(a, too_much[i]));
    assert_non_null(arena_try_alloc(a, 100));
    assert_null(arena_try_alloc(a, 1));
    arena_free(a);

    /* Padding is memory too: tiny pieces may not take many times the ceiling. */
    a = arena_new(1600);
    while (arena_try_alloc(a, 1))
        n++;
    assert_in_range(n, 50, 200);
    arena_free(a);

    a = arena_new(SIZE_MAX);
    assert_null(arena_try_alloc(a, SIZE_MAX));
    assert_non_null(arena_try_alloc(a, 1));
    arena_free(a);
}

static void blob_lives_as_long_as_a_holder(void **state)
{
    size_t before = blob_total_bytes();
    struct blob *a = blob_new(5), *b, *none = NULL;

    memcpy(blob_bytes(a), "hello", 5);
    b = blob_ref(a);
    assert_int_equal(blob_total_bytes() - before, 5);
    blob_unref(&a);
    assert_null(a);
    assert_slice(blob_slice(b), "hello");
    blob_unref(&b);
    assert_int_equal(blob_total_bytes(), before);
    blob_unref(&none);
    assert_null(blob_ref(NULL));
    assert_int_equal(blob_slice(NULL).n, 0);
}

static void views_keep_their_parent(void **state)
{
    static const struct {
        size_t from, n;
        const char *want;
    } cases[] = {
        {0, 5, "hello"},          {1, 3, "ell"},        {4, 9, "o"}, {5, 1, ""},
        {SIZE_MAX, SIZE_MAX, ""}, {2, SIZE_MAX, "llo"},
    };
    size_t before = blob_total_bytes();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct blob *parent = blob_copy(SLICE_LIT("hello"));
        struct blob *view = blob_sub(parent, cases[i].from, cases[i].n);
        struct blob *inner = blob_sub(view, 0, 1);

        blob_unref(&parent);
        assert_int_equal(blob_total_bytes() - before, 5); /* views are not counted */
        assert_slice(blob_slice(view), cases[i].want);
        blob_unref(&view);
        assert_true(slice_eq(blob_slice(inner), slice_sub(slice_str(cases[i].want), 0, 1)));
        blob_unref(&inner);
        assert_int_equal(blob_total_bytes(), before);
    }
}

static void views_of_views_do_not_pile_up(void **state)
{
    struct blob *b = blob_copy(SLICE_LIT("hello"));

    /* Freed one in the other, this many would end the stack. */
    for (int i = 0; i < 1000000; i++) {
        struct blob *view = blob_sub(b, 0, 5);

        blob_unref(&b);
        b = view;
    }
    assert_slice(blob_slice(b), "hello");
    blob_unref(&b);
}

static void blob_takes_a_buf(void **state)
{
    size_t before = blob_total_bytes();
    struct blob *blob;
    struct buf b;

    buf_init(&b, 1000);
    blob = blob_of_buf(&b);
    assert_int_equal(blob->n, 0);
    blob_unref(&blob);
    buf_str(&b, "segment");
    blob = blob_of_buf(&b);
    assert_int_equal(b.n, 0);
    assert_null(b.p);
    assert_slice(blob_slice(blob), "segment");
    assert_int_equal(blob_total_bytes() - before, 7);
    assert_ptr_equal(blob_bytes(blob), blob->p);
    blob_unref(&blob);
    assert_int_equal(blob_total_bytes(), before);
}

static void *hold_and_drop(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        struct blob *mine = blob_ref(arg), *view = blob_sub(mine, 1, 2);

        blob_unref(&mine);
        blob_unref(&view);
    }
    return NULL;
}

static void blobs_cross_threads(void **state)
{
    size_t before = blob_total_bytes();
    struct blob *b = blob_copy(SLICE_LIT("shared"));
    pthread_t t[4];

    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, hold_and_drop, b), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        pthread_join(t[i], NULL);
    assert_ptr_equal(blob_bytes(b), b->p); /* one reference is left */
    blob_unref(&b);
    assert_int_equal(blob_total_bytes(), before);
}

struct item {
    int id;
    struct list_node node;
};

static int order_of(struct list *l)
{
    int digits = 0;

    LIST_EACH (l, struct item, node, i)
        digits = digits * 10 + i->id;
    return digits;
}

static void lists(void **state)
{
    struct item a = {.id = 1}, b = {.id = 2}, c = {.id = 3};
    struct list l;

    list_init(&l);
    assert_true(list_is_empty(&l));
    assert_null(LIST_FIRST(&l, struct item, node));
    assert_null(LIST_LAST(&l, struct item, node));
    assert_int_equal(order_of(&l), 0);
    list_push(&l, &b.node);
    list_push_front(&l, &a.node);
    list_push(&l, &c.node);
    assert_int_equal(order_of(&l), 123);
    assert_int_equal(l.n, 3);
    assert_ptr_equal(LIST_FIRST(&l, struct item, node), &a);
    assert_ptr_equal(LIST_LAST(&l, struct item, node), &c);
    list_remove(&l, &b.node);
    list_remove(&l, &b.node);
    assert_int_equal(order_of(&l), 13);
    list_insert_before(&l, &c.node, &b.node);
    assert_int_equal(order_of(&l), 123);
    LIST_EACH (&l, struct item, node, i)
        if (i->id != 2)
            list_remove(&l, &i->node);
    assert_int_equal(order_of(&l), 2);
    assert_int_equal(l.n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checked_sizes),
        cmocka_unit_test(heap_texts),
        cmocka_unit_test(sizes_of_peers_are_refused),
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(arena_keeps_to_its_ceiling),
        cmocka_unit_test(blob_lives_as_long_as_a_holder),
        cmocka_unit_test(views_keep_their_parent),
        cmocka_unit_test(views_of_views_do_not_pile_up),
        cmocka_unit_test(blob_takes_a_buf),
        cmocka_unit_test(blobs_cross_threads),
        cmocka_unit_test(lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
