/* output/shared_text.h: one playlist text for all who ask, compressed when the first asks for
 * that. Both NULL: to be rendered. Plain value with two references. */
#ifndef LEAT_OUTPUT_SHARED_TEXT_H
#define LEAT_OUTPUT_SHARED_TEXT_H

#include "base/blob.h"

struct shared_text {
    struct blob *plain, *gzip;
};

static inline void shared_text_cleanup(struct shared_text *t)
{
    blob_unref(&t->plain);
    blob_unref(&t->gzip);
}

#endif
