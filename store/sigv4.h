/* store/sigv4.h: the signature that S3 asks for, as a value.
 *
 * Made here and not by libcurl: its versions differ in which headers they sign, and every store
 * would have to be tried with every version.
 *
 * Threads: pure.   Source: "AWS Signature Version 4", signing in the Authorization header.
 */
#ifndef LEAT_STORE_SIGV4_H
#define LEAT_STORE_SIGV4_H

#include "base/buf.h"

enum { SIGV4_TIME_MAX = 17, SIGV4_HASH_MAX = 65 };

struct sigv4_header {
    const char *name; /* lower case */
    const char *value;
};

struct sigv4_request {
    const char *key, *secret, *region;
    const char *method;
    const char *path;                   /* percent-encoded as it is sent */
    const struct sigv4_header *headers; /* ordered by name, with host and x-amz-date */
    size_t n_headers;
    const char *time;           /* of sigv4_time(), as in x-amz-date */
    const char *content_sha256; /* of sigv4_hash(), as in x-amz-content-sha256 */
};

void sigv4_time(int64_t wall_ms, char out[SIGV4_TIME_MAX]);
void sigv4_hash(struct slice bytes, char out[SIGV4_HASH_MAX]); /* SHA-256, hex */

/* Appends the value of the Authorization header. */
void sigv4_sign(const struct sigv4_request *r, struct buf *out);

#endif
