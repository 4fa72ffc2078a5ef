#include "net_test.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "net/tls.h"

static char *dir;
static struct tls_server *server_tls;
static struct tls_client *client_tls;

static int setup(void **state)
{
    char *cert, *key;

    setup_loop(state);
    dir = make_dir();
    assert_int_equal(tls_make_self_signed(dir, "me.example", NULL), RC_OK);
    cert = xasprintf("%s/cert.pem", dir);
    key = xasprintf("%s/key.pem", dir);
    server_tls = tls_server_new(cert, key, NULL);
    client_tls = tls_client_new(false, NULL);
    assert_non_null(server_tls);
    assert_non_null(client_tls);
    free(cert);
    free(key);
    return 0;
}

static int teardown(void **state)
{
    teardown_loop(state);
    tls_server_free(server_tls);
    tls_client_free(client_tls);
    remove_dir(dir);
    return 0;
}

#define WITH_TLS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* --- the certificate --- */

static X509 *read_certificate(const char *in)
{
    char *path = xasprintf("%s/cert.pem", in);
    FILE *f = fopen(path, "r");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

    assert_non_null(cert);
    fclose(f);
    free(path);
    return cert;
}

static void assert_only_name(X509 *cert, const char *want)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    GENERAL_NAME *name;

    assert_non_null(names);
    assert_int_equal(sk_GENERAL_NAME_num(names), 1);
    name = sk_GENERAL_NAME_value(names, 0);
    assert_int_equal(name->type, GEN_DNS);
    assert_true(slice_eq_str(slice_of(ASN1_STRING_get0_data(name->d.dNSName),
                                      (size_t)ASN1_STRING_length(name->d.dNSName)),
                             want));
    GENERAL_NAMES_free(names);
}

/* Every line of video.md 1.2. */
static void test_certificate_is_as_the_network_makes_it(void **state)
{
    X509 *cert = read_certificate(dir);
    int days, seconds;
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char group[32];
    size_t n;

    (void)state;
    assert_int_equal(EVP_PKEY_get_group_name(X509_get0_pubkey(cert), group, sizeof(group), &n), 1);
    assert_string_equal(group, "prime256v1");
    assert_true(BN_num_bits(serial) <= 128 && BN_num_bits(serial) > 64 && !BN_is_negative(serial));
    BN_free(serial);
    ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert), X509_get0_notAfter(cert));
    assert_int_equal(days * 24 + seconds / 3600, 8765);
    assert_true(X509_check_ca(cert) == 1);
    assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN);
    assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_SERVER);
    assert_only_name(cert, "me.example");
    assert_int_equal(X509_self_signed(cert, 1), 1);
    X509_free(cert);
}

static void test_names_that_are_no_names(void **state)
{
    static const char *const names[] = {"127.0.0.1", "::1", "a,DNS:evil.example"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        X509 *cert;

        assert_int_equal(tls_make_self_signed(dir, names[i], NULL), RC_OK);
        cert = read_certificate(dir);
        assert_only_name(cert, names[i]);
        X509_free(cert);
    }
}

static void test_files_are_private_and_of_the_known_form(void **state)
{
    static const char *const files[][2] = {{"cert.pem", "-----BEGIN CERTIFICATE-----\n"},
                                           {"key.pem", "-----BEGIN EC PRIVATE KEY-----\n"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char *path = xasprintf("%s/%s", dir, files[i][0]), line[64];
        struct stat st;
        FILE *f = fopen(path, "r");

        assert_int_equal(fstat(fileno(f), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_string_equal(fgets(line, sizeof(line), f), files[i][1]);
        fclose(f);
        free(path);
    }
}

static void test_unusable_files_are_named(void **state)
{
    char *cert = xasprintf("%s/cert.pem", dir);
    struct err err;

    (void)state;
    assert_null(tls_server_new("/nonexistent.pem", "/nonexistent.key", &err));
    assert_true(strstr(err.text, "/nonexistent.pem") != NULL);
    assert_null(tls_server_new(cert, cert, &err));
    assert_true(strstr(err.text, "key") != NULL);
    assert_int_not_equal(tls_make_self_signed("/nonexistent", "x", &err), RC_OK);
    assert_int_equal(err.code, RC_IO);
    free(cert);
}

/* --- connections --- */

static struct peer accepted;
static int n_accepted;

static void on_stream(struct stream *s, void *arg)
{
    (void)arg;
    n_accepted++;
    peer_init(&accepted);
    peer_adopt(&accepted, s);
}

static struct listener *tls_listener(int handshake_timeout_ms)
{
    struct listen_conf conf = {.addr = "127.0.0.1:0",
                               .tls = server_tls,
                               .on_stream = on_stream,
                               .handshake_timeout_ms = handshake_timeout_ms};

    n_accepted = 0;
    return listener_open(loop, &conf, NULL);
}

static void tls_connect(struct peer *p, uint16_t port, const char *alpn)
{
    peer_connect_with(p, (struct connect_conf){
                             .host = "127.0.0.1", .port = port, .tls = client_tls, .alpn = alpn});
}

static void test_protocols_are_chosen(void **state)
{
    static const struct {
        const char *offer, *chosen;
    } cases[] = {
        {"h2", "h2"},
        {"h2,http/1.1", "h2"},
        {"http/1.1,h2", "h2"}, /* our order counts */
        {"http/1.1", "http/1.1"},
        {NULL, ""},
        {"http/1.0", ""},
        {"spdy/3", NULL}, /* refused */
    };
    struct listener *l = tls_listener(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer c;
        int before = n_accepted;

        tls_connect(&c, listener_port(l), cases[i].offer);
        RUN_UNTIL(c.failed || (c.connected && n_accepted > before));
        assert_int_equal(c.failed, cases[i].chosen == NULL);
        if (c.failed)
            continue;
        assert_string_equal(stream_alpn(c.stream), cases[i].chosen);
        assert_string_equal(stream_alpn(accepted.stream), cases[i].chosen);
        peer_close(&c);
        peer_close(&accepted);
    }
    listener_close(l);
}

static void fill(struct blob *b)
{
    for (size_t i = 0; i < b->n; i++)
        blob_bytes(b)[i] = (uint8_t)(i * 131 + (i >> 9));
}

static void test_many_bytes_both_ways(void **state)
{
    struct listener *l = tls_listener(0);
    struct blob *b = blob_new(5 * 1000 * 1000);
    struct peer c;

    (void)state;
    fill(b);
    tls_connect(&c, listener_port(l), NULL);
    RUN_UNTIL(c.connected && n_accepted);
    stream_pause(accepted.stream);
    for (size_t at = 0; at < b->n; at += 50 * 1000 + 1) { /* pieces of all sizes */
        stream_write(c.stream, slice_sub(blob_slice(b), at, 1));
        stream_write_blob(c.stream, b, at + 1, 50 * 1000);
    }
    run_for(30);
    assert_true(stream_queued(c.stream) > STREAM_HIGH_WATER);
    stream_write_blob(accepted.stream, b, 0, b->n);
    RUN_UNTIL(c.in.n == b->n);
    assert_true(slice_eq(buf_slice(&c.in), blob_slice(b)));
    assert_int_equal(accepted.in.n, 0);
    stream_resume(accepted.stream);
    RUN_UNTIL(accepted.in.n == b->n);
    assert_true(slice_eq(buf_slice(&accepted.in), blob_slice(b)));
    RUN_UNTIL(c.drains == 1);
    assert_int_equal(stream_bytes_out(c.stream), b->n);
    assert_int_equal(stream_bytes_in(c.stream), b->n);
    blob_unref(&b);
    stream_close_when_sent(c.stream);
    c.stream = NULL;
    RUN_UNTIL(accepted.ended);
    assert_int_equal(accepted.why, RC_OK);
    peer_close(&c);
    peer_close(&accepted);
    listener_close(l);
}

/* A reader that pauses after every call must lose nothing that was decrypted with it. */
static void pause_on_data(struct slice bytes, void *arg)
{
    struct peer *p = arg;

    buf_add_slice(&p->in, bytes);
    stream_pause(p->stream);
    stream_resume(p->stream);
    stream_pause(p->stream);
}

static void test_pausing_reader_loses_nothing(void **state)
{
    static const struct stream_events events = {pause_on_data, NULL, peer_on_end};
    struct listener *l = tls_listener(0);
    struct blob *b = blob_new(700 * 1000);
    struct peer c;
    size_t before = SIZE_MAX;

    (void)state;
    fill(b);
    tls_connect(&c, listener_port(l), NULL);
    RUN_UNTIL(c.connected && n_accepted);
    stream_set_events(c.stream, &events, &c);
    stream_write_blob(accepted.stream, b, 0, b->n);
    while (c.in.n < b->n) {
        run_for(1);
        assert_int_not_equal(c.in.n, before);
        before = c.in.n;
        stream_resume(c.stream);
        RUN_UNTIL(c.in.n > before || c.in.n == b->n);
    }
    assert_true(slice_eq(buf_slice(&c.in), blob_slice(b)));
    blob_unref(&b);
    peer_close(&c);
    peer_close(&accepted);
    listener_close(l);
}

static void test_verification_refuses_our_own_certificate(void **state)
{
    struct listener *l = tls_listener(0);
    struct tls_client *strict = tls_client_new(true, NULL);
    struct peer c;

    (void)state;
    assert_non_null(strict);
    peer_connect_with(&c, (struct connect_conf){.host = "127.0.0.1",
                                                .port = listener_port(l),
                                                .tls = strict,
                                                .tls_name = "me.example"});
    RUN_UNTIL(c.failed || c.connected);
    assert_true(c.failed);
    RUN_UNTIL(listener_connections(l) == 0);
    assert_int_equal(n_accepted, 0);
    listener_close(l);
    tls_client_free(strict);
}

/* --- hostile peers --- */

static void test_garbage_is_refused(void **state)
{
    static const char *const garbage[] = {"GET / HTTP/1.1\r\nHost: plain\r\n\r\n",
                                          "\x16\x03\x01\x01\x05hello, this is no handshake",
                                          "\xff\xff\xff\xff\xff\xff\xff\xff"};
    struct listener *l = tls_listener(0);
    int64_t began = loop_now_ms(loop);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        struct peer c;

        peer_connect(&c, listener_port(l));
        peer_send(&c, garbage[i]);
        stream_close_when_sent(c.stream);
        RUN_UNTIL(listener_connections(l) == 0);
        assert_int_equal(n_accepted, 0);
        c.stream = NULL;
        peer_close(&c);
    }
    assert_true(loop_now_ms(loop) - began < 4000); /* the ends were seen, not waited out */
    listener_close(l);
}

static void test_refused_handshake_sends_its_alert(void **state)
{
    struct listener *l = tls_listener(0);
    struct peer c;

    (void)state;
    peer_connect(&c, listener_port(l));
    stream_write(c.stream, slice_of("\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", 10));
    RUN_UNTIL(c.ended);
    assert_true(c.in.n == 7 && c.in.p[0] == 21); /* one alert record, then a clean end */
    assert_int_equal(c.why, RC_OK);
    peer_close(&c);
    RUN_UNTIL(listener_connections(l) == 0);
    listener_close(l);
}

static void test_silent_peer_is_dropped(void **state)
{
    struct listener *l = tls_listener(30);
    struct peer c;

    (void)state;
    peer_connect(&c, listener_port(l));
    RUN_UNTIL(c.ended);
    peer_close(&c);
    RUN_UNTIL(listener_connections(l) == 0);
    assert_int_equal(n_accepted, 0);
    listener_close(l);
}

static void ignore_stream(struct stream *s, void *arg)
{
    *(struct stream **)arg = s; /* never answers */
}

static void test_silent_server_is_given_up(void **state)
{
    struct stream *silent = NULL;
    struct listen_conf conf = {.addr = "127.0.0.1:0", .on_stream = ignore_stream, .arg = &silent};
    struct listener *l = listener_open(loop, &conf, NULL);
    struct peer c;

    (void)state;
    peer_connect_with(&c, (struct connect_conf){.host = "127.0.0.1",
                                                .port = listener_port(l),
                                                .tls = client_tls,
                                                .timeout_ms = 50});
    RUN_UNTIL(c.failed);
    assert_int_equal(c.why, RC_TIMEOUT);
    stream_close(silent);
    listener_close(l);
}

/* A relay between client and TLS server that hands on `step` bytes per loop turn and cuts
 * the connection after `cut` bytes of the client. */
static struct relay {
    struct stream *client;
    struct peer server;
    struct buf up;
    size_t step, cut, passed;
    struct deferred go;
    bool over;
} relay;

static void relay_down(struct slice bytes, void *arg)
{
    (void)arg;
    if (relay.client)
        stream_write(relay.client, bytes);
}

static void relay_end(const struct err *why, void *arg)
{
    (void)why, (void)arg;
    loop_defer_cancel(loop, &relay.go);
    stream_close(relay.client);
    relay.client = NULL;
    stream_close(relay.server.stream);
    relay.server.stream = NULL;
    relay.over = true;
}

static void relay_go(void *arg)
{
    size_t n = MIN(MIN(relay.step, relay.up.n), relay.cut - relay.passed);

    (void)arg;
    if (!relay.server.stream)
        return;
    stream_write(relay.server.stream, slice_of(relay.up.p, n));
    buf_consume(&relay.up, n);
    relay.passed += n;
    if (relay.passed == relay.cut)
        relay_end(NULL, NULL);
    else if (relay.up.n)
        loop_defer(loop, &relay.go, relay_go, NULL);
}

static void relay_up(struct slice bytes, void *arg)
{
    (void)arg;
    buf_add_slice(&relay.up, bytes);
    loop_defer(loop, &relay.go, relay_go, NULL);
}

static void relay_connected(struct stream *s, const struct err *why, void *arg)
{
    static const struct stream_events up = {relay_up, NULL, relay_end};
    static const struct stream_events down = {relay_down, NULL, relay_end};

    (void)why, (void)arg;
    assert_non_null(s);
    relay.server.stream = s;
    stream_set_events(relay.client, &up, NULL);
    stream_set_events(s, &down, NULL);
}

static void relay_accept(struct stream *s, void *arg)
{
    struct connect_conf conf = {
        .host = "127.0.0.1", .port = *(uint16_t *)arg, .on_done = relay_connected};

    relay.client = s;
    stream_connect(loop, &conf);
}

static struct listener *relay_open(uint16_t *to_port, size_t step, size_t cut)
{
    struct listen_conf conf = {.addr = "127.0.0.1:0", .on_stream = relay_accept, .arg = to_port};

    relay = (struct relay){.step = step, .cut = cut};
    buf_init(&relay.up, 1 << 20);
    return listener_open(loop, &conf, NULL);
}

static void test_one_byte_at_a_time(void **state)
{
    struct listener *l = tls_listener(0), *via;
    uint16_t port = listener_port(l);
    struct peer c;

    (void)state;
    via = relay_open(&port, 1, SIZE_MAX);
    tls_connect(&c, listener_port(via), "h2");
    RUN_UNTIL(c.connected && n_accepted);
    peer_send(&c, "drop by drop");
    RUN_UNTIL(peer_has(&accepted, "drop by drop"));
    peer_close(&c);
    RUN_UNTIL(relay.over);
    peer_close(&accepted);
    buf_cleanup(&relay.up);
    listener_close(via);
    listener_close(l);
}

static void test_cut_anywhere_in_the_handshake(void **state)
{
    struct listener *l = tls_listener(0);
    uint16_t port = listener_port(l);

    (void)state;
    for (size_t cut = 1; cut < 600; cut += 23) {
        struct listener *via = relay_open(&port, SIZE_MAX, cut);
        struct peer c;

        accepted.ended = false;
        n_accepted = 0;
        tls_connect(&c, listener_port(via), "h2");
        RUN_UNTIL(relay.over || (c.connected && n_accepted)); /* the last cuts come too late */
        RUN_UNTIL(c.failed || c.connected);
        if (c.connected)
            peer_close(&c);
        RUN_UNTIL(relay.over);
        if (n_accepted) {
            RUN_UNTIL(accepted.ended);
            peer_close(&accepted);
        }
        RUN_UNTIL(listener_connections(l) == 0);
        buf_cleanup(&relay.up);
        listener_close(via);
    }
    listener_close(l);
}

static void test_listener_closed_during_handshakes(void **state)
{
    struct listener *l = tls_listener(0);
    struct peer c[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        peer_connect(&c[i], listener_port(l));
        stream_write(c[i].stream, slice_of("\x16\x03\x01\x02\x00\x01", 6));
    }
    RUN_UNTIL(listener_connections(l) == 3);
    run_for(5);
    listener_close(l);
    for (int i = 0; i < 3; i++) {
        RUN_UNTIL(c[i].ended);
        peer_close(&c[i]);
    }
    assert_int_equal(n_accepted, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TLS(test_certificate_is_as_the_network_makes_it),
        WITH_TLS(test_names_that_are_no_names),
        WITH_TLS(test_files_are_private_and_of_the_known_form),
        WITH_TLS(test_unusable_files_are_named),
        WITH_TLS(test_protocols_are_chosen),
        WITH_TLS(test_many_bytes_both_ways),
        WITH_TLS(test_pausing_reader_loses_nothing),
        WITH_TLS(test_verification_refuses_our_own_certificate),
        WITH_TLS(test_garbage_is_refused),
        WITH_TLS(test_refused_handshake_sends_its_alert),
        WITH_TLS(test_silent_peer_is_dropped),
        WITH_TLS(test_silent_server_is_given_up),
        WITH_TLS(test_one_byte_at_a_time),
        WITH_TLS(test_cut_anywhere_in_the_handshake),
        WITH_TLS(test_listener_closed_during_handshakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
