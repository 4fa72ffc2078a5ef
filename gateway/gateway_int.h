/* gateway/gateway_int.h: what the gateway's own files share; nobody else includes it. */
#ifndef LEAT_GATEWAY_GATEWAY_INT_H
#define LEAT_GATEWAY_GATEWAY_INT_H

#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "gateway/candidates.h"
#include "gateway/gateway.h"
#include "media/rtmp/rtmp_server.h"
#include "net/http_client.h"
#include "output/playback.h"
#include "store/store.h"

#define SPACE_NUMBERS "stream.numbers" /* of the store */

enum { NUMBERS_KEPT_DAYS = 30, REFUSED_LOGGED_A_MINUTE = 10 };

struct gateway {
    struct loop *loop;
    struct gateway_conf conf;
    struct http_server *http;
    struct rtmp_server *rtmp;
    struct http_client *client;
    struct web *web;
    struct store *store;
    struct playback *playback;
    struct candidates *candidates;
    struct timer *drain; /* while stopping */
    int64_t drain_until_ms;
    bool let_go; /* orchestrators were told; a moment for the calls to leave */
    void (*on_drained)(void *arg);
    void *drained_arg;
    int64_t share_done; /* summed over the n_sharing streams that have results: SHARE_ONE each */
    size_t n_sharing;
    size_t n_asked;           /* streams the auth webhook is asked about */
    size_t pushed_bytes;      /* held by pushes until their answer is out */
    struct log_limit refused; /* publishers for whom there was no room */
    struct map *lives;        /* name -> struct live, ENDED ones included until forgotten */
};

/* intake_rtmp.c, intake_push.c */
enum rc intake_rtmp_open(struct gateway *g, struct err *err);
void intake_push(struct gateway *g, struct http_exchange *x);

int gateway_count_live(const struct gateway *g);

/* May a new stream begin? At -maxSessions the one that was quiet for longest ends for it, if
 * any is; otherwise false, and *why with the figures. */
bool gateway_has_room(struct gateway *g, struct err *why);

#endif
