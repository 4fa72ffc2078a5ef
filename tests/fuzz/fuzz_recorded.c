/* Whatever a store holds, the playlists made of it are lines of text that end as they should. */
#include <assert.h>

#include "output/recorded.h"

enum { MAX_TEXT = 64 << 20 };

static void check_text(struct buf *out, bool whole)
{
    struct slice s = buf_slice(out);

    assert(buf_ok(out) && slice_has_prefix(s, "#EXTM3U\n") && slice_has_suffix(s, "\n"));
    assert(!whole || slice_has_suffix(s, "#EXT-X-ENDLIST\n"));
    for (size_t i = 0; i < s.n; i++)
        assert(s.p[i] == '\n' || s.p[i] >= ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct recorded *r = recorded_new();
    struct err err = {0};
    struct buf out;
    enum rc rc = recorded_add(r, "old", slice_of(p, n), &err);

    assert(rc == RC_OK || (err.code == rc && *err.text));
    rc = recorded_add(r, "new", slice_of(p, n), NULL);
    buf_init(&out, MAX_TEXT);
    if (recorded_index(r, &out, NULL) == RC_OK)
        check_text(&out, false);
    buf_clear(&out);
    if (recorded_track(r, "source", NULL, &out, NULL) == RC_OK)
        check_text(&out, true);
    buf_cleanup(&out);
    recorded_free(r);
    return 0;
}
