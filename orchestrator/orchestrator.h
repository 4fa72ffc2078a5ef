/* orchestrator/orchestrator.h: takes work from gateways and hands it to workers.
 *
 * One TLS port speaks gRPC (GetOrchestrator, Ping, EndTranscodingSession,
 * RegisterTranscoder) and HTTP (/segment, /stream/..., /transcodeResults, /healthz,
 * /readyz). Local workers are child processes that register over a Unix socket with a
 * random secret: the same protocol, one code path.
 *
 * Source: video.md 1 to 4, 11; peers.md.   Threads: loop.
 */
#ifndef LEAT_ORCHESTRATOR_ORCHESTRATOR_H
#define LEAT_ORCHESTRATOR_ORCHESTRATOR_H

#include "base/buf.h"
#include "base/err.h"
#include "net/http_server.h"
#include "net/loop.h"

struct orchestrator;

struct orchestrator_conf {
    const char *http_addr;          /* where to listen: "host:port", "http://host:port" for clear
                                       text (h2c), NULL: all interfaces, the service URI's port */
    const char *service_uri;        /* "https://host:8935", what peers are told; never NULL */
    const char *data_dir;           /* cert.pem, key.pem, worker.sock */
    const char *secret;             /* -orchSecret; NULL: no remote workers */
    bool local_worker;              /* -transcoder: start one as a child process */
    const char *worker_program;     /* path of leat; NULL: our own executable */
    const char *const *worker_args; /* further flags for it, NULL ends (e.g. -failedSegments DIR) */
    int max_sessions;               /* -1: auto, the sum of the workers' capacities */
    const char *const *nodes;       /* -nodes, NULL ends; may be NULL */
    const char *version;            /* advertised, "0.9.1-leat..." see node/version.h */
    bool startup_check;             /* -startupAvailabilityCheck: ping our own service URI */
};

/* NULL and *err: port in use, unusable certificate, data directory. */
struct orchestrator *orchestrator_start(struct loop *l, const struct orchestrator_conf *conf,
                                        struct err *err);

/* Refuses new sessions with a reason, finishes what runs (at most `within_ms`), then on_done. */
void orchestrator_drain(struct orchestrator *o, int within_ms, void (*on_done)(void *arg),
                        void *arg);
/* -1: auto. Sessions that run stay. */
void orchestrator_set_max_sessions(struct orchestrator *o, int n);
void orchestrator_stop(struct orchestrator *o); /* at once; frees */

/* What pages and tests read: address, draining, sessions (id, manifest, worker, segments,
 * ratio), workers (address, capacity, load, state, failures with reasons), last refusals. */
void orchestrator_status(struct orchestrator *o, struct buf *json);

/* Ready to take work? false: `why` holds one reason per line. */
bool orchestrator_is_ready(struct orchestrator *o, struct buf *why);
const char *orchestrator_addr(const struct orchestrator *o); /* with the real port */

#endif
