/* What a viewer sends: the first line is a Range, the second an Accept-Encoding, the rest a path,
 * decoded. Ranges lie within the segment; paths lead to a playlist or to nothing. */
#include <assert.h>
#include <stdlib.h>

#include "output/deliver.c"
#include "output/playback.h"

static void try_range(struct slice text)
{
    static const size_t sizes[] = {0, 1, 10, 1000000};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t from = 0, n = 0;

        if (read_range(text, sizes[i], &from, &n) == RANGE_GOOD)
            assert(n > 0 && from < sizes[i] && n <= sizes[i] - from);
    }
}

static void try_coding(struct slice value)
{
    const struct http_header header = {SLICE_LIT("accept-encoding"), value};

    (void)http_accepts_gzip(&(struct http_headers){&header, 1});
}

static struct playback *make_playback(struct loop *loop)
{
    struct playback *p = playback_new(loop, &(struct playback_conf){.current_manifest = true});
    struct playback_stream *s = playback_stream_open(p,
                                                     &(struct playback_stream_conf){"a.b", 2, 1});
    int r = playback_rendition_add(s, &(struct playback_rendition_conf){"source"});
    struct playback_segment seg = {.msn = 1, .url_seq = 1, .duration = 180000};

    seg.media = blob_copy(SLICE_LIT("media"));
    assert(playback_segment_add(s, r, &seg, NULL) == RC_OK);
    blob_unref(&seg.media);
    return p;
}

static void try_path(struct slice path)
{
    static struct loop *loop;
    static struct playback *p;
    char *text = slice_dup(path);
    struct buf out;

    if (!loop) {
        loop = loop_new();
        p = make_playback(loop);
    }
    buf_init(&out, 65536);
    if (playback_text(p, text, &out))
        assert(out.n > 7 && memcmp(out.p, "#EXTM3U", 7) == 0);
    buf_cleanup(&out);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct slice rest = slice_of(p, n), line;

    if (slice_split(&rest, '\n', &line))
        try_range(line);
    if (slice_split(&rest, '\n', &line))
        try_coding(line);
    try_path(rest);
    return 0;
}
