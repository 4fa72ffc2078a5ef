/* media/ts/ts_int.h: the numbers of ISO/IEC 13818-1 that muxer, demuxer and probe share. */
#ifndef LEAT_MEDIA_TS_TS_INT_H
#define LEAT_MEDIA_TS_TS_INT_H

#include "base/buf.h"
#include "media/frame.h"
#include "media/ts/ts_demux.h"

enum {
    TS_PACKET = 188,
    TS_HEADER = 4,
    TS_PAYLOAD = TS_PACKET - TS_HEADER,
    TS_SYNC = 0x47,
    TS_PID_PAT = 0,
    TS_PID_NULL = 0x1fff,
};

enum ts_stream_type { /* table 2-34 */
                      TS_TYPE_PRIVATE = 0x06,
                      TS_TYPE_AAC_ADTS = 0x0f,
                      TS_TYPE_H264 = 0x1b,
                      TS_TYPE_HEVC = 0x24,
};

enum { TS_PES_HEADER = 9 }; /* up to and with PES_header_data_length */

/* Times in the stream count modulo 2^33. */
static inline int64_t ts_time(int64_t t)
{
    return t & 0x1ffffffff;
}
static inline int64_t ts_time_diff(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)(a - b) << 31) >> 31;
}

/* CRC_32 of a section (annex A): 0 over a whole one that is intact. */
uint32_t ts_crc(struct slice section);

/* ---- elementary stream to frames (ts_es.c) ---- */

struct ts_pes {
    struct slice payload;
    bool has_times;
    int64_t pts, dts;
};

/* H.264: one PES holds one access unit. AAC: ADTS frames run on from PES to PES, the time
 * belongs to the first that starts in it. */
struct ts_es {
    unsigned type; /* enum ts_stream_type, or another that has no frames here */
    enum track_kind kind;
    const struct frame_sink *sink;
    struct track track;           /* told to the sink; CODEC_NONE before */
    struct buf bytes;             /* video: the frame being built; audio: the start of a frame */
    struct buf sps, pps;          /* video: sets behind 16-bit lengths, as avcC holds them */
    bool has_base;                /* times are known from the PES seen last */
    int64_t base, last_dts, step; /* audio: time of frame 0; video: to guess a missing dts */
    int frames;                   /* audio: since base */
    uint8_t asc[2];
};

void ts_es_init(struct ts_es *es, enum track_kind kind, const struct frame_sink *sink);
void ts_es_cleanup(struct ts_es *es);
void ts_es_reset(struct ts_es *es, unsigned type); /* another stream begins here */
void ts_es_pes(struct ts_es *es, const struct ts_pes *pes);
void ts_es_lost(struct ts_es *es); /* bytes are missing before the next */

/* ---- what the probe asks the demuxer ---- */

struct ts_seen {
    unsigned type; /* stream_type of the PMT; 0: no such stream */
    int pes;       /* with a time */
    int64_t first_pts, last_pts;
};
const struct ts_seen *ts_demux_seen(const struct ts_demux *d, enum track_kind kind);
bool ts_demux_is_ts(const struct ts_demux *d); /* were there packets at all */

/* "FLV", "text", "bytes 00 01 02 03": for a person who sent something else. */
enum { TS_OTHER_MAX = 48 };
void ts_name_other(struct slice bytes, char out[TS_OTHER_MAX]);

#endif
