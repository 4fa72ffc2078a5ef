#include "media/rtmp/amf.h"

#include "base/reader.h"

enum marker {
    M_NUMBER = 0,
    M_BOOLEAN = 1,
    M_STRING = 2,
    M_OBJECT = 3,
    M_NULL = 5,
    M_UNDEFINED = 6,
    M_REFERENCE = 7,
    M_ECMA_ARRAY = 8,
    M_OBJECT_END = 9,
    M_STRICT_ARRAY = 10,
    M_DATE = 11,
    M_LONG_STRING = 12,
    M_UNSUPPORTED = 13,
    M_XML = 15,
    M_TYPED_OBJECT = 16,
    M_AMF3 = 17
};

enum marker3 { M3_UNDEFINED, M3_NULL, M3_FALSE, M3_TRUE, M3_INTEGER, M3_DOUBLE, M3_STRING };

static void read_value(struct reader *r, struct amf_value *out, int depth);

static double read_double(struct reader *r)
{
    uint64_t bits = rd_be64(r);
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static void set_number(struct amf_value *out, double v)
{
    out->type = AMF_NUMBER;
    out->number = v;
}

static void set_text(struct amf_value *out, struct slice s)
{
    out->type = AMF_TEXT;
    out->text = s;
}

static void set_flag(struct amf_value *out, bool v)
{
    out->type = AMF_FLAG;
    out->flag = v;
}

/* An empty key and the end marker close an object. */
static bool at_object_end(const struct reader *r)
{
    return r->left >= 3 && r->p[0] == 0 && r->p[1] == 0 && r->p[2] == M_OBJECT_END;
}

static void read_members(struct reader *r, struct amf_value *out, int depth)
{
    const uint8_t *start = r->p;
    struct amf_value skipped;

    out->type = AMF_OBJECT;
    while (!r->failed && !at_object_end(r)) {
        rd_skip(r, rd_be16(r));
        read_value(r, &skipped, depth + 1);
    }
    if (r->failed)
        return;
    out->members = slice_of(start, (size_t)(r->p - start));
    rd_skip(r, 3);
}

static void read_list(struct reader *r, struct amf_value *out, int depth)
{
    uint32_t count = rd_be32(r);
    const uint8_t *start = r->p;
    struct amf_value skipped;

    out->type = AMF_LIST;
    if (count > r->left) /* each value takes a byte at least */
        r->failed = true;
    for (uint32_t i = 0; i < count && !r->failed; i++)
        read_value(r, &skipped, depth + 1);
    if (!r->failed)
        out->members = slice_of(start, (size_t)(r->p - start));
}

/* AMF3's integer of 1 to 4 bytes: 7 bits each, the fourth gives 8. */
static uint32_t read_u29(struct reader *r)
{
    uint32_t v = 0;

    for (int i = 0; i < 3; i++) {
        uint8_t b = rd_u8(r);

        v = v << 7 | (b & 0x7f);
        if (!(b & 0x80))
            return v;
    }
    return v << 8 | rd_u8(r);
}

static void read_amf3(struct reader *r, struct amf_value *out)
{
    uint32_t v;

    switch (rd_u8(r)) {
    case M3_UNDEFINED:
    case M3_NULL:
        return;
    case M3_FALSE:
        set_flag(out, false);
        return;
    case M3_TRUE:
        set_flag(out, true);
        return;
    case M3_INTEGER:
        v = read_u29(r);
        set_number(out, v & 1u << 28 ? (double)v - (1u << 29) : v);
        return;
    case M3_DOUBLE:
        set_number(out, read_double(r));
        return;
    case M3_STRING:
        v = read_u29(r);
        if (v & 1)
            set_text(out, rd_bytes(r, v >> 1));
        else
            r->failed = true; /* a reference into tables that RTMP peers do not build */
        return;
    default:
        r->failed = true;
        return;
    }
}

static void read_value(struct reader *r, struct amf_value *out, int depth)
{
    *out = (struct amf_value){.type = AMF_NULL};
    if (depth >= AMF_MAX_DEPTH)
        r->failed = true;
    switch (rd_u8(r)) {
    case M_NUMBER:
        set_number(out, read_double(r));
        break;
    case M_BOOLEAN:
        set_flag(out, rd_u8(r) != 0);
        break;
    case M_STRING:
        set_text(out, rd_bytes(r, rd_be16(r)));
        break;
    case M_LONG_STRING:
    case M_XML:
        set_text(out, rd_bytes(r, rd_be32(r)));
        break;
    case M_NULL:
    case M_UNDEFINED:
    case M_UNSUPPORTED:
        break;
    case M_REFERENCE:
        rd_skip(r, 2);
        break;
    case M_DATE:
        set_number(out, read_double(r));
        rd_skip(r, 2); /* time zone: reserved, zero */
        break;
    case M_TYPED_OBJECT:
        rd_skip(r, rd_be16(r));
        read_members(r, out, depth);
        break;
    case M_ECMA_ARRAY:
        rd_skip(r, 4); /* the count is a hint; the end marker decides */
        read_members(r, out, depth);
        break;
    case M_OBJECT:
        read_members(r, out, depth);
        break;
    case M_STRICT_ARRAY:
        read_list(r, out, depth);
        break;
    case M_AMF3:
        read_amf3(r, out);
        break;
    default:
        r->failed = true;
        break;
    }
}

bool amf_read(struct slice *in, struct amf_value *out)
{
    struct reader r = reader_of(*in);

    read_value(&r, out, 0);
    if (r.failed) {
        *in = slice_of(NULL, 0);
        *out = (struct amf_value){.type = AMF_NULL};
        return false;
    }
    *in = rd_rest(&r);
    return true;
}

bool amf_next_member(struct slice *members, struct slice *key, struct amf_value *value)
{
    struct reader r = reader_of(*members);

    *key = rd_bytes(&r, rd_be16(&r));
    *members = rd_rest(&r);
    return !r.failed && amf_read(members, value);
}

bool amf_find(const struct amf_value *object, const char *key, struct amf_value *value)
{
    struct slice left = object->type == AMF_OBJECT ? object->members : slice_of(NULL, 0);
    struct slice k;

    while (amf_next_member(&left, &k, value))
        if (slice_eq_nocase(k, key))
            return true;
    *value = (struct amf_value){.type = AMF_NULL};
    return false;
}

struct slice amf_find_text(const struct amf_value *object, const char *key)
{
    struct amf_value v;

    if (!amf_find(object, key, &v) || v.type != AMF_TEXT)
        return slice_of(NULL, 0);
    return v.text;
}

void amf_put_number(struct buf *b, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    buf_u8(b, M_NUMBER);
    buf_be64(b, bits);
}

void amf_put_flag(struct buf *b, bool v)
{
    buf_u8(b, M_BOOLEAN);
    buf_u8(b, v);
}

void amf_put_text(struct buf *b, struct slice s)
{
    if (s.n <= UINT16_MAX) {
        buf_u8(b, M_STRING);
        buf_be16(b, (uint16_t)s.n);
    } else {
        buf_u8(b, M_LONG_STRING);
        buf_be32(b, (uint32_t)s.n);
    }
    buf_add_slice(b, s);
}

void amf_put_null(struct buf *b)
{
    buf_u8(b, M_NULL);
}

void amf_open_object(struct buf *b)
{
    buf_u8(b, M_OBJECT);
}

void amf_open_map(struct buf *b, uint32_t count)
{
    buf_u8(b, M_ECMA_ARRAY);
    buf_be32(b, count);
}

void amf_open_list(struct buf *b, uint32_t count)
{
    buf_u8(b, M_STRICT_ARRAY);
    buf_be32(b, count);
}

void amf_put_key(struct buf *b, const char *key)
{
    size_t n = strlen(key);

    buf_be16(b, (uint16_t)n);
    buf_add(b, key, n);
}

void amf_close(struct buf *b)
{
    buf_be24(b, M_OBJECT_END);
}
