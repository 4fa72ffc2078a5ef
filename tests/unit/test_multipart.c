#include "vector_test.h"

#include "wire/multipart.h"

static enum rc parse(const char *type, const char *body, struct multipart_part *parts, size_t *n,
                     struct err *err)
{
    return multipart_parse(slice_str(type), slice_str(body), parts, n, err);
}

static struct slice header(const struct multipart_part *p, const char *name)
{
    const struct http_headers h = {p->headers, p->n_headers};

    return http_header_get(&h, name);
}

/* The boundary of a recording stands in its headers. */
static char *recorded_type(const char *name)
{
    struct buf headers;
    char *line, *type;

    vector_read(&headers, name, "headers.txt");
    line = strstr(buf_cstr(&headers), "content-type: ");
    assert_non_null(line);
    type = xstrdup(line + strlen("content-type: "));
    type[strcspn(type, "\n")] = 0;
    buf_cleanup(&headers);
    return type;
}

/* Parts of a recording read, and written again as the bytes they were. */
static void check_recording(const char *name, const char *body_ending, const char *type,
                            const char *const headers[], size_t n_headers)
{
    struct multipart_part parts[MULTIPART_MAX_PARTS];
    struct buf body, again;
    const char *boundary = strstr(type, "boundary=") + strlen("boundary=");
    struct err err;
    size_t n;

    vector_read(&body, name, body_ending);
    if (multipart_parse(slice_str(type), buf_slice(&body), parts, &n, &err) != RC_OK)
        fail_msg("%s: %s", name, err.text);
    assert_int_equal(n, 2);
    buf_init(&again, 65536);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(parts[i].n_headers, n_headers);
        for (size_t k = 0; k < n_headers; k++)
            assert_true(slice_eq_str(parts[i].headers[k].name, headers[k]));
        multipart_part_head(&again, boundary, i == 0, parts[i].headers, parts[i].n_headers);
        buf_add_slice(&again, slice_sub(buf_slice(&body), parts[i].offset, parts[i].length));
    }
    multipart_end(&again, boundary);
    assert_true(slice_eq(buf_slice(&again), buf_slice(&body)));
    buf_cleanup(&again);
    buf_cleanup(&body);
}

static void recordings(void **state)
{
    static const char *const result[] = {"Content-Length", "Content-Type", "Pixels"};
    static const char *const answer[] = {"Content-Disposition", "Content-Length", "Content-Type",
                                         "Rendition-Name"};
    static const char *const results[] = {"offchain/transcode-results",
                                          "offchain/transcode-results-full",
                                          "offchain/transcode-results-mp4"};
    char *type, *path;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        path = xasprintf("%s.request-", results[i]);
        type = recorded_type(path);
        check_recording(results[i], ".request-body-cut.bin", type, result, ARRAY_LEN(result));
        free(type);
        free(path);
    }
    type = recorded_type("offchain/push-answer.");
    check_recording("offchain/push-answer", ".body-cut.bin", type, answer, ARRAY_LEN(answer));
    free(type);
}

static void bodies_of_every_kind(void **state)
{
    struct multipart_part p[MULTIPART_MAX_PARTS];
    const char *body =
        "--b\r\nA: 1\r\n\r\n\r\n--b\r\nContent-Length: 6\r\nX:  y \r\n\r\n--b\r\nz\r\n--b--\r\n";
    size_t n;

    (void)state;
    assert_int_equal(parse("Multipart/mixed; charset=x; Boundary=\"b\"", body, p, &n, NULL), RC_OK);
    assert_int_equal(n, 2);
    assert_int_equal(p[0].length, 0);
    assert_true(slice_eq_str(header(&p[0], "a"), "1"));
    assert_int_equal(p[1].length, 6); /* a boundary inside, which its length excludes */
    assert_memory_equal(body + p[1].offset, "--b\r\nz", 6);
    assert_true(slice_eq_str(header(&p[1], "x"), "y"));
    assert_int_equal(parse("multipart/mixed; boundary=b", "--b--", p, &n, NULL), RC_OK);
    assert_int_equal(n, 0);
}

/* A length that does not end at a boundary is not believed. */
static void wrong_lengths_are_searched(void **state)
{
    static const char *const lengths[] = {"0",  "2", "4", "999999", "18446744073709551615",
                                          "-1", "x"};
    struct multipart_part p[MULTIPART_MAX_PARTS];
    size_t n;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        char *body = xasprintf("--b\r\nContent-Length: %s\r\n\r\nabc\r\n--b--\r\n", lengths[i]);

        assert_int_equal(parse("multipart/mixed; boundary=b", body, p, &n, NULL), RC_OK);
        assert_int_equal(n, 1);
        assert_int_equal(p[0].length, 3);
        free(body);
    }
}

static void faults_are_named(void **state)
{
    static const struct {
        const char *type, *body, *text;
        enum rc rc;
    } rows[] = {
        {"", "", "mime: no media type", RC_UNSUPPORTED},
        {"video/mp2t", "", "no multipart type", RC_UNSUPPORTED},
        {"multipart/mixed", "--b--", "without a boundary", RC_BAD_INPUT},
        {"multipart/mixed; boundary=", "--b--", "boundary of 0 bytes", RC_BAD_INPUT},
        {"multipart/mixed; boundary=b", "", "part 0: no boundary begins it", RC_BAD_INPUT},
        {"multipart/mixed; boundary=b", "--c\r\n", "part 0: no boundary begins it", RC_BAD_INPUT},
        {"multipart/mixed; boundary=b", "--b", "without a line break", RC_BAD_INPUT},
        {"multipart/mixed; boundary=b", "--b\r\nA", "part 0: broken headers", RC_BAD_INPUT},
        {"multipart/mixed; boundary=b", "--b\r\nA\r\n\r\n", "part 0: broken headers", RC_BAD_INPUT},
        {"multipart/mixed; boundary=b", "--b\r\n\r\nabc", "part 0: no boundary ends it",
         RC_BAD_INPUT},
        {"multipart/mixed; boundary=b", "--b\r\n\r\nabc\r\n--b\r\n", "part 1: broken",
         RC_BAD_INPUT},
        {"multipart/mixed; boundary=b", "--b\r\n\r\nabc\r\n--bc\r\n", "line break", RC_BAD_INPUT},
    };
    struct multipart_part p[MULTIPART_MAX_PARTS];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {RC_OK, ""};
        size_t n;

        assert_int_equal(parse(rows[i].type, rows[i].body, p, &n, &err), rows[i].rc);
        if (!strstr(err.text, rows[i].text))
            fail_msg("%s: %s", rows[i].body, err.text);
    }
}

static enum rc parse_many(size_t parts, size_t headers, size_t boundary_n)
{
    struct multipart_part p[MULTIPART_MAX_PARTS];
    char boundary[128], type[256];
    struct buf body;
    enum rc rc;
    size_t n;

    memset(boundary, 'x', boundary_n);
    boundary[boundary_n] = 0;
    snprintf(type, sizeof(type), "multipart/mixed; boundary=%s", boundary);
    buf_init(&body, 65536);
    for (size_t i = 0; i < parts; i++) {
        struct http_header h[16];

        for (size_t k = 0; k < headers; k++)
            h[k] = (struct http_header){SLICE_LIT("N"), SLICE_LIT("v")};
        multipart_part_head(&body, boundary, i == 0, h, headers);
    }
    multipart_end(&body, boundary);
    rc = multipart_parse(slice_str(type), buf_slice(&body), p, &n, NULL);
    buf_cleanup(&body);
    return rc;
}

static void counts_meet_their_limits(void **state)
{
    (void)state;
    assert_int_equal(parse_many(MULTIPART_MAX_PARTS, MULTIPART_MAX_HEADERS, 70), RC_OK);
    assert_int_equal(parse_many(MULTIPART_MAX_PARTS + 1, 1, 70), RC_LIMIT);
    assert_int_equal(parse_many(1, MULTIPART_MAX_HEADERS + 1, 70), RC_BAD_INPUT);
    assert_int_equal(parse_many(1, 1, 71), RC_BAD_INPUT);
}

static void boundaries_are_the_networks(void **state)
{
    char a[2 * MULTIPART_BOUNDARY_BYTES + 1], b[sizeof(a)];

    (void)state;
    multipart_boundary(a);
    multipart_boundary(b);
    assert_int_equal(strlen(a), 20);
    assert_int_equal(strspn(a, "0123456789abcdef"), 20);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recordings),
        cmocka_unit_test(bodies_of_every_kind),
        cmocka_unit_test(wrong_lengths_are_searched),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(counts_meet_their_limits),
        cmocka_unit_test(boundaries_are_the_networks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
