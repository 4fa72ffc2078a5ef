/* Whatever parses is written by our writer, parses again, and is the same. */
#include <assert.h>
#include <stdlib.h>

#include "base/json.h"

static void write_value(struct json_out *j, const char *key, json_t *v);

static void write_members(struct json_out *j, json_t *v)
{
    const char *key;
    json_t *member;
    size_t i;

    json_object_foreach(v, key, member) write_value(j, key, member);
    json_array_foreach(v, i, member) write_value(j, NULL, member);
}

static void write_value(struct json_out *j, const char *key, json_t *v)
{
    bool is_object = json_is_object(v);

    switch (json_typeof(v)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        jo_open(j, key, is_object ? '{' : '[');
        write_members(j, v);
        jo_close(j, is_object ? '}' : ']');
        break;
    case JSON_STRING:
        jo_slice(j, key, slice_of(json_string_value(v), json_string_length(v)));
        break;
    case JSON_INTEGER:
        jo_int(j, key, json_integer_value(v));
        break;
    case JSON_REAL: /* written with so many decimals as given: only its kind is compared */
        json_real_set(v, 0.5);
        jo_real(j, key, 0.5, 1);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        jo_flag(j, key, json_is_true(v));
        break;
    case JSON_NULL:
        jo_text(j, key, NULL);
        break;
    }
}

static void check_round_trip(json_t *v)
{
    struct json_out j;
    struct err err;
    struct buf b;
    json_t *again;

    buf_init(&b, 1 << 24);
    j = json_out_of(&b);
    write_value(&j, NULL, v);
    assert(buf_ok(&b));
    again = json_parse(buf_slice(&b), &err);
    assert(again && json_equal(v, again));
    json_decref(again);
    buf_cleanup(&b);
}

static void check_fields(json_t *v)
{
    struct {
        char *text;
        uint32_t u32;
        int64_t i64;
        double real;
        bool flag;
    } got = {0};
    const struct json_field fields[] = {
        {"text", JSON_OPTIONAL, json_text, &got.text, 16},
        {"u32", JSON_OPTIONAL, json_u32, &got.u32, 1000},
        {"i64", JSON_OPTIONAL, json_i64, &got.i64, 1000},
        {"real", JSON_OPTIONAL, json_double, &got.real, 1000},
        {"flag", JSON_REQUIRED, json_flag, &got.flag, 0},
    };
    struct err err;

    if (json_read(v, fields, ARRAY_LEN(fields), &err) != RC_OK)
        assert(slice_is_utf8(slice_str(err.text)));
    assert(!got.text || strlen(got.text) <= 16);
    assert(got.u32 <= 1000 && got.i64 >= -1000 && got.i64 <= 1000);
    assert(got.real >= -1000 && got.real <= 1000);
    free(got.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct err err = {0};
    json_t *v = json_parse(slice_of(p, n), &err);

    if (v) {
        check_fields(v);
        check_round_trip(v);
    } else {
        assert(err.code == RC_BAD_INPUT && err.text[0] && slice_is_utf8(slice_str(err.text)));
    }
    json_decref(v);
    return 0;
}
