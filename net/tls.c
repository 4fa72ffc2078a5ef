#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rand.h"
#include "net/net_int.h"

/* video.md 1.2: validity of the certificate. */
enum { SELF_SIGNED_HOURS = 8765 };

struct tls_server {
    SSL_CTX *ctx;
};

struct tls_client {
    SSL_CTX *ctx;
    bool verify;
};

enum rc tls_err(struct err *err, enum rc rc, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return err_set(err, rc, "%s: %s", what, reason ? reason : "unknown reason");
}

static SSL_CTX *context_new(const SSL_METHOD *method, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx) {
        (void)tls_err(err, RC_INTERNAL, "TLS");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* Peers close without a good-bye; the layers above know where their messages end. */
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return ctx;
}

/* --- server --- */

/* Ours first: h2 when the client speaks it at all. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                       const unsigned char *in, unsigned in_n, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1\x08http/1.0";
    unsigned char *chosen;

    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&chosen, out_n, ours, sizeof(ours) - 1, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool load_pair(SSL_CTX *ctx, const char *cert_pem, const char *key_pem, struct err *err)
{
    char what[256];

    snprintf(what, sizeof(what), "certificate %s", cert_pem);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_pem) != 1) {
        (void)tls_err(err, RC_BAD_INPUT, what);
        return false;
    }
    snprintf(what, sizeof(what), "key %s", key_pem);
    if (SSL_CTX_use_PrivateKey_file(ctx, key_pem, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1) {
        (void)tls_err(err, RC_BAD_INPUT, what);
        return false;
    }
    return true;
}

struct tls_server *tls_server_new(const char *cert_pem, const char *key_pem, struct err *err)
{
    struct tls_server *t;
    SSL_CTX *ctx = context_new(TLS_server_method(), err);

    if (!ctx)
        return NULL;
    if (!load_pair(ctx, cert_pem, key_pem, err)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets keep resumption */
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    t = xcalloc(1, sizeof(*t));
    t->ctx = ctx;
    return t;
}

void tls_server_free(struct tls_server *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    free(t);
}

SSL *tls_server_ssl(struct tls_server *t)
{
    SSL *ssl = SSL_new(t->ctx);

    if (ssl)
        SSL_set_accept_state(ssl);
    return ssl;
}

/* --- client --- */

struct tls_client *tls_client_new(bool verify, struct err *err)
{
    SSL_CTX *ctx = context_new(TLS_client_method(), err);
    struct tls_client *t;

    if (!ctx)
        return NULL;
    if (verify && SSL_CTX_set_default_verify_paths(ctx) != 1) {
        (void)tls_err(err, RC_INTERNAL, "TLS root certificates");
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    t = xcalloc(1, sizeof(*t));
    t->ctx = ctx;
    t->verify = verify;
    return t;
}

void tls_client_free(struct tls_client *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    free(t);
}

static bool is_address(const char *name)
{
    uint8_t bytes[16];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

/* "h2,http/1.1" as length-prefixed names. */
static bool offer_alpn(SSL *ssl, const char *names)
{
    struct slice rest = slice_str(names), one;
    uint8_t wire[64];
    size_t n = 0;

    while (slice_split(&rest, ',', &one)) {
        if (n + 1 + one.n > sizeof(wire))
            return false;
        wire[n++] = (uint8_t)one.n;
        memcpy(wire + n, one.p, one.n);
        n += one.n;
    }
    return SSL_set_alpn_protos(ssl, wire, (unsigned)n) == 0;
}

static bool set_name(const struct tls_client *t, SSL *ssl, const char *name)
{
    if (is_address(name))
        return !t->verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    if (SSL_set_tlsext_host_name(ssl, name) != 1)
        return false;
    return !t->verify || SSL_set1_host(ssl, name) == 1;
}

SSL *tls_client_ssl(struct tls_client *t, const char *name, const char *alpn)
{
    SSL *ssl = SSL_new(t->ctx);

    if (!ssl)
        return NULL;
    SSL_set_connect_state(ssl);
    if (set_name(t, ssl, name) && (!alpn || offer_alpn(ssl, alpn)))
        return ssl;
    SSL_free(ssl);
    return NULL;
}

/* --- the self-made certificate --- */

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;
    bool ok;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

/* Built from parts: as configuration text, a comma in the name would start another entry.
 * Critical, because the subject is empty (RFC 5280 4.2.1.6). */
static bool add_dns_name(X509 *cert, const char *dns_name)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    bool ok = names && name && text && ASN1_STRING_set(text, dns_name, -1) == 1;

    if (ok) {
        GENERAL_NAME_set0_value(name, GEN_DNS, text);
        text = NULL;
        ok = sk_GENERAL_NAME_push(names, name) > 0;
        if (ok)
            name = NULL;
        ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1, 0) == 1;
    }
    ASN1_IA5STRING_free(text);
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return ok;
}

static bool set_serial(X509 *cert)
{
    uint8_t bytes[16];
    BIGNUM *number;
    bool ok;

    rand_bytes(bytes, sizeof(bytes));
    number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return ok;
}

static X509 *make_certificate(EVP_PKEY *key, const char *dns_name)
{
    X509 *cert = X509_new();

    if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
        X509_gmtime_adj(X509_getm_notAfter(cert), SELF_SIGNED_HOURS * 3600L) &&
        X509_set_pubkey(cert, key) == 1 &&
        add_extension(cert, NID_basic_constraints, "critical,CA:TRUE") &&
        add_extension(cert, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
        add_extension(cert, NID_ext_key_usage, "serverAuth") && add_dns_name(cert, dns_name) &&
        X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

/* Another node that reads the folder sees the old file or the new one, never half of one. */
static enum rc write_private(const char *dir, const char *name, BIO *pem, struct err *err)
{
    char *path = xasprintf("%s/%s", dir, name), *tmp = xasprintf("%s/.%s.new", dir, name);
    char *text;
    long n = BIO_get_mem_data(pem, &text);
    enum rc rc = RC_OK;
    int fd;

    (void)unlink(tmp); /* left over from a crash; the open below must make its own */
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, (size_t)n) != n || fsync(fd) != 0 || rename(tmp, path) != 0)
        rc = err_errno(err, RC_IO, errno, "write %s", path);
    if (fd >= 0)
        close(fd);
    free(path);
    free(tmp);
    return rc;
}

static enum rc write_pair(const char *dir, X509 *cert, EVP_PKEY *key, struct err *err)
{
    BIO *cert_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_secmem());
    enum rc rc;

    /* "EC PRIVATE KEY", the form that the reference writes */
    if (!cert_pem || !key_pem || PEM_write_bio_X509(cert_pem, cert) != 1 ||
        PEM_write_bio_PrivateKey_traditional(key_pem, key, NULL, NULL, 0, NULL, NULL) != 1)
        rc = tls_err(err, RC_INTERNAL, "encode the certificate");
    else if ((rc = write_private(dir, "key.pem", key_pem, err)) == RC_OK)
        rc = write_private(dir, "cert.pem", cert_pem, err);
    BIO_free(cert_pem);
    BIO_free(key_pem);
    return rc;
}

enum rc tls_make_self_signed(const char *dir, const char *dns_name, struct err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? make_certificate(key, dns_name) : NULL;
    enum rc rc = cert ? write_pair(dir, cert, key, err)
                      : tls_err(err, RC_INTERNAL, "make a certificate");

    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}
