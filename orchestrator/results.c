#include "orchestrator/results.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/profiles.h"

static void shelf_free(struct shelf *s)
{
    for (size_t i = 0; s && i < RESULTS_KEPT; i++) {
        blob_unref(&s->ring[i].media);
        blob_unref(&s->ring[i].phash);
    }
    free(s);
}

void results_cleanup(struct results *r)
{
    for (size_t i = 0; i < MAX_SHELVES; i++) {
        shelf_free(r->shelves[i]);
        r->shelves[i] = NULL;
    }
}

static struct shelf *shelf_of(struct results *r, const struct profile *p)
{
    struct shelf **at;

    for (size_t i = 0; i < MAX_SHELVES && r->shelves[i]; i++)
        if (strcmp(r->shelves[i]->name, p->name) == 0 && r->shelves[i]->container == p->container)
            return r->shelves[i];
    at = &r->shelves[r->n++ % MAX_SHELVES];
    shelf_free(*at);
    *at = xcalloc(1, sizeof(**at));
    snprintf((*at)->name, sizeof((*at)->name), "%s", p->name);
    (*at)->container = p->container;
    return *at;
}

void results_keep(struct results *r, const struct profile *p, int64_t seq, struct blob *media,
                  struct blob *phash)
{
    struct shelf *s = shelf_of(r, p);
    struct result *to = &s->ring[s->n++ % RESULTS_KEPT];

    blob_unref(&to->media);
    blob_unref(&to->phash);
    *to = (struct result){seq, blob_ref(media), blob_ref(phash)};
}

static struct blob *on_shelf(const struct shelf *s, struct slice file)
{
    const char *ext = container_ext(s->container);
    char name[64], hash_name[72];

    for (size_t i = 0; i < MIN(s->n, (size_t)RESULTS_KEPT); i++) {
        /* newest first: the same number may have been transcoded again */
        const struct result *r = &s->ring[(s->n - 1 - i) % RESULTS_KEPT];

        snprintf(name, sizeof(name), "%" PRId64 "%s", r->seq, ext);
        snprintf(hash_name, sizeof(hash_name), "%s.phash", name);
        if (slice_eq_str(file, name))
            return r->media;
        if (slice_eq_str(file, hash_name))
            return r->phash;
    }
    return NULL;
}

struct blob *results_find(const struct results *r, struct slice name, struct slice file)
{
    for (size_t i = 0; i < MAX_SHELVES && r->shelves[i]; i++) {
        struct blob *found = slice_eq_str(name, r->shelves[i]->name) ? on_shelf(r->shelves[i], file)
                                                                     : NULL;

        if (found)
            return found;
    }
    return NULL;
}
