/* wire/multipart.h: multipart/mixed as the network uses it: a gateway's push answer and a
 * worker's results. Headers of a part are written in alphabetical order.
 * Source: video.md 9.3 and 11.4; RFC 2046 5.1. */
#ifndef LEAT_WIRE_MULTIPART_H
#define LEAT_WIRE_MULTIPART_H

#include "base/blob.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/http.h"

enum { MULTIPART_BOUNDARY_BYTES = 10, MULTIPART_MAX_PARTS = 24, MULTIPART_MAX_HEADERS = 8 };

/* 20 hex digits and a NUL. */
void multipart_boundary(char out[2 * MULTIPART_BOUNDARY_BYTES + 1]);

/* "\r\n--B\r\nName: value\r\n...\r\n\r\n" (without the first line break for the first part). */
void multipart_part_head(struct buf *out, const char *boundary, bool first,
                         const struct http_header *headers, size_t n);
void multipart_end(struct buf *out, const char *boundary);

struct multipart_part {
    struct http_header headers[MULTIPART_MAX_HEADERS];
    size_t n_headers;
    size_t offset, length; /* of the body within the input */
};

/* Takes a whole body apart without copying. content_type is the header's value. RC_BAD_INPUT
 * says which part is broken; RC_UNSUPPORTED when it is no multipart type. */
MUST_CHECK enum rc multipart_parse(struct slice content_type, struct slice body,
                                   struct multipart_part parts[MULTIPART_MAX_PARTS], size_t *n,
                                   struct err *err);

#endif
