/* media/rtmp/amf.h: AMF0, the value encoding of RTMP commands and metadata.
 *
 * Values are read as views into the message: a number, a text, or an object whose
 * members are walked when asked for. Nothing is allocated and nothing is believed:
 * depth, counts and lengths are held against the bytes at hand. One AMF3 value behind
 * the switch marker is read when it is a scalar.
 *
 * Ownership: values borrow from the bytes they were read from.   Threads: pure.
 * Source:    AMF0 (Adobe, 2007); delivery.md a.6.
 */
#ifndef LEAT_MEDIA_RTMP_AMF_H
#define LEAT_MEDIA_RTMP_AMF_H

#include "base/buf.h"
#include "base/slice.h"

enum { AMF_MAX_DEPTH = 16, AMF_MAX_BYTES = 64 * 1024 };

enum amf_type {
    AMF_NULL,   /* null, undefined, unsupported, references */
    AMF_NUMBER, /* also dates, in ms */
    AMF_FLAG,
    AMF_TEXT,   /* short, long, XML */
    AMF_OBJECT, /* objects, typed objects, ECMA arrays */
    AMF_LIST    /* strict arrays */
};

struct amf_value {
    enum amf_type type;
    double number;
    bool flag;
    struct slice text;
    struct slice members; /* AMF_OBJECT: for amf_next_member; AMF_LIST: for amf_read */
};

/* Reads the value at the front of *in and moves *in behind it. False at the end, and on
 * anything that does not parse: *in is empty then. */
MUST_CHECK bool amf_read(struct slice *in, struct amf_value *out);

/* Walks an object: false at its end. */
MUST_CHECK bool amf_next_member(struct slice *members, struct slice *key, struct amf_value *value);

/* The member `key` (ASCII letters of either case: tcUrl is also sent as tcurl). False when
 * absent, or when *object is none. */
MUST_CHECK bool amf_find(const struct amf_value *object, const char *key, struct amf_value *value);

/* The text of member `key`; empty when absent or of another type. */
struct slice amf_find_text(const struct amf_value *object, const char *key);

void amf_put_number(struct buf *b, double v);
void amf_put_flag(struct buf *b, bool v);
void amf_put_text(struct buf *b, struct slice s);
void amf_put_null(struct buf *b);
void amf_open_object(struct buf *b);
void amf_open_map(struct buf *b, uint32_t count);  /* ECMA array; ended by amf_close */
void amf_open_list(struct buf *b, uint32_t count); /* then exactly `count` values */
void amf_put_key(struct buf *b, const char *key);  /* in objects and maps, before a value */
void amf_close(struct buf *b);

#endif
