/* tests/unit/unit.h: cmocka with what it wants included first, and texts of slices. */
#ifndef LEAT_TESTS_UNIT_H
#define LEAT_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slice.h"

/* Of a slice that holds text. */
#define assert_slice(s, text)                                                                      \
    do {                                                                                           \
        struct slice slice_seen = (s);                                                             \
        if (!slice_eq_str(slice_seen, text))                                                       \
            fail_msg("\"%.*s\" seen, \"%s\" expected", SLICE_ARG(slice_seen), text);               \
    } while (0)

#endif
