#include "store/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <time.h>

enum { HASH_SIZE = 32, DATE_SIZE = 8, MAX_CANONICAL = 16384 };

struct mac {
    uint8_t bytes[HASH_SIZE];
};

void sigv4_time(int64_t wall_ms, char out[SIGV4_TIME_MAX])
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, SIGV4_TIME_MAX, "%Y%m%dT%H%M%SZ", &tm);
}

static void write_hex(const uint8_t bytes[HASH_SIZE], char out[SIGV4_HASH_MAX])
{
    for (int i = 0; i < HASH_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

void sigv4_hash(struct slice bytes, char out[SIGV4_HASH_MAX])
{
    uint8_t hash[HASH_SIZE];

    EVP_Digest(bytes.p, bytes.n, hash, NULL, EVP_sha256(), NULL);
    write_hex(hash, out);
}

static struct mac mac_of(struct slice key, struct slice text)
{
    struct mac m;

    HMAC(EVP_sha256(), key.p, (int)key.n, text.p, text.n, m.bytes, NULL);
    return m;
}

static struct mac mac_again(const struct mac *key, struct slice text)
{
    return mac_of(slice_of(key->bytes, HASH_SIZE), text);
}

static struct mac signing_key(const struct sigv4_request *r)
{
    char first[300];
    struct mac m;

    snprintf(first, sizeof(first), "AWS4%s", r->secret);
    m = mac_of(slice_str(first), slice_of(r->time, DATE_SIZE));
    OPENSSL_cleanse(first, sizeof(first));
    m = mac_again(&m, slice_str(r->region));
    m = mac_again(&m, SLICE_LIT("s3"));
    return mac_again(&m, SLICE_LIT("aws4_request"));
}

static void write_names(const struct sigv4_request *r, struct buf *out)
{
    for (size_t i = 0; i < r->n_headers; i++)
        buf_printf(out, "%s%s", i ? ";" : "", r->headers[i].name);
}

static void write_canonical(const struct sigv4_request *r, struct buf *out)
{
    buf_printf(out, "%s\n%s\n\n", r->method, r->path);
    for (size_t i = 0; i < r->n_headers; i++)
        buf_printf(out, "%s:%s\n", r->headers[i].name, r->headers[i].value);
    buf_str(out, "\n");
    write_names(r, out);
    buf_printf(out, "\n%s", r->content_sha256);
}

void sigv4_sign(const struct sigv4_request *r, struct buf *out)
{
    char scope[128], hash[SIGV4_HASH_MAX], text[512], signature[SIGV4_HASH_MAX];
    struct mac key = signing_key(r), mac;
    struct buf canonical;
    int n;

    buf_init(&canonical, MAX_CANONICAL);
    write_canonical(r, &canonical);
    sigv4_hash(buf_slice(&canonical), hash);
    buf_cleanup(&canonical);
    snprintf(scope, sizeof(scope), "%.*s/%s/s3/aws4_request", DATE_SIZE, r->time, r->region);
    n = snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n%s\n%s\n%s", r->time, scope, hash);
    mac = mac_again(&key, slice_of(text, (size_t)n));
    write_hex(mac.bytes, signature);
    buf_printf(out, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=", r->key, scope);
    write_names(r, out);
    buf_printf(out, ", Signature=%s", signature);
    OPENSSL_cleanse(&key, sizeof(key));
}
