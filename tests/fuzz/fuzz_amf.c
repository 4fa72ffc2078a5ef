/* AMF0 from strangers: values never reach outside the message, and a text or number that was
 * read is written back to what reads the same. */
#include <assert.h>

#include "media/rtmp/amf.h"

static struct slice input;

static void check_inside(struct slice s)
{
    assert(!s.n || (s.p >= input.p && s.p + s.n <= input.p + input.n));
}

static void check_again(const struct amf_value *v)
{
    struct buf b;
    struct slice in;
    struct amf_value again;

    buf_init(&b, 1 << 20);
    if (v->type == AMF_TEXT)
        amf_put_text(&b, v->text);
    else
        amf_put_number(&b, v->number);
    in = buf_slice(&b);
    assert(amf_read(&in, &again) && !in.n && again.type == v->type);
    assert(slice_eq(again.text, v->text));
    assert(memcmp(&again.number, &v->number, sizeof(v->number)) == 0);
    buf_cleanup(&b);
}

static void walk(struct amf_value *v, int depth)
{
    struct slice left = v->members, key;
    struct amf_value inner;

    assert(depth < AMF_MAX_DEPTH);
    check_inside(v->text);
    check_inside(v->members);
    if (v->type == AMF_TEXT || v->type == AMF_NUMBER)
        check_again(v);
    while (v->type == AMF_OBJECT && amf_next_member(&left, &key, &inner)) {
        check_inside(key);
        walk(&inner, depth + 1);
    }
    while (v->type == AMF_LIST && amf_read(&left, &inner))
        walk(&inner, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct slice in = {p, MIN(n, (size_t)4096)};
    struct amf_value v, found;

    input = in;
    while (amf_read(&in, &v)) {
        walk(&v, 0);
        if (amf_find(&v, "tcUrl", &found))
            walk(&found, 1);
    }
    return 0;
}
