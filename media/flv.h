/* media/flv.h: the bodies of FLV tags, as RTMP messages carry them: H.264 and AAC in,
 * the same out. Enhanced RTMP's avc1 and mp4a forms are read too; other codecs are refused
 * by name, packets of unknown kind are nothing.
 * Source: delivery.md a.9. Threads: pure. */
#ifndef LEAT_MEDIA_FLV_H
#define LEAT_MEDIA_FLV_H

#include "base/err.h"
#include "media/frame.h"

enum { FLV_AUDIO = 8, FLV_VIDEO = 9, FLV_SCRIPT = 18, FLV_TAG_HEADER = 11 };

enum flv_what { FLV_NOTHING, FLV_TRACK, FLV_FRAME, FLV_END_OF_SEQUENCE };

struct flv_item {
    enum flv_what what;
    enum track_kind kind;
    struct track track; /* FLV_TRACK */
    struct frame frame; /* FLV_FRAME: times in ms as sent, dts = time_ms, pts = dts +
                           composition; the data is a view of the body, not a copy */
};

void flv_item_cleanup(struct flv_item *i);

/* One message body; *out is the caller's to clean up, also after an error.
 * length_size: of the last avcC's NAL lengths, kept by the caller (0 before one came: pictures
 * are nothing until then).
 * RC_UNSUPPORTED names the codec; RC_BAD_INPUT what is cut short, and out->what tells whether
 * it was a frame, which can be left out, or a track, without which nothing can be played. */
MUST_CHECK enum rc flv_read(int tag_type, struct blob *body, uint32_t time_ms, int *length_size,
                            struct flv_item *out, struct err *err);

/* Bodies for playback and publishing. Header is at most 5 (video) or 2 (audio) bytes; the
 * frame's blob follows unchanged. Returns the header's length. */
size_t flv_frame_header(const struct frame *f, int32_t composition_ms, uint8_t out[5]);
size_t flv_config_header(enum track_kind kind, uint8_t out[5]);

/* FLV file: walks the tags of a byte stream as it arrives. */
struct flv_file;
struct flv_tag {
    int type;
    uint32_t time_ms;
    struct slice body;
};
struct flv_file *flv_file_new(void);
void flv_file_free(struct flv_file *f);
/* Feeds bytes; on_tag may be called many times. RC_BAD_INPUT: no FLV, or a tag above
 * MAX_FRAME_BYTES. */
MUST_CHECK enum rc flv_file_feed(struct flv_file *f, struct slice bytes,
                                 void (*on_tag)(const struct flv_tag *tag, void *arg), void *arg,
                                 struct err *err);

#endif
