#include "store/unsaved.h"

#include <stdlib.h>

#include "base/clock.h"

void unsaved_init(struct unsaved *u)
{
    *u = (struct unsaved){.by_key = map_new()};
    list_init(&u->writes);
}

static void write_free(struct write *w)
{
    blob_unref(&w->key);
    blob_unref(&w->value);
    free(w);
}

/* space, NUL, key; an expiry, which has no key of its own, stands under the space alone. */
static void name_of(enum write_kind kind, const char *space, struct slice key, struct buf *out)
{
    buf_init(out, SIZE_MAX);
    buf_str(out, space);
    if (kind == WRITE_EXPIRE)
        return;
    buf_u8(out, 0);
    buf_add_slice(out, key);
}

static void drop(struct unsaved *u, struct write *w)
{
    struct buf name;

    name_of(w->kind, w->space, blob_slice(w->key), &name);
    map_remove(u->by_key, buf_slice(&name));
    buf_cleanup(&name);
    list_remove(&u->writes, &w->node);
    write_free(w);
}

void unsaved_clear(struct unsaved *u)
{
    LIST_EACH (&u->writes, struct write, node, w)
        drop(u, w);
}

void unsaved_cleanup(struct unsaved *u)
{
    unsaved_clear(u);
    map_free(u->by_key);
    u->by_key = NULL;
}

void unsaved_add(struct unsaved *u, const struct write *w)
{
    struct write *added = xmalloc(sizeof(*added)), *old;
    struct buf name;

    *added = *w;
    added->key = blob_ref(w->key);
    added->value = blob_ref(w->value);
    if (list_is_empty(&u->writes))
        u->since_ms = clock_mono_ms();
    name_of(w->kind, w->space, blob_slice(w->key), &name);
    old = map_put(u->by_key, buf_slice(&name), added);
    buf_cleanup(&name);
    if (old) {
        list_remove(&u->writes, &old->node);
        write_free(old);
    }
    list_push(&u->writes, &added->node);
    if (u->writes.n > MAX_UNSAVED) {
        drop(u, LIST_FIRST(&u->writes, struct write, node));
        u->dropped++;
    }
}

const struct write *unsaved_find(const struct unsaved *u, const char *space, struct slice key)
{
    const struct write *w;
    struct buf name;

    name_of(WRITE_PUT, space, key, &name);
    w = map_get(u->by_key, buf_slice(&name));
    buf_cleanup(&name);
    return w;
}
