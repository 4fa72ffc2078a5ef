/* media/flv.h: the bodies of FLV tags, as RTMP messages carry them: H.264 and AAC in,
 * the same out. Enhanced RTMP's avc1 form is read too; other codecs are refused by name.
 * Source: delivery.md a.9. Threads: pure. */
#ifndef LEAT_MEDIA_FLV_H
#define LEAT_MEDIA_FLV_H

#include "base/err.h"
#include "media/frame.h"

enum { FLV_AUDIO = 8, FLV_VIDEO = 9, FLV_SCRIPT = 18, FLV_TAG_HEADER = 11 };

enum flv_what { FLV_NOTHING, FLV_TRACK, FLV_FRAME, FLV_END_OF_SEQUENCE };

/* One message body. FLV_TRACK fills *track (the caller cleans it up), FLV_FRAME fills *frame
 * (times in ms as sent: dts = time_ms, pts = dts + composition; the caller cleans it up).
 * length_size: of the last avcC's NAL lengths, kept by the caller (0 before one came).
 * RC_UNSUPPORTED names codec or packet type; RC_BAD_INPUT what is cut short. */
MUST_CHECK enum rc flv_read(int tag_type, struct slice body, uint32_t time_ms, int *length_size,
                            enum flv_what *what, struct track *track, struct frame *frame,
                            struct err *err);

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
