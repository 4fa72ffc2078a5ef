#include "base/text.h"

#include <stdio.h>

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct slice s)
{
    for (; s.n; s = slice_skip(s, 3)) {
        size_t n = MIN(s.n, (size_t)3);
        uint32_t v = (uint32_t)s.p[0] << 16 | (n > 1 ? (uint32_t)s.p[1] << 8 : 0) |
                     (n > 2 ? s.p[2] : 0);
        char four[4] = {base64_digits[v >> 18], base64_digits[v >> 12 & 63],
                        n > 1 ? base64_digits[v >> 6 & 63] : '=',
                        n > 2 ? base64_digits[v & 63] : '='};

        buf_add(out, four, sizeof(four));
    }
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Number of bytes that a group of four digits stands for; 0: broken. */
static size_t base64_group(const uint8_t *p, bool last, uint8_t out[3])
{
    size_t n = last && p[3] == '=' ? (p[2] == '=' ? 1 : 2) : 3;
    uint32_t v = 0;

    for (size_t i = 0; i < 4; i++) {
        int digit = i <= n ? base64_value(p[i]) : 0;

        if (digit < 0)
            return 0;
        v = v << 6 | (uint32_t)digit;
    }
    out[0] = (uint8_t)(v >> 16);
    out[1] = (uint8_t)(v >> 8);
    out[2] = (uint8_t)v;
    return n;
}

enum rc base64_decode(struct buf *out, struct slice text, struct err *err)
{
    if (text.n % 4)
        return err_set(err, RC_BAD_INPUT, "base64 text of %zu digits is no multiple of 4", text.n);
    for (size_t at = 0; at < text.n; at += 4) {
        uint8_t three[3];
        size_t n = base64_group(text.p + at, at + 4 == text.n, three);

        if (!n)
            return err_set(err, RC_BAD_INPUT, "illegal base64 data at input byte %zu", at);
        buf_add(out, three, n);
    }
    if (!buf_ok(out))
        return err_set(err, RC_LIMIT, "base64 text decodes to more than %zu bytes", out->max);
    return RC_OK;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum rc hex_decode(struct buf *out, struct slice text, struct err *err)
{
    if (text.n % 2)
        return err_set(err, RC_BAD_INPUT, "hexadecimal text has an odd number of digits");
    for (size_t i = 0; i < text.n; i += 2) {
        int high = hex_value(text.p[i]), low = hex_value(text.p[i + 1]);

        if (high < 0 || low < 0)
            return err_set(err, RC_BAD_INPUT, "no hexadecimal digit at byte %zu", i);
        buf_u8(out, (uint8_t)(high << 4 | low));
    }
    if (!buf_ok(out))
        return err_set(err, RC_LIMIT, "hexadecimal text of more than %zu bytes", out->max);
    return RC_OK;
}

static enum rc unescape(struct slice text, size_t *at, uint8_t *out, struct err *err)
{
    int high, low;

    *out = text.p[*at];
    if (*out == '%') {
        high = *at + 1 < text.n ? hex_value(text.p[*at + 1]) : -1;
        low = *at + 2 < text.n ? hex_value(text.p[*at + 2]) : -1;
        if (high < 0 || low < 0)
            return err_set(err, RC_BAD_INPUT, "broken %% escape at byte %zu", *at);
        *out = (uint8_t)(high << 4 | low);
        *at += 2;
    }
    if (*out < 0x20 || *out == 0x7f)
        return err_set(err, RC_BAD_INPUT, "control byte 0x%02x at byte %zu", *out, *at);
    return RC_OK;
}

enum rc percent_decode(struct buf *out, struct slice text, struct err *err)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c;
        enum rc rc = unescape(text, &i, &c, err);

        if (rc != RC_OK)
            return rc;
        buf_u8(out, c);
    }
    if (!buf_ok(out))
        return err_set(err, RC_LIMIT, "text of more than %zu bytes", out->max);
    return RC_OK;
}

static bool is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void percent_encode(struct buf *out, struct slice bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        if (is_unreserved(bytes.p[i]))
            buf_u8(out, bytes.p[i]);
        else
            buf_printf(out, "%%%02X", bytes.p[i]);
    }
}

bool query_get(struct slice query, const char *name, struct slice *value)
{
    struct slice pair;

    while (slice_split(&query, '&', &pair)) {
        size_t eq = slice_find(pair, '=');

        if (slice_eq_str(slice_sub(pair, 0, eq), name)) {
            *value = slice_skip(pair, eq + 1);
            return true;
        }
    }
    return false;
}

const char *text_printable(struct slice bytes, char out[256])
{
    size_t n = 0;

    for (size_t i = 0; i < bytes.n && n < 200; i++) {
        uint8_t c = bytes.p[i];

        if (c >= 0x20 && c < 0x7f)
            out[n++] = (char)c;
        else
            n += (size_t)snprintf(out + n, 256 - n, "\\x%02x", c);
    }
    out[n] = '\0';
    return out;
}

void html_escape(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '&':
            buf_str(out, "&amp;");
            break;
        case '<':
            buf_str(out, "&lt;");
            break;
        case '>':
            buf_str(out, "&gt;");
            break;
        case '"':
            buf_str(out, "&quot;");
            break;
        case '\'':
            buf_str(out, "&#39;");
            break;
        default:
            buf_u8(out, text.p[i]);
        }
    }
}
