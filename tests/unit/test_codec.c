/* The client of leat-codec with the real program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codec/codec.h"

static void a_missing_program_is_told_with_its_place(void **state)
{
    struct loop *l = loop_new();
    struct codec_conf conf = {.program = "/nonexistent/leat-codec"};
    struct err err;

    assert_null(codec_new(l, &conf, &err));
    assert_non_null(strstr(err.text, "/nonexistent/leat-codec"));
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_program_is_told_with_its_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
