/* base/json.h: JSON requests declare their fields; reading, range checks and the
 * error text come from the table (jansson underneath). Writing is a small streaming
 * writer, so answers need no tree.
 */
#ifndef LEAT_BASE_JSON_H
#define LEAT_BASE_JSON_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

/* Any JSON value, with limits: depth 32, duplicate keys and U+0000 refused. NULL and *err
 * (RC_BAD_INPUT) on failure. The caller json_decref()s it. */
json_t *json_parse(struct slice text, struct err *err);

enum json_need { JSON_OPTIONAL, JSON_REQUIRED };

/* Reads `value` of the field into `out`; `limit` is the reader's own maximum. */
typedef enum rc (*json_field_reader)(json_t *value, void *out, int64_t limit, struct err *err);

struct json_field {
    const char *name;
    enum json_need need;
    json_field_reader read;
    void *out; /* untouched when an optional field is absent or null */
    int64_t limit;
};

/* RC_BAD_INPUT: `field "name": expected ..., got ...`. Unknown fields are ignored. On failure
 * the fields before the bad one are filled already. */
MUST_CHECK enum rc json_read(json_t *object, const struct json_field *fields, size_t n,
                             struct err *err);

/* char **: NULL or heap text, which is freed and replaced. At most max bytes. */
enum rc json_text(json_t *v, void *out, int64_t max, struct err *err);
/* uint32_t *, at most max. */
enum rc json_u32(json_t *v, void *out, int64_t max, struct err *err);
/* int64_t *, -max to max. */
enum rc json_i64(json_t *v, void *out, int64_t max, struct err *err);
/* double *, -max to max. */
enum rc json_double(json_t *v, void *out, int64_t max, struct err *err);
/* bool *. */
enum rc json_flag(json_t *v, void *out, int64_t max, struct err *err);

/* A member for who only shows what is there: "" or 0 when it is absent or of another type. The text
 * is the object's. */
const char *json_member_text(const json_t *object, const char *key);
json_int_t json_member_int(const json_t *object, const char *key);

/* Writer. Keys and texts are escaped; invalid UTF-8 becomes U+FFFD. Check buf_ok() at the end. */
struct json_out {
    struct buf *to;
    bool comma;
};

struct json_out json_out_of(struct buf *to);
/* '{' or '['; key NULL in arrays and at the top. */
void jo_open(struct json_out *j, const char *key, char bracket);
void jo_close(struct json_out *j, char bracket);                      /* '}' or ']' */
void jo_text(struct json_out *j, const char *key, const char *value); /* NULL writes null */
void jo_slice(struct json_out *j, const char *key, struct slice value);
void jo_int(struct json_out *j, const char *key, int64_t value);
/* Not a number, infinite: null, since JSON has no such numbers. */
void jo_real(struct json_out *j, const char *key, double value, int decimals);
void jo_flag(struct json_out *j, const char *key, bool value);

#endif
