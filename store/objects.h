/* store/objects.h: puts objects into a folder or an S3 bucket, in the background.
 *
 * What is put waits in order, a few are on their way at a time. Bounded: more than
 * objects_conf.max_bytes or MAX_OBJECTS waiting is refused with RC_BUSY, so a store that hangs
 * costs what it was to keep, and never the stream. What may work later (no answer, 5xx) is tried
 * again after growing pauses; what will not (403, no such bucket) fails at once and says what to
 * do. A folder never shows half an object: it is written beside and renamed.
 *
 * Ownership: objects_new/_free.   Threads: loop; files and hashes on helper threads.
 */
#ifndef LEAT_STORE_OBJECTS_H
#define LEAT_STORE_OBJECTS_H

#include "base/blob.h"
#include "base/err.h"
#include "net/loop.h"
#include "net/web.h"
#include "store/object_url.h"

enum { MAX_OBJECTS = 4096 };

struct objects;

struct objects_conf {
    struct loop *loop;
    struct web *web; /* S3 only; outlives objects_free */
    struct object_url url;
    size_t max_bytes;   /* of all bodies that wait or are on their way */
    int first_pause_ms; /* before the second try, then doubled; 0: half a second */
};

struct objects *objects_new(const struct objects_conf *conf);
/* What is open is told RC_CANCELLED from within. */
void objects_free(struct objects *o);

/* Where names begin, without secrets: "https://HOST/BUCKET/PREFIX". Owned by o. */
const char *objects_where(const struct objects *o);

struct object_put {
    const char *name;     /* "id/node/source/17.ts", see object_name_is_fine() */
    struct blob *body;    /* referenced */
    const char *type;     /* a literal: "video/mp2t" */
    int64_t duration_ms;  /* S3 metadata "duration"; 0: none */
    int tries;            /* at least 1 */
    int try_ms, whole_ms; /* the longest for one try; no try begins later than this */
    /* Once, from the loop. err NULL: it is there. The sentence holds no secret. */
    void (*on_done)(const struct err *err, void *arg);
    void *arg;
};
void objects_put(struct objects *o, const struct object_put *put);

#endif
