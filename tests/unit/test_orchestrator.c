/* The orchestrator's parts that need a clock or a fault of their own: tokens, payments, the
 * results it keeps, and who gets a place when all are taken. A real node on a loop, with a
 * worker registered over its own port. */
#include "net_test.h"

#include "base/clock.h"
#include "base/text.h"
#include "net/grpc.h"
#include "orchestrator/payment.h"
#include "orchestrator/results.h"
#include "orchestrator/session.h"
#include "orchestrator/token.h"

/* --- tokens --- */

static const uint8_t key[32] = {1, 2, 3}, other_key[32] = {1, 2, 4};
enum { NOW_S = 1795347537 };

static void test_token_holds_for_its_time(void **state)
{
    struct auth_token t;
    struct err err;

    (void)state;
    token_make(key, NOW_S, &t);
    assert_int_equal(t.token_n, 32);
    assert_int_equal(strlen(t.session_id), 8);
    assert_int_equal(t.expiration, NOW_S + AUTH_TOKEN_LIFE_S);
    assert_int_equal(token_check(key, NOW_S, &t, &err), RC_OK);
    assert_int_equal(token_check(key, t.expiration, &t, &err), RC_OK);
    assert_int_equal(token_check(key, t.expiration + 1, &t, &err), RC_DENIED);
    assert_string_equal(err.text, "expired auth token");
    assert_true(token_is_ours(key, &t));
}

static void test_token_of_another_process(void **state)
{
    struct auth_token t;
    struct err err;

    (void)state;
    token_make(other_key, NOW_S, &t);
    assert_int_equal(token_check(key, NOW_S, &t, &err), RC_DENIED);
    assert_string_equal(err.text, "invalid auth token");
    assert_false(token_is_ours(key, &t));
    assert_int_equal(token_check(key, NOW_S, NULL, &err), RC_DENIED);
    assert_string_equal(err.text, "missing auth token");
}

static void test_token_covers_session_and_time(void **state)
{
    struct auth_token t, changed;

    (void)state;
    token_make(key, NOW_S, &t);
    changed = t;
    changed.session_id[0] ^= 1;
    assert_false(token_is_ours(key, &changed));
    changed = t;
    changed.expiration++;
    assert_false(token_is_ours(key, &changed));
    changed = t;
    changed.token_n--;
    assert_false(token_is_ours(key, &changed));
    changed.token_n = 0;
    assert_false(token_is_ours(key, &changed));
}

/* --- payments --- */

static const struct {
    const char *header, *text; /* NULL: taken */
} payments[] = {
    {"", NULL},
    {"  ", NULL},
    {"CgA=", NULL},
    {"EgA=", NULL},
    {"MAE=", NULL}, /* an unknown varint field */
    {"@@@", "base64 decode error: illegal base64 data at input byte 0"},
    {"CgA", "base64 decode error: illegal base64 data at input byte 0"},
    {"CgAACg", "base64 decode error: illegal base64 data at input byte 4"},
    {"////", "protobuf unmarshal error: proto: cannot parse invalid wire-format data"},
    {"CgU=", "protobuf unmarshal error: proto: cannot parse invalid wire-format data"}, /* cut */
    {"CgL//w==", "protobuf unmarshal error: proto: cannot parse invalid wire-format data"},
    {"AAA=", "protobuf unmarshal error: proto: cannot parse invalid wire-format data"}, /* no 0 */
    {"Cw==", "protobuf unmarshal error: proto: cannot parse invalid wire-format data"}, /* group */
};

static void test_payments(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(payments); i++) {
        struct err err = {.text = ""};
        enum rc rc = payment_check(slice_str(payments[i].header), &err);

        assert_int_equal(rc, payments[i].text ? RC_BAD_INPUT : RC_OK);
        assert_string_equal(err.text, payments[i].text ? payments[i].text : "");
    }
}

/* --- results --- */

static struct profile profile_named(const char *name, enum container c)
{
    struct profile p = {.container = c};

    snprintf(p.name, sizeof(p.name), "%s", name);
    return p;
}

static void keep(struct results *r, const struct profile *p, int64_t seq, const char *text)
{
    struct blob *b = blob_copy(slice_str(text));

    results_keep(r, p, seq, b, NULL);
    blob_unref(&b);
}

static bool finds(const struct results *r, const char *name, const char *file, const char *text)
{
    struct blob *b = results_find(r, slice_str(name), slice_str(file));

    return text ? b && slice_eq_str(blob_slice(b), text) : !b;
}

static void test_results_are_a_ring(void **state)
{
    struct results r = {.n = 0};
    struct profile p = profile_named("low", CONTAINER_TS);
    size_t before = blob_total_bytes();
    char text[24];

    (void)state;
    for (int seq = 0; seq < RESULTS_KEPT + 1; seq++) {
        snprintf(text, sizeof(text), "segment %d", seq);
        keep(&r, &p, seq, text);
    }
    assert_true(finds(&r, "low", "0.ts", NULL));
    assert_true(finds(&r, "low", "1.ts", "segment 1"));
    assert_true(finds(&r, "low", "12.ts", "segment 12"));
    assert_true(finds(&r, "low", "12.mp4", NULL));
    assert_true(finds(&r, "low", "12.ts.phash", NULL));
    assert_true(finds(&r, "high", "12.ts", NULL));
    assert_true(finds(&r, "", "", NULL));
    keep(&r, &p, 12, "again");
    assert_true(finds(&r, "low", "12.ts", "again"));
    results_cleanup(&r);
    assert_int_equal(blob_total_bytes(), before);
}

static void test_results_of_two_containers_and_hashes(void **state)
{
    struct results r = {.n = 0};
    struct profile ts = profile_named("low", CONTAINER_TS),
                   mp4 = profile_named("low", CONTAINER_MP4);
    struct blob *media = blob_copy(SLICE_LIT("m")), *hash = blob_copy(SLICE_LIT("h"));

    (void)state;
    results_keep(&r, &ts, -3, media, hash);
    keep(&r, &mp4, -3, "in mp4");
    assert_true(finds(&r, "low", "-3.ts", "m"));
    assert_true(finds(&r, "low", "-3.ts.phash", "h"));
    assert_true(finds(&r, "low", "-3.mp4", "in mp4"));
    blob_unref(&media);
    blob_unref(&hash);
    results_cleanup(&r);
}

static void test_names_are_bounded(void **state)
{
    struct results r = {.n = 0};
    size_t before = blob_total_bytes();
    char name[24];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct profile p;

        snprintf(name, sizeof(name), "name %d", i);
        p = profile_named(name, CONTAINER_TS);
        keep(&r, &p, 0, "0123456789");
    }
    assert_int_equal(blob_total_bytes() - before, 10 * MAX_SHELVES);
    assert_true(finds(&r, "name 999", "0.ts", "0123456789"));
    results_cleanup(&r);
}

/* --- places --- */

static const char peer[] = "192.0.2.7:4000", same_peer[] = "192.0.2.7:4001",
                  other_peer[] = "192.0.2.8:4000";

static struct {
    struct orchestrator *o;
    struct http_client *client;
    struct http_call *registration;
    char dir[32];
} world;

static void on_message(struct slice message, void *arg)
{
    (void)message, (void)arg;
}

static void on_registration_done(int status, const struct err *err, void *arg)
{
    (void)arg;
    if (err && err->code != RC_CANCELLED)
        print_error("registration: %d %s\n", status, err->text);
    world.registration = NULL;
}

static void register_worker(int64_t capacity)
{
    struct register_request r = {.secret = "s", .capacity = capacity, .has_caps = true};
    struct grpc_call_conf call = {.url = world.o->service_uri,
                                  .path = PATH_REGISTER_TRANSCODER,
                                  .on_message = on_message,
                                  .on_done = on_registration_done};
    struct buf message;

    caps_of_software_worker(&r.caps);
    buf_init(&message, 4096);
    register_request_encode(&r, &message);
    call.message = buf_slice(&message);
    world.registration = grpc_call(world.client, &call);
    buf_cleanup(&message);
    RUN_UNTIL(pool_workers(world.o->pool) == 1);
}

static int setup_node(void **state)
{
    struct err err;
    struct orchestrator_conf conf = {.http_addr = "127.0.0.1:0",
                                     .service_uri = "https://127.0.0.1:0",
                                     .data_dir = world.dir,
                                     .secret = "s",
                                     .max_sessions = 2,
                                     .version = "0.9.1-test"};

    setup_loop(state);
    snprintf(world.dir, sizeof(world.dir), "/tmp/leat-test-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    world.o = orchestrator_start(loop, &conf, &err);
    assert_non_null(world.o);
    world.client = http_client_new(loop);
    register_worker(10);
    return 0;
}

static int teardown_node(void **state)
{
    char path[64];

    http_client_free(world.client);
    orchestrator_stop(world.o);
    snprintf(path, sizeof(path), "%s/cert.pem", world.dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/key.pem", world.dir);
    unlink(path);
    rmdir(world.dir);
    return teardown_loop(state);
}

/* A token that has so much time left, as if it had been made a while ago. */
static struct auth_token token_with(int64_t left_s)
{
    struct auth_token t;

    token_make(world.o->token_key, clock_wall_ms() / 1000 + left_s - AUTH_TOKEN_LIFE_S, &t);
    return t;
}

static struct session *use(const struct auth_token *t, const char *manifest, const char *from)
{
    struct err err = {.text = ""};
    struct session *s = session_use(world.o, t, slice_str(manifest), from, &err);

    assert_true(s || strcmp(err.text, "OrchestratorCapped") == 0 ||
                slice_has_prefix(slice_str(err.text), "draining"));
    return s;
}

static void test_limit_is_kept(void **state)
{
    struct auth_token a = token_with(1800), b = token_with(1800), c = token_with(1800);

    (void)state;
    assert_non_null(use(&a, "one", peer));
    assert_non_null(use(&b, "two", peer));
    assert_null(use(&c, "three", peer));
    assert_non_null(use(&a, "one", peer));
    assert_int_equal(sessions_live(world.o), 2);
    assert_false(sessions_may_renew(world.o, peer));
}

static void test_stream_goes_on_under_a_renewed_token(void **state)
{
    struct auth_token a = token_with(170), b = token_with(1800), renewed = token_with(1800);
    struct session *old, *other, *now;
    struct profile p = profile_named("low", CONTAINER_TS);
    struct blob *media = blob_copy(SLICE_LIT("still to be fetched"));

    (void)state;
    old = use(&a, "one", peer);
    session_keep(old, &p, 7, media, NULL);
    blob_unref(&media);
    other = use(&b, "two", other_peer);
    assert_true(sessions_may_renew(world.o, same_peer));
    assert_false(sessions_may_renew(world.o, other_peer));
    assert_null(use(&renewed, "one", other_peer)); /* somebody else's stream of that name */
    assert_null(use(&renewed, "three", same_peer));
    now = use(&renewed, "one", same_peer);
    assert_non_null(now);
    assert_ptr_not_equal(now, other);
    assert_int_equal(sessions_live(world.o), 2);
    assert_non_null(session_result(old, SLICE_LIT("low"), SLICE_LIT("7.ts")));
    assert_null(use(&a, "one", peer)); /* its place is taken */
}

static void test_fresh_session_at_work_is_not_replaced(void **state)
{
    struct auth_token a = token_with(1800), b = token_with(1800), c = token_with(1800);

    (void)state;
    use(&a, "one", peer);
    use(&b, "one", peer);
    assert_int_equal(sessions_live(world.o), 2);
    assert_null(use(&c, "one", peer));
}

static void test_session_that_never_got_a_segment_ends(void **state)
{
    struct auth_token a = token_with(1800);
    struct session *s = use(&a, "one", peer);

    (void)state;
    use(&a, "one", peer);
    session_release(s);
    assert_int_equal(sessions_live(world.o), 1);
    session_release(s);
    assert_int_equal(sessions_live(world.o), 0);
}

static void test_drain_takes_no_new_session(void **state)
{
    struct auth_token a = token_with(100), b = token_with(1800);

    (void)state;
    use(&a, "one", peer);
    orchestrator_drain(world.o, 60000, NULL, NULL);
    assert_null(use(&b, "one", peer));
    assert_non_null(use(&a, "one", peer));
}

static void test_limit_follows_the_workers(void **state)
{
    (void)state;
    assert_int_equal(sessions_limit(world.o), 2);
    world.o->conf.max_sessions = -1;
    assert_int_equal(sessions_limit(world.o), 10);
    world.o->conf.max_sessions = 50;
    assert_int_equal(sessions_limit(world.o), 10);
    http_call_cancel(world.registration);
    RUN_UNTIL(pool_workers(world.o->pool) == 0);
    assert_int_equal(sessions_limit(world.o), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_holds_for_its_time),
        cmocka_unit_test(test_token_of_another_process),
        cmocka_unit_test(test_token_covers_session_and_time),
        cmocka_unit_test(test_payments),
        cmocka_unit_test(test_results_are_a_ring),
        cmocka_unit_test(test_results_of_two_containers_and_hashes),
        cmocka_unit_test(test_names_are_bounded),
        cmocka_unit_test_setup_teardown(test_limit_is_kept, setup_node, teardown_node),
        cmocka_unit_test_setup_teardown(test_stream_goes_on_under_a_renewed_token, setup_node,
                                        teardown_node),
        cmocka_unit_test_setup_teardown(test_fresh_session_at_work_is_not_replaced, setup_node,
                                        teardown_node),
        cmocka_unit_test_setup_teardown(test_session_that_never_got_a_segment_ends, setup_node,
                                        teardown_node),
        cmocka_unit_test_setup_teardown(test_drain_takes_no_new_session, setup_node, teardown_node),
        cmocka_unit_test_setup_teardown(test_limit_follows_the_workers, setup_node, teardown_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
