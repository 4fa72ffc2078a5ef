/* What is understood is within its bounds, and names no place outside. */
#include <assert.h>

#include "store/object_url.h"

static void check_fields(const struct object_url *u)
{
    char name[OBJECT_NAME_MAX];

    object_url_name(u, name);
    assert(*name && strlen(name) < sizeof(name));
    if (u->kind == OBJECTS_IN_FOLDER) {
        assert(*u->path);
        return;
    }
    assert(*u->host && *u->region && *u->bucket && *u->key && *u->secret);
    assert(!strpbrk(u->host, "/@? ") && !strpbrk(u->bucket, "/@? "));
    assert(!*u->path || object_name_is_fine(slice_str(u->path)));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct err err = {0};
    struct object_url u;
    enum rc rc = object_url_parse(slice_of(p, n), &u, &err);

    if (rc == RC_OK)
        check_fields(&u);
    else
        assert(err.code == rc && *err.text && slice_is_utf8(slice_str(err.text)));
    return 0;
}
