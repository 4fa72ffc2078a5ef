#include "media/rtmp/handshake.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/rand.h"
#include "base/slice.h"

enum { RTMP_VERSION = 3, DIGEST = 32, VERSION_AT = 4, KEY_TEXT_CLIENT = 30, KEY_TEXT_SERVER = 36 };

/* Two texts that every implementation knows, each followed by the same 32 bytes. Digests of
 * first packets are keyed with the text alone. */
#define KEY_TAIL                                                                                   \
    "\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57"                             \
    "\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae"
static const struct slice client_text = {(const uint8_t *)"Genuine Adobe Flash Player 001",
                                         KEY_TEXT_CLIENT};
static const struct slice server_key = {
    (const uint8_t *)"Genuine Adobe Flash Media Server 001" KEY_TAIL, KEY_TEXT_SERVER + DIGEST};

/* The digest's place is told by four bytes at one of two places in the packet. */
static const struct {
    size_t offset_at, base;
} schemes[] = {{8, 12}, {772, 776}};

enum rc handshake_check_version(uint8_t c0, struct err *err)
{
    if (c0 == 6 || c0 == 8)
        return err_set(err, RC_UNSUPPORTED, "RTMPE (version %u) is obsolete and refused; use RTMPS",
                       c0);
    if (c0 >= 32 || c0 == 22) /* text begins above 31; a TLS handshake with 22 */
        return err_set(err, RC_BAD_INPUT, "not RTMP: the first byte is 0x%02x%s", c0,
                       c0 == 22 ? ", as TLS begins; this port speaks RTMP without TLS"
                       : c0 == 'G' || c0 == 'P' ? ", as HTTP begins"
                                                : "");
    return RC_OK; /* other versions are told that ours is 3 */
}

static size_t digest_at(const uint8_t *packet, size_t scheme)
{
    const uint8_t *o = packet + schemes[scheme].offset_at;

    return schemes[scheme].base + (size_t)(o[0] + o[1] + o[2] + o[3]) % 728;
}

static void hmac(struct slice key, struct slice bytes, uint8_t out[DIGEST])
{
    unsigned n = DIGEST;

    HMAC(EVP_sha256(), key.p, (int)key.n, bytes.p, bytes.n, out, &n);
}

/* Of a whole packet but for the 32 bytes where the digest itself stands. */
static void packet_digest(struct slice key, const uint8_t *packet, size_t at, uint8_t out[DIGEST])
{
    uint8_t rest[HANDSHAKE_PACKET - DIGEST];

    memcpy(rest, packet, at);
    memcpy(rest + at, packet + at + DIGEST, sizeof(rest) - at);
    hmac(key, slice_of(rest, sizeof(rest)), out);
}

static bool find_digest(const uint8_t *c1, size_t *scheme, uint8_t digest[DIGEST])
{
    for (*scheme = 0; *scheme < ARRAY_LEN(schemes); ++*scheme) {
        size_t at = digest_at(c1, *scheme);

        packet_digest(client_text, c1, at, digest);
        if (memcmp(digest, c1 + at, DIGEST) == 0)
            return true;
    }
    return false;
}

static void random_packet(uint8_t packet[HANDSHAKE_PACKET])
{
    rand_bytes(packet, HANDSHAKE_PACKET);
    memset(packet, 0, 8); /* time, and no version: nobody wants our digest checked */
}

bool handshake_answer(const uint8_t hello[HANDSHAKE_HELLO], uint8_t out[HANDSHAKE_ANSWER])
{
    const uint8_t *c1 = hello + 1;
    uint8_t *s1 = out + 1, *s2 = s1 + HANDSHAKE_PACKET;
    uint8_t digest[DIGEST], key[DIGEST];
    size_t scheme, at;
    static const uint8_t no_version[4];

    out[0] = RTMP_VERSION;
    random_packet(s1);
    if (memcmp(c1 + VERSION_AT, no_version, 4) == 0 || !find_digest(c1, &scheme, digest)) {
        memcpy(s2, c1, HANDSHAKE_PACKET);
        return false;
    }
    at = digest_at(s1, scheme);
    packet_digest(slice_sub(server_key, 0, KEY_TEXT_SERVER), s1, at, s1 + at);
    hmac(server_key, slice_of(digest, DIGEST), key);
    random_packet(s2);
    hmac(slice_of(key, DIGEST), slice_of(s2, HANDSHAKE_PACKET - DIGEST),
         s2 + HANDSHAKE_PACKET - DIGEST);
    return true;
}

void handshake_hello(uint8_t out[HANDSHAKE_HELLO])
{
    out[0] = RTMP_VERSION;
    random_packet(out + 1);
}
