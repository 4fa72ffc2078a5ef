/* codec/program/nal.h: the little that must be known of an H.264 packet before it is
 * decoded (Annex B, ITU-T H.264 7.3.1). Threads: pure. */
#ifndef LEAT_CODEC_PROGRAM_NAL_H
#define LEAT_CODEC_PROGRAM_NAL_H

#include "base/slice.h"

struct nal_summary {
    bool annex_b; /* begins with a start code */
    int pictures; /* slices that begin a picture */
    bool key;     /* IDR, or a recovery point */
};

struct nal_summary nal_summarize(struct slice packet);

#endif
