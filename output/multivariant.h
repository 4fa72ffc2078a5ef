/* output/multivariant.h: the text of a multivariant playlist. Source: delivery.md b.7;
 * video.md 9.4. */
#ifndef LEAT_OUTPUT_MULTIVARIANT_H
#define LEAT_OUTPUT_MULTIVARIANT_H

#include "output/playlist.h"

/* One variant for each rendition that had media; NULL when none had. URIs are relative to
 * /stream/. independent: every segment begins with a key frame. The caller owns the blob. */
struct blob *multivariant_render(struct playlist *const *renditions, int n, bool independent);

#endif
