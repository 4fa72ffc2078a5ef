#include "wire/multipart.h"

#include "base/rand.h"
#include "base/slice.h"

enum { MAX_BOUNDARY = 70 }; /* RFC 2046 5.1.1 */

void multipart_boundary(char out[2 * MULTIPART_BOUNDARY_BYTES + 1])
{
    rand_hex(out, MULTIPART_BOUNDARY_BYTES);
}

void multipart_part_head(struct buf *out, const char *boundary, bool first,
                         const struct http_header *headers, size_t n)
{
    buf_printf(out, "%s--%s\r\n", first ? "" : "\r\n", boundary);
    for (size_t i = 0; i < n; i++) {
        buf_add_slice(out, headers[i].name);
        buf_str(out, ": ");
        buf_add_slice(out, headers[i].value);
        buf_str(out, "\r\n");
    }
    buf_str(out, "\r\n");
}

void multipart_end(struct buf *out, const char *boundary)
{
    buf_printf(out, "\r\n--%s--\r\n", boundary);
}

/* boundary=xyz or boundary="xyz" */
static enum rc read_boundary(struct slice type, struct slice *out, struct err *err)
{
    struct slice field;

    if (!type.n)
        return err_set(err, RC_UNSUPPORTED, "mime: no media type");
    if (!slice_eq_nocase(slice_sub(type, 0, 10), "multipart/"))
        return err_set(err, RC_UNSUPPORTED, "mime: content type is no multipart type");
    while (slice_split(&type, ';', &field)) {
        field = slice_trim(field);
        if (!slice_eq_nocase(slice_sub(field, 0, 9), "boundary="))
            continue;
        field = slice_skip(field, 9);
        if (field.n >= 2 && field.p[0] == '"' && field.p[field.n - 1] == '"')
            field = slice_sub(field, 1, field.n - 2);
        if (field.n < 1 || field.n > MAX_BOUNDARY)
            return err_set(err, RC_BAD_INPUT, "boundary of %zu bytes, 1 to %d are expected",
                           field.n, MAX_BOUNDARY);
        *out = field;
        return RC_OK;
    }
    return err_set(err, RC_BAD_INPUT, "multipart without a boundary");
}

static bool take(struct slice *s, struct slice what)
{
    if (s->n < what.n || memcmp(s->p, what.p, what.n) != 0)
        return false;
    *s = slice_skip(*s, what.n);
    return true;
}

/* One header line; false at the empty line. */
static bool read_header(struct slice *s, struct multipart_part *part, bool *bad)
{
    const uint8_t *end = s->n ? memmem(s->p, s->n, "\r\n", 2) : NULL;
    struct slice line;
    size_t colon;

    if (!end) {
        *bad = true;
        return false;
    }
    line = slice_of(s->p, (size_t)(end - s->p));
    *s = slice_skip(*s, line.n + 2);
    if (!line.n)
        return false;
    colon = slice_find(line, ':');
    if (colon == line.n || part->n_headers == MULTIPART_MAX_HEADERS) {
        *bad = true;
        return false;
    }
    part->headers[part->n_headers].name = slice_trim(slice_sub(line, 0, colon));
    part->headers[part->n_headers++].value = slice_trim(slice_skip(line, colon + 1));
    return true;
}

/* Where the body of this part ends: at the next "\r\n--boundary". A Content-Length that points
 * exactly there spares the search through media. */
static bool find_end(struct slice s, struct slice boundary, const struct multipart_part *part,
                     size_t *length)
{
    const struct http_headers h = {part->headers, part->n_headers};
    char mark[MAX_BOUNDARY + 4] = "\r\n--";
    const uint8_t *at;
    uint64_t told;

    memcpy(mark + 4, boundary.p, boundary.n);
    if (slice_u64(http_header_get(&h, "Content-Length"), s.n, &told)) {
        struct slice after = slice_skip(s, told);

        *length = told;
        if (take(&after, slice_of(mark, boundary.n + 4)))
            return true;
    }
    at = s.n ? memmem(s.p, s.n, mark, boundary.n + 4) : NULL;
    *length = at ? (size_t)(at - s.p) : 0;
    return at != NULL;
}

static enum rc read_part(struct slice *s, struct slice body, struct slice boundary, size_t number,
                         struct multipart_part *part, struct err *err)
{
    bool bad = false;

    *part = (struct multipart_part){.n_headers = 0};
    while (read_header(s, part, &bad))
        ;
    if (bad)
        return err_set(err, RC_BAD_INPUT, "part %zu: broken headers", number);
    part->offset = body.n - s->n;
    if (!find_end(*s, boundary, part, &part->length))
        return err_set(err, RC_BAD_INPUT, "part %zu: no boundary ends it", number);
    *s = slice_skip(*s, part->length + 2); /* the line break belongs to the boundary */
    return RC_OK;
}

enum rc multipart_parse(struct slice content_type, struct slice body,
                        struct multipart_part parts[MULTIPART_MAX_PARTS], size_t *n,
                        struct err *err)
{
    struct slice boundary = {NULL, 0}, s = body;
    enum rc rc = read_boundary(content_type, &boundary, err);

    *n = 0;
    while (rc == RC_OK) {
        if (!take(&s, SLICE_LIT("--")) || !take(&s, boundary))
            return err_set(err, RC_BAD_INPUT, "part %zu: no boundary begins it", *n);
        if (take(&s, SLICE_LIT("--")))
            return RC_OK;
        if (!take(&s, SLICE_LIT("\r\n")))
            return err_set(err, RC_BAD_INPUT, "part %zu: boundary without a line break", *n);
        if (*n == MULTIPART_MAX_PARTS)
            return err_set(err, RC_LIMIT, "more than %d parts", MULTIPART_MAX_PARTS);
        rc = read_part(&s, body, boundary, *n, &parts[*n], err);
        if (rc == RC_OK)
            (*n)++;
    }
    return rc;
}
