/* Reads the files of tests/vectors/. Tests run in the root of the sources. */
#ifndef LEAT_TESTS_VECTOR_TEST_H
#define LEAT_TESTS_VECTOR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"

static inline void vector_read(struct buf *out, const char *name, const char *ending)
{
    char *path = xasprintf("tests/vectors/%s%s", name, ending);
    FILE *f = fopen(path, "rb");
    size_t got = 1;

    if (!f)
        fail_msg("%s cannot be read", path);
    buf_init(out, 1024 * 1024);
    while (got > 0) {
        uint8_t *to = buf_reserve(out, 4096);

        assert_non_null(to);
        got = fread(to, 1, 4096, f);
        out->n += got;
    }
    fclose(f);
    free(path);
}

static inline json_t *vector_json(const char *name)
{
    struct buf text;
    struct err err;
    json_t *root;

    vector_read(&text, name, ".json");
    root = json_parse(buf_slice(&text), &err);
    if (!root)
        fail_msg("%s: %s", name, err.text);
    buf_cleanup(&text);
    return root;
}

#endif
