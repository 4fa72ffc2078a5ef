/* media/rtmp/rtmp_client.h: publishes to an RTMP server; for `leat publish`, the test
 * stream of `leat up` and the benchmarks. Source: delivery.md a.7. Threads: loop. */
#ifndef LEAT_MEDIA_RTMP_CLIENT_H
#define LEAT_MEDIA_RTMP_CLIENT_H

#include "base/err.h"
#include "base/slice.h"
#include "net/loop.h"

struct rtmp_client;

struct rtmp_client_conf {
    const char *url;                                  /* "rtmp://host:port/app/name", copied */
    void (*on_ready)(void *arg);                      /* Publish.Start came: send media */
    void (*on_end)(const struct err *why, void *arg); /* once; the client must still be freed,
                                       from here or later. why NULL: the server closed */
    void *arg;
};

/* Callbacks come from the loop, also for a URL that cannot be used. */
struct rtmp_client *rtmp_client_new(struct loop *l, const struct rtmp_client_conf *conf);

/* One FLV tag body (type FLV_AUDIO, FLV_VIDEO, FLV_SCRIPT). Dropped before on_ready. */
void rtmp_client_tag(struct rtmp_client *c, int type, uint32_t time_ms, struct slice body);
size_t rtmp_client_queued(const struct rtmp_client *c);

/* FCUnpublish, deleteStream, then closes when all is sent. No callback comes afterwards. */
void rtmp_client_goodbye(struct rtmp_client *c);
void rtmp_client_free(struct rtmp_client *c); /* NULL is fine */

#endif
