#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base_int.h"
#include "base/text.h"

enum { JSON_MAX_DEPTH = 32 };

/* Looked at before parsing, so that the parser's recursion is bounded too. */
static bool is_too_deep(struct slice text)
{
    int depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_MAX_DEPTH)
                return true;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

json_t *json_parse(struct slice text, struct err *err)
{
    json_error_t why;
    char words[256];
    json_t *v;

    if (is_too_deep(text)) {
        err_set(err, RC_BAD_INPUT, "JSON is nested deeper than %d levels", JSON_MAX_DEPTH);
        return NULL;
    }
    v = json_loadb(text.n ? (const char *)text.p : "", text.n,
                   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!v)
        err_set(err, RC_BAD_INPUT, "no JSON: line %d, column %d: %s", why.line, why.column,
                text_printable(slice_str(why.text), words)); /* it quotes the peer */
    return v;
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "null";
}

static enum rc read_field(json_t *object, const struct json_field *f, struct err *err)
{
    json_t *v = json_object_get(object, f->name);
    enum rc rc;

    if (!v || json_is_null(v)) {
        if (f->need == JSON_OPTIONAL)
            return RC_OK;
        return err_set(err, RC_BAD_INPUT, "field \"%s\" is missing", f->name);
    }
    rc = f->read(v, f->out, f->limit, err);
    return rc == RC_OK ? rc : err_wrap(err, rc, "field \"%s\"", f->name);
}

enum rc json_read(json_t *object, const struct json_field *fields, size_t n, struct err *err)
{
    if (!json_is_object(object))
        return err_set(err, RC_BAD_INPUT, "expected an object, got %s", type_name(object));
    for (size_t i = 0; i < n; i++) {
        enum rc rc = read_field(object, &fields[i], err);

        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

enum rc json_text(json_t *v, void *out, int64_t max, struct err *err)
{
    char **to = out;

    if (!json_is_string(v))
        return err_set(err, RC_BAD_INPUT, "expected a text, got %s", type_name(v));
    if ((int64_t)json_string_length(v) > max)
        return err_set(err, RC_BAD_INPUT, "expected at most %lld bytes of text, got %zu",
                       (long long)max, json_string_length(v));
    free(*to);
    *to = xstrdup(json_string_value(v));
    return RC_OK;
}

enum rc json_i64(json_t *v, void *out, int64_t max, struct err *err)
{
    json_int_t n = json_integer_value(v);

    if (!json_is_integer(v))
        return err_set(err, RC_BAD_INPUT, "expected a whole number, got %s", type_name(v));
    if (n > max || n < -max)
        return err_set(err, RC_BAD_INPUT, "expected -%lld to %lld, got %lld", (long long)max,
                       (long long)max, (long long)n);
    *(int64_t *)out = n;
    return RC_OK;
}

enum rc json_u32(json_t *v, void *out, int64_t max, struct err *err)
{
    json_int_t n = json_integer_value(v);
    int64_t most = MIN(max, (int64_t)UINT32_MAX);

    if (!json_is_integer(v))
        return err_set(err, RC_BAD_INPUT, "expected a whole number, got %s", type_name(v));
    if (n < 0 || n > most)
        return err_set(err, RC_BAD_INPUT, "expected 0 to %lld, got %lld", (long long)most,
                       (long long)n);
    *(uint32_t *)out = (uint32_t)n;
    return RC_OK;
}

enum rc json_double(json_t *v, void *out, int64_t max, struct err *err)
{
    double d = json_number_value(v);

    if (!json_is_number(v))
        return err_set(err, RC_BAD_INPUT, "expected a number, got %s", type_name(v));
    if (fabs(d) > (double)max)
        return err_set(err, RC_BAD_INPUT, "expected -%lld to %lld, got %g", (long long)max,
                       (long long)max, d);
    *(double *)out = d;
    return RC_OK;
}

enum rc json_flag(json_t *v, void *out, int64_t max, struct err *err)
{
    (void)max;
    if (!json_is_boolean(v))
        return err_set(err, RC_BAD_INPUT, "expected true or false, got %s", type_name(v));
    *(bool *)out = json_is_true(v);
    return RC_OK;
}

/* --- members, for show --- */

const char *json_member_text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

json_int_t json_member_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* --- writer --- */

struct json_out json_out_of(struct buf *to)
{
    return (struct json_out){.to = to};
}

static void write_text(struct buf *to, struct slice s)
{
    buf_u8(to, '"');
    while (s.n) {
        uint8_t c = s.p[0];
        size_t n = utf8_sequence(s);

        if (c == '"' || c == '\\')
            buf_printf(to, "\\%c", c);
        else if (c < 0x20)
            buf_printf(to, "\\u%04x", c);
        else if (n)
            buf_add(to, s.p, n);
        else
            buf_str(to, "\\ufffd");
        s = slice_skip(s, MAX(n, (size_t)1));
    }
    buf_u8(to, '"');
}

static void begin(struct json_out *j, const char *key)
{
    if (j->comma)
        buf_u8(j->to, ',');
    j->comma = true;
    if (!key)
        return;
    write_text(j->to, slice_str(key));
    buf_u8(j->to, ':');
}

void jo_open(struct json_out *j, const char *key, char bracket)
{
    begin(j, key);
    buf_u8(j->to, (uint8_t)bracket);
    j->comma = false;
}

void jo_close(struct json_out *j, char bracket)
{
    buf_u8(j->to, (uint8_t)bracket);
    j->comma = true;
}

void jo_slice(struct json_out *j, const char *key, struct slice value)
{
    begin(j, key);
    write_text(j->to, value);
}

void jo_text(struct json_out *j, const char *key, const char *value)
{
    if (value) {
        jo_slice(j, key, slice_str(value));
        return;
    }
    begin(j, key);
    buf_str(j->to, "null");
}

void jo_int(struct json_out *j, const char *key, int64_t value)
{
    begin(j, key);
    buf_printf(j->to, "%lld", (long long)value);
}

void jo_real(struct json_out *j, const char *key, double value, int decimals)
{
    begin(j, key);
    if (isfinite(value))
        buf_printf(j->to, "%.*f", decimals, value);
    else
        buf_str(j->to, "null");
}

void jo_flag(struct json_out *j, const char *key, bool value)
{
    begin(j, key);
    buf_str(j->to, value ? "true" : "false");
}
