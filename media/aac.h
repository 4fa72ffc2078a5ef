/* media/aac.h: AudioSpecificConfig and ADTS headers.
 * Source: ISO/IEC 14496-3 1.6.2.1; 13818-7 6.2. Threads: pure. */
#ifndef LEAT_MEDIA_AAC_H
#define LEAT_MEDIA_AAC_H

#include "base/err.h"
#include "media/frame.h"

enum { AAC_FRAME_SAMPLES = 1024, ADTS_HEADER_BYTES = 7 };

MUST_CHECK enum rc aac_track_from_config(struct slice asc, struct track *out, struct err *err);

/* Header of 7 bytes for one raw frame of n bytes; false when the track cannot be said in ADTS
 * or n does not fit 13 bits. */
MUST_CHECK bool aac_adts_header(const struct track *t, size_t n, uint8_t out[ADTS_HEADER_BYTES]);

/* One ADTS frame at the start of `in`: its raw frame, its whole length, the track it implies.
 * RC_BAD_INPUT without a sync word; RC_NOT_FOUND when more bytes are needed. */
struct adts_frame {
    struct slice raw;
    size_t length;
    int sample_rate, channels;
    uint8_t asc[2];
};
MUST_CHECK enum rc aac_adts_parse(struct slice in, struct adts_frame *out, struct err *err);

#endif
