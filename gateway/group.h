/* gateway/group.h: a group of pictures that is longer than a segment may be.
 *
 * A playlist's TARGETDURATION never changes, so the segmenter cuts a longer group where it must:
 * its first piece begins with the key frame, the others do not. Players go through them in order.
 * An orchestrator cannot begin without a key frame: it gets the pieces joined, and what it returns
 * is cut at the same pictures, so every rendition lists what the source does.
 *
 * Ownership: a group holds references to its pieces.   Threads: loop.
 * Source:    RFC 8216 4.3.3.1, 6.2.1; delivery.md a.10, b.2.
 */
#ifndef LEAT_GATEWAY_GROUP_H
#define LEAT_GATEWAY_GROUP_H

#include "gateway/segment.h"
#include "gateway/verify.h"

/* A group with more pieces, or of more than SEGMENT_MAX_BYTES, is not transcoded: GAPs. */
enum { GROUP_MAX_PIECES = SEGMENT_MAX_CUTS + 1 };

struct group {
    struct segment *pieces[GROUP_MAX_PIECES];
    size_t n;
};

void group_cleanup(struct group *g);

/* s comes after what the group holds. Returns what can be sent now, a new reference: s itself when
 * it is whole, the joined pieces when s is the last; NULL: more is to come, or the beginning is
 * missing. */
struct segment *group_take(struct group *g, struct segment *s);

/* Piece i of a joined segment, as the playlist knows it. */
int64_t group_piece_duration(const struct segment *whole, size_t i);

/* A rendition, which is what verify_rendition() found, cut where the pieces of `whole` begin:
 * out[0 .. whole->n_cuts], NULL for a piece without pictures. RC_BAD_INPUT: no MPEG-TS, out is all
 * NULL. */
MUST_CHECK enum rc group_cut(const struct segment *whole, struct slice rendition,
                             const struct verified *is, struct blob *out[GROUP_MAX_PIECES],
                             struct err *err);

#endif
