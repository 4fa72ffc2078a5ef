/* media/rtmp/chunk.h: messages cut into chunks, both directions.
 *
 * The reader takes any cut of a peer's bytes and gives whole messages, each assembled
 * once, straight into the blob it is handed out in. It obeys the two messages that are
 * about chunks (Set Chunk Size, Abort) itself. The writer cuts a message as it is sent;
 * media bytes are referenced, never copied.
 *
 * Memory follows the bytes received: a message that announces 8 MiB costs what has come.
 * Ownership: reader on the caller's memory; a message's body is the caller's to unref.
 * Threads:   one.   Source: RTMP 5.3, 5.4; delivery.md a.3, a.4.
 */
#ifndef LEAT_MEDIA_RTMP_CHUNK_H
#define LEAT_MEDIA_RTMP_CHUNK_H

#include "base/blob.h"
#include "base/err.h"
#include "media/frame.h"

enum {
    CHUNK_SIZE_AT_START = 128, /* until a Set Chunk Size, each direction */
    CHUNK_SIZE_OURS = 65536,
    CHUNK_MAX_STREAMS = 64,
    CHUNK_MAX_MEDIA = MAX_FRAME_BYTES + 64, /* one message that carries media */
    CHUNK_MAX_OTHER = 64 * 1024,            /* one command or control message */
    CHUNK_MAX_PARTIAL = 16 * 1024 * 1024    /* unfinished messages of a connection */
};

/* The types we know; others are carried as they are. */
enum rtmp_type {
    RTMP_SET_CHUNK_SIZE = 1,
    RTMP_ABORT = 2,
    RTMP_ACK = 3,
    RTMP_USER_CONTROL = 4,
    RTMP_WINDOW_ACK_SIZE = 5,
    RTMP_PEER_BANDWIDTH = 6,
    RTMP_AUDIO = 8,
    RTMP_VIDEO = 9,
    RTMP_DATA_AMF3 = 15,
    RTMP_COMMAND_AMF3 = 17,
    RTMP_DATA = 18,
    RTMP_COMMAND = 20,
    RTMP_AGGREGATE = 22
};

struct rtmp_message {
    uint8_t type;
    uint32_t time_ms; /* modulo 2^32 */
    uint32_t stream_id;
    struct blob *body;
};

/* One chunk stream of the peer: the header that later chunks refer to, and what has come
 * of the message that is being sent on it. */
struct chunk_stream {
    uint32_t id;
    uint32_t time_ms, delta_ms;
    uint32_t field; /* the timestamp field as sent, 24 or 32 bits */
    uint32_t length, stream_id;
    uint8_t type;
    bool extended; /* the field took 32 bits */
    bool open;     /* a message is unfinished */
    struct buf partial;
};

enum { CHUNK_HEADER_MAX = 3 + 11 + 4 };

struct chunk_reader {
    struct chunk_stream *streams;
    size_t n_streams, current;
    uint32_t chunk_size, chunk_left;
    size_t partial_bytes;
    uint8_t head[CHUNK_HEADER_MAX], head_n;
    uint8_t back[4], back_n; /* bytes that looked like a header field and were payload */
    bool in_payload;
    bool omits_extended; /* this peer leaves the field out of continuation chunks */
};

void chunk_reader_init(struct chunk_reader *r);
void chunk_reader_cleanup(struct chunk_reader *r);

/* Takes bytes off *in until a message is whole.  RC_OK: *out is it.  RC_NOT_FOUND: *in is
 * used up, more is needed.  RC_BAD_INPUT, RC_LIMIT: the connection cannot go on. */
MUST_CHECK enum rc chunk_read(struct chunk_reader *r, struct slice *in, struct rtmp_message *out,
                              struct err *err);

/* Where a session's bytes go: a stream, or a test. */
struct rtmp_pipe {
    void (*write)(struct slice bytes, void *arg);                         /* copies */
    void (*write_blob)(struct blob *b, size_t from, size_t n, void *arg); /* references */
    void *arg;
};

/* Chunk stream ids we write on. */
enum chunk_lane {
    LANE_CONTROL = 2,
    LANE_COMMAND = 3,
    LANE_AUDIO = 4,
    LANE_DATA = 5,
    LANE_VIDEO = 6
};

struct chunk_to {
    enum chunk_lane lane;
    uint8_t type;
    uint32_t time_ms, stream_id;
};

struct chunk_writer {
    struct rtmp_pipe pipe;
    uint32_t chunk_size; /* in force for what is written next */
};

/* One message: `head` is copied, `body` (NULL: none) referenced. */
void chunk_write(struct chunk_writer *w, const struct chunk_to *to, struct slice head,
                 struct blob *body);

/* A control message of one big-endian number. */
void chunk_write_u32(struct chunk_writer *w, enum rtmp_type type, uint32_t value);

/* Tells the peer of CHUNK_SIZE_OURS and goes over to it. */
void chunk_write_size(struct chunk_writer *w);

#endif
