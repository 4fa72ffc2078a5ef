/* store/object_url.h: where objects are kept, as operators and webhooks write it.
 *
 *   /srv/recordings, file:///srv/recordings            a folder
 *   s3://KEY:SECRET@REGION/BUCKET[/PREFIX]             Amazon S3
 *   s3+https://KEY:SECRET@HOST[:PORT]/BUCKET[/PREFIX]  what speaks like it; s3+http:// too
 *
 * KEY and SECRET are percent-encoded (a "/" is %2F). The text holds a secret, so no error repeats
 * any of it but the scheme; object_url_name() is what logs may show.
 *
 * Ownership: plain value, no heap.   Threads: pure.   Source: video.md 9.5, operations.md 2.
 */
#ifndef LEAT_STORE_OBJECT_URL_H
#define LEAT_STORE_OBJECT_URL_H

#include "base/err.h"
#include "base/slice.h"

enum {
    OBJECT_PATH_MAX = 1024, /* S3's own limit for a key */
    OBJECT_HOST_MAX = 264,  /* with a port */
    OBJECT_REGION_MAX = 64,
    OBJECT_BUCKET_MAX = 255,
    OBJECT_KEY_MAX = 128,
    OBJECT_SECRET_MAX = 256
};

enum object_kind { OBJECTS_IN_FOLDER, OBJECTS_IN_S3 };

struct object_url {
    enum object_kind kind;
    char path[OBJECT_PATH_MAX + 1]; /* the folder; or the prefix of names, "" or "a/b" */
    bool tls;                       /* from here on S3 only */
    char host[OBJECT_HOST_MAX + 1]; /* as the Host header has it: no default port */
    char region[OBJECT_REGION_MAX + 1];
    char bucket[OBJECT_BUCKET_MAX + 1];
    char key[OBJECT_KEY_MAX + 1];
    char secret[OBJECT_SECRET_MAX + 1];
};

/* RC_BAD_INPUT names the field; RC_UNSUPPORTED a store that leat does not speak to, and what to
 * use instead. */
MUST_CHECK enum rc object_url_parse(struct slice text, struct object_url *out, struct err *err);

/* Where it is, without key and secret: "/srv/recordings", "https://HOST/BUCKET/PREFIX". */
enum { OBJECT_NAME_MAX = OBJECT_PATH_MAX + OBJECT_HOST_MAX + OBJECT_BUCKET_MAX + 16 };
void object_url_name(const struct object_url *u, char out[OBJECT_NAME_MAX]);

/* A name below a store is relative, at most OBJECT_PATH_MAX bytes, without empty, "." or ".."
 * parts and control bytes. */
bool object_name_is_fine(struct slice name);

#endif
