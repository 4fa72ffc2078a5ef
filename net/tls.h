/* net/tls.h: TLS contexts for both sides (OpenSSL 3, TLS 1.2 and later).
 * Source: video.md 1.2 (the certificate's form), 1.4 (which ALPN who offers). */
#ifndef LEAT_NET_TLS_H
#define LEAT_NET_TLS_H

#include "base/err.h"

struct tls_server;
struct tls_client;

/* cert_pem, key_pem: paths of PEM files.
 * Prefers h2, then http/1.1; a client without ALPN gets HTTP/1.1. */
struct tls_server *tls_server_new(const char *cert_pem, const char *key_pem, struct err *err);
void tls_server_free(struct tls_server *t);

/* verify false: any certificate is accepted, as all Livepeer peers do. */
struct tls_client *tls_client_new(bool verify, struct err *err);
void tls_client_free(struct tls_client *t);

/* Writes cert.pem and key.pem (0600) into `dir`: self-signed, ECDSA P-256, one DNS name. */
MUST_CHECK enum rc tls_make_self_signed(const char *dir, const char *dns_name, struct err *err);

#endif
