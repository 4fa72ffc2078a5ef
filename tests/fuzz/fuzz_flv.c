/* FLV from strangers. The first byte chooses: one tag body as it is (audio or video, its NAL
 * length size), or a file in pieces whose tags are read in turn. */
#include <assert.h>

#include "media/flv.h"
#include "media/h264.h"

struct reading {
    int length_size;
};

static void check_frame(const struct frame *f)
{
    struct slice left = blob_slice(f->data), nal;
    bool bad = false;

    assert(f->data->n > 0);
    if (f->kind != TRACK_VIDEO)
        return;
    while (h264_next_avc(&left, &nal, &bad)) /* as frame.h promises */
        assert(nal.n > 0 && (nal.p[0] & 0x1f) != H264_NAL_AUD);
    assert(!bad && !left.n);
}

static void read_body(int type, struct slice bytes, uint32_t time_ms, int *length_size)
{
    struct blob *body = blob_copy(bytes);
    struct flv_item item;
    struct err err = {.text = ""};
    enum rc rc = flv_read(type, body, time_ms, length_size, &item, &err);

    assert(rc == RC_OK || err.text[0]);
    assert(rc != RC_OK || item.what != FLV_TRACK || item.track.config);
    if (rc == RC_OK && item.what == FLV_FRAME)
        check_frame(&item.frame);
    flv_item_cleanup(&item);
    blob_unref(&body);
}

static void on_tag(const struct flv_tag *tag, void *arg)
{
    read_body(tag->type, tag->body, tag->time_ms, &((struct reading *)arg)->length_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct slice in = slice_of(p, n);
    struct reading reading = {0};

    if (!n)
        return 0;
    in = slice_skip(in, 1);
    if (p[0] & 1) {
        struct flv_file *f = flv_file_new();
        enum rc rc = RC_OK;

        for (; in.n && rc == RC_OK; in = slice_skip(in, p[0]))
            rc = flv_file_feed(f, slice_sub(in, 0, p[0]), on_tag, &reading, NULL);
        flv_file_free(f);
    } else {
        reading.length_size = p[0] >> 2 & 7;
        read_body(p[0] & 2 ? FLV_AUDIO : FLV_VIDEO, in, 0, &reading.length_size);
    }
    return 0;
}
