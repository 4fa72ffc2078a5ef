/* media/rtmp/handshake.h: the first 3 KiB of an RTMP connection, each way.
 *
 * Two forms exist: the published one, an echo of random bytes, and an undocumented one
 * whose packets hold HMAC-SHA256 digests. A client that sent a valid digest is answered
 * with digests, everyone else with the echo. Our version bytes stay zero, so no client
 * insists on checking.
 *
 * Threads: pure, but for random bytes.   Source: RTMP 5.2; delivery.md a.2.
 */
#ifndef LEAT_MEDIA_RTMP_HANDSHAKE_H
#define LEAT_MEDIA_RTMP_HANDSHAKE_H

#include "base/err.h"

enum {
    HANDSHAKE_PACKET = 1536,                    /* C1, S1, C2, S2 */
    HANDSHAKE_HELLO = 1 + HANDSHAKE_PACKET,     /* C0 and C1 */
    HANDSHAKE_ANSWER = 1 + 2 * HANDSHAKE_PACKET /* S0, S1 and S2 */
};

/* Is this the first byte of an RTMP connection? RC_BAD_INPUT: it is text or TLS;
 * RC_UNSUPPORTED: RTMPE. */
MUST_CHECK enum rc handshake_check_version(uint8_t c0, struct err *err);

/* S0, S1, S2 for C0, C1. True when the client had a valid digest. */
bool handshake_answer(const uint8_t hello[HANDSHAKE_HELLO], uint8_t out[HANDSHAKE_ANSWER]);

/* A client's C0 and C1, in the published form. C2 is S1 sent back. */
void handshake_hello(uint8_t out[HANDSHAKE_HELLO]);

#endif
