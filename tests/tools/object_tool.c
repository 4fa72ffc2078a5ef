/* Puts one file into an object store, through the code that nodes use.
 *
 * Usage: object_tool STORE NAME FILE TRY_MS     three tries; exit status 0, or 1 and a sentence
 */
#include <stdio.h>
#include <stdlib.h>

#include "store/objects.h"

enum { MAX_FILE = 64 << 20, FIRST_PAUSE_MS = 50, WHOLE_MS = 60000 };

struct run {
    struct loop *loop;
    int status;
};

static void on_done(const struct err *err, void *arg)
{
    struct run *r = arg;

    r->status = err != NULL;
    printf("%s\n", err ? err->text : "ok");
    loop_stop(r->loop);
}

static struct blob *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct buf b;
    uint8_t *at;
    size_t n;

    if (!f)
        return NULL;
    buf_init(&b, MAX_FILE);
    while ((at = buf_reserve(&b, 65536)) && (n = fread(at, 1, 65536, f)) > 0)
        b.n += n;
    fclose(f);
    return blob_of_buf(&b);
}

int main(int argc, char **argv)
{
    struct run r = {.loop = loop_new(), .status = 1};
    struct objects_conf conf = {
        .loop = r.loop, .max_bytes = MAX_FILE, .first_pause_ms = FIRST_PAUSE_MS};
    struct blob *body = argc == 5 ? read_file(argv[3]) : NULL;
    struct objects *objects;
    struct err err = {0};

    if (!body || object_url_parse(slice_str(argv[1]), &conf.url, &err) != RC_OK) {
        printf("%s\n", body ? err.text : "usage: object_tool STORE NAME FILE TRY_MS");
        return 1;
    }
    conf.web = web_new(r.loop);
    objects = objects_new(&conf);
    objects_put(objects, &(struct object_put){.name = argv[2],
                                              .body = body,
                                              .type = "video/mp2t",
                                              .duration_ms = 2000,
                                              .tries = 3,
                                              .try_ms = atoi(argv[4]),
                                              .whole_ms = WHOLE_MS,
                                              .on_done = on_done,
                                              .arg = &r});
    loop_run(r.loop);
    objects_free(objects);
    web_free(conf.web);
    blob_unref(&body);
    loop_free(r.loop);
    return r.status;
}
