/* media/h264.h: H.264 headers, never pictures: SPS, NAL walks, avcC and Annex B forms.
 * Source: ITU-T H.264 7.3 and E.1; ISO/IEC 14496-15 5.3. Threads: pure. */
#ifndef LEAT_MEDIA_H264_H
#define LEAT_MEDIA_H264_H

#include "base/blob.h"
#include "base/err.h"
#include "media/frame.h"

enum h264_nal {
    H264_NAL_SLICE = 1,
    H264_NAL_IDR = 5,
    H264_NAL_SEI = 6,
    H264_NAL_SPS = 7,
    H264_NAL_PPS = 8,
    H264_NAL_AUD = 9
};

struct h264_sps {
    uint8_t profile_idc, constraints, level_idc;
    int width, height; /* after cropping */
    int chroma_format_idc, bit_depth;
    double fps;             /* 0 when VUI tells none */
    int max_reorder_frames; /* -1 when not told */
};

MUST_CHECK enum rc h264_sps_parse(struct slice nal, struct h264_sps *out, struct err *err);

/* avcC -> track (width, height, fps filled). The track's config says NAL lengths of 4 bytes, as
 * frames have them; the sender's own are avcc.p[4] & 3, plus 1. RC_BAD_INPUT names the broken
 * field, RC_LIMIT is above 64 KiB. */
MUST_CHECK enum rc h264_track_from_avcc(struct slice avcc, struct track *out, struct err *err);

/* Builds avcC from one or more SPS and PPS. NULL without an SPS that parses. */
struct blob *h264_avcc_from_sets(const struct slice *sps, size_t n_sps, const struct slice *pps,
                                 size_t n_pps);

/* Calls fn for each parameter set of an avcC, SPS first. */
MUST_CHECK enum rc h264_avcc_sets(struct slice avcc, void (*fn)(struct slice nal, void *arg),
                                  void *arg, struct err *err);

/* Walks length-prefixed NAL units (prefix of 4 bytes); false at the end or when a unit is
 * longer than what is left (*bad tells). Units may be empty; a rest of less than a prefix is
 * taken for padding. */
bool h264_next_avc(struct slice *s, struct slice *nal, bool *bad);

/* Walks Annex B (start codes of 3 or 4 bytes), trailing zeros and empty units left out. Bytes
 * before the first start code belong to no unit. */
bool h264_next_annexb(struct slice *s, struct slice *nal);

/* Re-frames length prefixes of 1, 2 or 4 bytes to 4, dropping AUDs and empty units. *out is
 * NULL when nothing is left. RC_LIMIT above MAX_FRAME_BYTES. */
MUST_CHECK enum rc h264_normalize_avc(struct slice in, int length_size, struct blob **out,
                                      bool *has_idr, struct err *err);

#endif
