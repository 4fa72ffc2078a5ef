#include "orchestrator/payment.h"

#include "base/reader.h"
#include "base/text.h"

enum { MAX_PAYMENT_BYTES = 64 * 1024 };

/* --- base64, with the reference's position of the fault --- */

static bool is_digit(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* The first byte that is no digit; where all are, the group of four that is cut short. */
static size_t fault_at(struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!is_digit(text.p[i]) && !(text.p[i] == '=' && i + 2 >= text.n))
            return i;
    return text.n - text.n % 4;
}

/* --- protobuf's wire format --- */

static uint64_t rd_varint(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = rd_u8(r);

        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
    r->failed = true;
    return 0;
}

static bool is_listed(const uint32_t *list, uint64_t number)
{
    for (; list && *list; list++)
        if (*list == number)
            return true;
    return false;
}

static void skip_field(struct reader *r, uint64_t key, const uint32_t *nested)
{
    enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
    uint64_t n;

    switch (key & 7) {
    case VARINT:
        (void)rd_varint(r);
        break;
    case FIXED64:
        rd_skip(r, 8);
        break;
    case FIXED32:
        rd_skip(r, 4);
        break;
    case BYTES:
        n = rd_varint(r);
        if (n > r->left) {
            r->failed = true;
        } else {
            struct slice part = rd_bytes(r, (size_t)n);

            r->failed |= is_listed(nested, key >> 3) && !protobuf_is_sound(part, NULL);
        }
        break;
    default:
        r->failed = true; /* groups: nothing of the network uses them */
    }
}

bool protobuf_is_sound(struct slice bytes, const uint32_t *nested)
{
    struct reader r = reader_of(bytes);

    while (r.left && !r.failed) {
        uint64_t key = rd_varint(&r);

        if (key >> 3 == 0 || key >> 3 > UINT32_C(0x1fffffff))
            return false;
        skip_field(&r, key, nested);
    }
    return !r.failed;
}

enum rc payment_check(struct slice header, struct err *err)
{
    static const uint32_t nested[] = {1, 3, 4, 5, 0}; /* of Payment, video.md 2.3 */
    struct slice text = slice_trim(header);
    struct buf payment;
    enum rc rc = RC_OK;

    buf_init(&payment, MAX_PAYMENT_BYTES);
    if (base64_decode(&payment, text, NULL) != RC_OK)
        rc = err_set(err, RC_BAD_INPUT,
                     "base64 decode error: illegal base64 data at input byte %zu", fault_at(text));
    else if (!protobuf_is_sound(buf_slice(&payment), nested))
        rc = err_set(err, RC_BAD_INPUT,
                     "protobuf unmarshal error: proto: cannot parse invalid wire-format data");
    buf_cleanup(&payment);
    return rc;
}
