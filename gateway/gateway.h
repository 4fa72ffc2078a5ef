/* gateway/gateway.h: takes streams in, has them transcoded, puts them on air.
 *
 * One process: RTMP server, media HTTP server (push, playback, page), candidates and
 * sessions with orchestrators. The way of a segment is design.md 4; modules in reading
 * order are in gateway/README.md.   Threads: loop.
 */
#ifndef LEAT_GATEWAY_GATEWAY_H
#define LEAT_GATEWAY_GATEWAY_H

#include "base/buf.h"
#include "base/err.h"
#include "media/profile.h"
#include "net/http_server.h"
#include "net/loop.h"

struct gateway;

struct gateway_conf {
    const char *rtmp_addr; /* "127.0.0.1:1935"; port 0 picks one */
    const char *http_addr; /* "127.0.0.1:9935" */
    bool http_ingest;
    const char *const *orch_uris; /* complete URIs, NULL ends; may be empty */
    const char *orch_webhook_url; /* NULL: none; wins over orch_uris */
    const char *auth_webhook_url; /* asked about each new stream; NULL: all may begin */
    const char *min_version;      /* -orchMinLivepeerVersion, "" */
    const char *const *blocklist; /* -orchBlocklist, lowercase without 0x, NULL ends */
    int discovery_timeout_ms;     /* 500 */
    int extra_nodes;
    const struct profile *profiles; /* what each stream is transcoded to */
    size_t n_profiles;
    int max_attempts;        /* <= 0: do not transcode */
    int max_sessions;        /* live streams at once */
    size_t max_pushed_bytes; /* of all HTTP pushes that have no answer yet; 0: 512 MiB */
    const char *data_dir;
    int reconnect_grace_ms; /* a publisher that was cut off may return: 60000 */
    bool current_manifest;
    const char *version;
    /* Requests on the media port that are not the gateway's: the page. NULL: 404. */
    http_handler fallback;
    void *fallback_arg;
};

/* NULL and *err: a port in use (says which flag), data directory. */
struct gateway *gateway_start(struct loop *l, const struct gateway_conf *conf, struct err *err);

/* Closes publishers' connections, waits for renditions on their way (at most within_ms), tells
 * orchestrators, then on_done once. Playlists get no end tag: a restart goes on with them. */
void gateway_drain(struct gateway *g, int within_ms, void (*on_done)(void *arg), void *arg);
void gateway_stop(struct gateway *g); /* at once; frees */

/* For streams that begin from now on. profiles stay the caller's and must outlive the gateway. */
void gateway_set_profiles(struct gateway *g, const struct profile *profiles, size_t n);
void gateway_set_max_sessions(struct gateway *g, int n);

/* For pages, leat status and tests. Shape in doc/status.md:
 * { "streams":[{ "name","state":"live|waiting|ended","ingest":"rtmp|push","encoder","since_ms",
 *     "source":{"codec","width","height","fps","bitrate"},
 *     "segments","in_flight","reconnects",
 *     "renditions":[{"name","width","height","fps","bitrate","last_segment","gaps",
 *                    "orchestrator","round_trip_ms","ratio"}],
 *     "troubles":[{"at_ms","text","segment"}] }],
 *   "orchestrators":[{"uri","state":"ready|suspended|unreachable|...","reason","latency_ms",
 *                     "in_flight","segments","failures","capabilities_missing"}],
 *   "rtmp_addr","http_addr" } */
void gateway_status(struct gateway *g, struct buf *json);

/* Can streams be transcoded? false: `why` holds one reason per line. */
bool gateway_is_ready(struct gateway *g, struct buf *why);
const char *gateway_rtmp_addr(const struct gateway *g);
const char *gateway_http_addr(const struct gateway *g);

#endif
