#include "orchestrator/token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/rand.h"

enum { MAC_BYTES = 32, SESSION_ID_BYTES = 4 };

/* HMAC-SHA256 over the session id and the expiration in as few big-endian bytes as it needs. */
static void mac(const uint8_t key[32], const struct auth_token *t, uint8_t out[MAC_BYTES])
{
    uint8_t message[SESSION_ID_MAX + 8];
    size_t n = strlen(t->session_id);
    unsigned length = MAC_BYTES;
    bool leading = true;

    memcpy(message, t->session_id, n);
    for (int shift = 56; shift >= 0; shift -= 8) {
        uint8_t b = (uint8_t)((uint64_t)t->expiration >> shift);

        leading = leading && b == 0;
        if (!leading)
            message[n++] = b;
    }
    HMAC(EVP_sha256(), key, 32, message, n, out, &length);
}

void token_make(const uint8_t key[32], int64_t now_s, struct auth_token *out)
{
    memset(out, 0, sizeof(*out));
    rand_hex(out->session_id, SESSION_ID_BYTES);
    out->expiration = now_s + AUTH_TOKEN_LIFE_S;
    mac(key, out, out->token);
    out->token_n = MAC_BYTES;
}

bool token_is_ours(const uint8_t key[32], const struct auth_token *t)
{
    uint8_t right[MAC_BYTES];

    mac(key, t, right);
    return slice_eq_secret(slice_of(right, MAC_BYTES), slice_of(t->token, t->token_n));
}

enum rc token_check(const uint8_t key[32], int64_t now_s, const struct auth_token *t,
                    struct err *err)
{
    if (!t)
        return err_set(err, RC_DENIED, "missing auth token");
    if (!token_is_ours(key, t))
        return err_set(err, RC_DENIED, "invalid auth token");
    if (now_s > t->expiration)
        return err_set(err, RC_DENIED, "expired auth token");
    return RC_OK;
}
