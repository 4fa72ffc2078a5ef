#include "net_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, setup_loop, teardown_loop)

/* --- a listener whose accepted streams are peers, too --- */

static struct peer accepted[8];
static int n_accepted;

static void on_stream(struct stream *s, void *arg)
{
    (void)arg;
    assert_true(n_accepted < (int)ARRAY_LEN(accepted));
    peer_init(&accepted[n_accepted]);
    peer_adopt(&accepted[n_accepted++], s);
}

static struct listener *listen_on(struct listen_conf conf)
{
    struct err err = {0};
    struct listener *l;

    n_accepted = 0;
    if (!conf.addr)
        conf.addr = "127.0.0.1:0";
    if (!conf.on_stream)
        conf.on_stream = on_stream;
    l = listener_open(loop, &conf, &err);
    if (!l)
        fail_msg("%s", err.text);
    return l;
}

/* client and accepted[0], connected */
static struct listener *connected_pair(struct peer *client)
{
    struct listener *l = listen_on((struct listen_conf){0});

    peer_connect(client, listener_port(l));
    RUN_UNTIL(n_accepted == 1);
    return l;
}

static void close_pair(struct listener *l, struct peer *client)
{
    peer_close(client);
    for (int i = 0; i < n_accepted; i++)
        peer_close(&accepted[i]);
    listener_close(l);
}

/* --- both ways --- */

static void test_bytes_go_both_ways(void **state)
{
    struct peer client;
    struct listener *l = connected_pair(&client);

    (void)state;
    assert_true(strncmp(stream_peer(client.stream), "127.0.0.1:", 10) == 0);
    assert_true(stream_peer_is_loopback(accepted[0].stream));
    assert_string_equal(stream_alpn(client.stream), "");
    peer_send(&client, "question");
    RUN_UNTIL(peer_has(&accepted[0], "question"));
    peer_send(&accepted[0], "answer");
    RUN_UNTIL(peer_has(&client, "answer"));
    assert_int_equal(stream_bytes_in(client.stream), 6);
    assert_int_equal(stream_bytes_out(client.stream), 8);
    assert_int_equal(stream_queued(client.stream), 0);
    close_pair(l, &client);
}

static struct blob *pattern(size_t n)
{
    struct blob *b = blob_new(n);
    uint8_t *p = blob_bytes(b);

    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 31 + (i >> 8));
    return b;
}

static void test_small_and_large_writes_keep_their_order(void **state)
{
    struct peer client;
    struct listener *l = connected_pair(&client);
    struct blob *b = pattern(300 * 1000);
    struct buf want;

    (void)state;
    buf_init(&want, 100 << 20);
    for (int i = 0; i < 40; i++) {
        size_t from = (size_t)i * 1009, n = i % 3 == 0 ? 100 : (size_t)i * 5000;
        struct slice part = slice_sub(blob_slice(b), from, n);

        buf_add_slice(&want, part);
        buf_str(&want, "|");
        if (i % 2)
            stream_write_blob(client.stream, b, from, n);
        else
            stream_write(client.stream, part);
        stream_write(client.stream, SLICE_LIT("|"));
    }
    assert_int_equal(stream_queued(client.stream), want.n);
    blob_unref(&b);
    RUN_UNTIL(accepted[0].in.n >= want.n);
    assert_true(slice_eq(buf_slice(&accepted[0].in), buf_slice(&want)));
    buf_cleanup(&want);
    close_pair(l, &client);
    assert_int_equal(blob_total_bytes(), 0);
}

static void test_writes_of_one_turn_leave_together(void **state)
{
    struct listener *l = listen_on((struct listen_conf){0});
    int fd = raw_connect(listener_port(l));
    char got[4096];

    (void)state;
    RUN_UNTIL(n_accepted == 1);
    for (int i = 0; i < 100; i++)
        peer_send(&accepted[0], "0123456789");
    assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), -1); /* not before the turn's end */
    RUN_UNTIL(stream_queued(accepted[0].stream) == 0);
    assert_int_equal(recv(fd, got, sizeof(got), 0), 1000);
    close(fd);
    peer_close(&accepted[0]);
    listener_close(l);
}

static void test_full_queue_drains_and_says_so(void **state)
{
    struct peer client;
    struct listener *l = connected_pair(&client);
    struct blob *b = pattern(1 << 20);

    (void)state;
    stream_pause(accepted[0].stream);
    for (int i = 0; i < 16; i++)
        stream_write_blob(client.stream, b, 0, b->n);
    run_for(20);
    assert_true(stream_queued(client.stream) > STREAM_HIGH_WATER); /* the kernel took some */
    assert_int_equal(accepted[0].in.n, 0);
    assert_int_equal(client.drains, 0);
    stream_resume(accepted[0].stream);
    RUN_UNTIL(accepted[0].in.n == 16u << 20);
    assert_int_equal(client.drains, 1);
    assert_int_equal(stream_queued(client.stream), 0);
    for (size_t i = 0; i < 16; i++)
        assert_true(
            slice_eq(slice_sub(buf_slice(&accepted[0].in), i << 20, 1 << 20), blob_slice(b)));
    blob_unref(&b);
    close_pair(l, &client);
}

static void test_pause_inside_data_stops_data(void **state)
{
    struct peer client;
    struct listener *l = connected_pair(&client);

    (void)state;
    stream_pause(accepted[0].stream);
    peer_send(&client, "held back");
    run_for(20);
    assert_int_equal(accepted[0].in.n, 0);
    stream_resume(accepted[0].stream);
    assert_int_equal(accepted[0].in.n, 0); /* not inside the call */
    RUN_UNTIL(peer_has(&accepted[0], "held back"));
    close_pair(l, &client);
}

/* --- ends --- */

static void test_clean_end_is_told_once(void **state)
{
    struct peer client;
    struct listener *l = connected_pair(&client);

    (void)state;
    peer_send(&client, "last words");
    stream_close_when_sent(client.stream);
    client.stream = NULL;
    RUN_UNTIL(accepted[0].ended);
    assert_int_equal(accepted[0].why, RC_OK);
    assert_true(peer_has(&accepted[0], "last words"));
    accepted[0].ended = false;
    peer_send(&accepted[0], "into the void"); /* the peer reads no more; that is no second end */
    run_for(20);
    assert_false(accepted[0].ended);
    close_pair(l, &client);
}

static void test_reset_is_an_error_told_once(void **state)
{
    struct listener *l = listen_on((struct listen_conf){0});
    struct linger hard = {1, 0};
    int fd = raw_connect(listener_port(l));

    (void)state;
    RUN_UNTIL(n_accepted == 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
    RUN_UNTIL(accepted[0].ended);
    assert_int_equal(accepted[0].why, RC_CLOSED);
    accepted[0].ended = false;
    peer_send(&accepted[0], "x");
    run_for(10);
    assert_false(accepted[0].ended);
    assert_int_equal(stream_queued(accepted[0].stream), 0);
    peer_close(&accepted[0]);
    listener_close(l);
}

static void test_reset_with_a_write_in_flight(void **state)
{
    struct listener *l = listen_on((struct listen_conf){0});
    struct linger hard = {1, 0};
    int fd = raw_connect(listener_port(l));
    struct blob *b = pattern(16 << 20);

    (void)state;
    RUN_UNTIL(n_accepted == 1);
    stream_write_blob(accepted[0].stream, b, 0, b->n);
    blob_unref(&b);
    run_for(20);
    assert_true(stream_queued(accepted[0].stream) > 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
    RUN_UNTIL(accepted[0].ended);
    peer_close(&accepted[0]);
    listener_close(l);
    run_for(5);
    assert_int_equal(blob_total_bytes(), 0);
}

/* A peer that is still sending must see the whole answer, not a reset. */
static void test_close_when_sent_survives_unread_bytes(void **state)
{
    struct listener *l = listen_on((struct listen_conf){0});
    int fd = raw_connect(listener_port(l));
    static char upload[1 << 20];
    char got[64] = "";
    ssize_t n;

    (void)state;
    RUN_UNTIL(n_accepted == 1);
    stream_pause(accepted[0].stream);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    assert_true(write(fd, upload, sizeof(upload)) > 0);
    peer_send(&accepted[0], "413 too large");
    stream_close_when_sent(accepted[0].stream);
    run_for(20);
    n = read(fd, got, sizeof(got));
    assert_int_equal(n, 13);
    assert_int_equal(read(fd, got, sizeof(got)), 0); /* an end, not ECONNRESET */
    assert_true(write(fd, upload, 1) > 0);
    close(fd);
    buf_cleanup(&accepted[0].in);
    RUN_UNTIL(listener_connections(l) == 0);
    listener_close(l);
}

/* --- closing inside callbacks --- */

struct closer {
    struct stream *stream;
    int calls;
};

static void close_on_data(struct slice bytes, void *arg)
{
    struct closer *c = arg;

    (void)bytes;
    c->calls++;
    stream_close(c->stream);
}

static void close_on_drain(void *arg)
{
    close_on_data((struct slice){0}, arg);
}

static void close_on_end(const struct err *why, void *arg)
{
    (void)why;
    close_on_data((struct slice){0}, arg);
}

static void ignore_data(struct slice bytes, void *arg)
{
    (void)bytes, (void)arg;
}

static void test_close_inside_callbacks(void **state)
{
    struct stream_events events = {close_on_data, close_on_drain, close_on_end};

    (void)state;
    for (int round = 0; round < 3; round++) {
        struct peer client;
        struct listener *l = connected_pair(&client);
        struct closer c = {.stream = client.stream};
        struct blob *b = pattern(1 << 20);

        events.on_data = round == 0 ? close_on_data : ignore_data;
        stream_set_events(client.stream, &events, &c);
        if (round == 0)
            peer_send(&accepted[0], "data");
        else if (round == 1)
            stream_write_blob(client.stream, b, 0, b->n);
        else
            peer_close(&accepted[0]);
        RUN_UNTIL(c.calls);
        run_for(10);
        assert_int_equal(c.calls, 1);
        client.stream = NULL;
        blob_unref(&b);
        close_pair(l, &client);
    }
}

static void test_no_callback_after_close(void **state)
{
    struct peer client;
    struct listener *l = connected_pair(&client);

    (void)state;
    peer_send(&accepted[0], "never seen");
    stream_write(client.stream, SLICE_LIT("dropped"));
    stream_close(client.stream);
    client.stream = NULL;
    run_for(10);
    assert_int_equal(client.in.n, 0);
    assert_false(client.ended);
    assert_int_equal(accepted[0].in.n, 0);
    close_pair(l, &client);
    stream_close(NULL);
}

/* --- reading by the tick --- */

static int n_datas;

static void count_data(struct slice bytes, void *arg)
{
    struct peer *p = arg;

    n_datas++;
    buf_add_slice(&p->in, bytes);
}

static int datas_for_ten_messages(int every_ms)
{
    static const struct stream_events events = {count_data, NULL, peer_on_end};
    struct listener *l = listen_on((struct listen_conf){0});
    int fd = raw_connect(listener_port(l));

    RUN_UNTIL(n_accepted == 1);
    stream_set_events(accepted[0].stream, &events, &accepted[0]);
    stream_read_every(accepted[0].stream, every_ms);
    run_for(1);
    n_datas = 0;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(write(fd, "message,", 8), 8);
        run_for(2);
    }
    RUN_UNTIL(accepted[0].in.n == 80);
    close(fd);
    RUN_UNTIL(accepted[0].ended);
    assert_int_equal(accepted[0].why, RC_OK);
    peer_close(&accepted[0]);
    listener_close(l);
    return n_datas;
}

static void test_read_every_groups_messages(void **state)
{
    (void)state;
    assert_int_equal(datas_for_ten_messages(0), 10);
    assert_true(datas_for_ten_messages(400) <= 3);
}

static void test_read_every_wakes_after_silence(void **state)
{
    struct peer client;
    struct listener *l = connected_pair(&client);

    (void)state;
    stream_read_every(accepted[0].stream, 1);
    run_for(80); /* quiet for more than QUIET_TICKS: watched by the kernel again */
    peer_send(&client, "one");
    RUN_UNTIL(peer_has(&accepted[0], "one"));
    peer_send(&client, "two");
    RUN_UNTIL(peer_has(&accepted[0], "two"));
    stream_pause(accepted[0].stream);
    peer_send(&client, "three");
    run_for(20);
    assert_false(peer_has(&accepted[0], "three"));
    stream_resume(accepted[0].stream);
    RUN_UNTIL(peer_has(&accepted[0], "three"));
    close_pair(l, &client);
}

static struct stream *victims[3];

static void close_all_victims(struct slice bytes, void *arg)
{
    (void)bytes, (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(victims); i++) {
        stream_close(victims[i]);
        victims[i] = NULL;
    }
}

static void test_read_every_neighbours_may_be_closed(void **state)
{
    static const struct stream_events events = {close_all_victims, NULL, NULL};
    struct listener *l = listen_on((struct listen_conf){0});
    int fd[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        fd[i] = raw_connect(listener_port(l));
        RUN_UNTIL(n_accepted == i + 1);
        victims[i] = accepted[i].stream;
        stream_set_events(victims[i], &events, NULL);
        stream_read_every(victims[i], 5);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(write(fd[i], "x", 1), 1);
    RUN_UNTIL(!victims[0]);
    run_for(20);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    listener_close(l);
}

/* --- limits of a listener --- */

static void test_connections_above_the_limit_are_closed(void **state)
{
    struct listener *l = listen_on((struct listen_conf){.max_connections = 2});
    struct peer c[3];

    (void)state;
    for (int i = 0; i < 2; i++)
        peer_connect(&c[i], listener_port(l));
    RUN_UNTIL(n_accepted == 2);
    peer_connect(&c[2], listener_port(l));
    RUN_UNTIL(c[2].ended);
    assert_int_equal(n_accepted, 2);
    assert_int_equal(listener_connections(l), 2);
    peer_close(&accepted[0]);
    assert_int_equal(listener_connections(l), 1);
    peer_close(&c[2]);
    peer_connect(&c[2], listener_port(l));
    RUN_UNTIL(n_accepted == 3);
    for (int i = 0; i < 3; i++) {
        peer_close(&c[i]);
        if (i)
            peer_close(&accepted[i]);
    }
    listener_close(l);
}

/* An address of this machine that is not loopback; false where there is none. */
static bool own_address(char out[INET_ADDRSTRLEN])
{
    struct ifaddrs *all, *a;
    bool found = false;

    assert_int_equal(getifaddrs(&all), 0);
    for (a = all; a && !found; a = a->ifa_next) {
        struct sockaddr_in *in = (struct sockaddr_in *)a->ifa_addr;

        found = in && in->sin_family == AF_INET && ntohl(in->sin_addr.s_addr) >> 24 != 127 &&
                inet_ntop(AF_INET, &in->sin_addr, out, INET_ADDRSTRLEN);
    }
    freeifaddrs(all);
    return found;
}

static void test_connections_of_one_peer_are_limited(void **state)
{
    char host[INET_ADDRSTRLEN];
    struct listener *l;
    struct peer c[3];

    (void)state;
    if (!own_address(host))
        skip();
    l = listen_on((struct listen_conf){.addr = ":0", .max_per_peer = 2});
    for (int i = 0; i < 3; i++) {
        peer_connect_with(&c[i], (struct connect_conf){.host = host, .port = listener_port(l)});
        RUN_UNTIL(c[i].connected);
    }
    RUN_UNTIL(c[2].ended);
    assert_int_equal(listener_connections(l), 2);
    for (int i = 0; i < 2; i++)
        peer_close(&accepted[i]);
    for (int i = 0; i < 3; i++)
        peer_close(&c[i]);
    peer_connect(&c[0], listener_port(l)); /* loopback is exempt and its count is gone */
    RUN_UNTIL(n_accepted == 3);
    peer_close(&c[0]);
    peer_close(&accepted[2]);
    listener_close(l);
}

static void test_out_of_descriptors_does_not_spin(void **state)
{
    struct listener *l = listen_on((struct listen_conf){0});
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(listener_port(l)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit before, low;
    int fd[4], turns = 0;
    bool over = false;
    struct timer *t = timer_new(loop, on_test_wait, &over);

    (void)state;
    run_for(1); /* the loop's own descriptors exist */
    for (int i = 0; i < 4; i++)
        fd[i] = socket(AF_INET, SOCK_STREAM, 0);
    getrlimit(RLIMIT_NOFILE, &before);
    low = before;
    low.rlim_cur = (rlim_t)fd[3] + 1;
    setrlimit(RLIMIT_NOFILE, &low);
    for (int i = 0; i < 4; i++)
        assert_int_equal(connect(fd[i], (struct sockaddr *)&addr, sizeof(addr)), 0);
    timer_start(t, 100);
    while (!over) {
        uv_run(loop_uv(loop), UV_RUN_ONCE);
        turns++;
    }
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(n_accepted, 0);
    assert_true(turns < 50);
    for (int i = 0; i < 4; i++) {
        char c;
        ssize_t n = recv(fd[i], &c, 1, MSG_DONTWAIT);

        assert_true(n == 0 || (n < 0 && errno != EAGAIN)); /* closed, not left hanging */
        close(fd[i]);
    }
    timer_free(t);
    listener_close(l);
}

/* --- addresses --- */

static void test_port_in_use(void **state)
{
    struct listener *l = listen_on((struct listen_conf){0});
    struct listen_conf conf = {.addr = listener_addr(l), .on_stream = on_stream};
    struct err err;

    (void)state;
    assert_null(listener_open(loop, &conf, &err));
    assert_int_equal(err.code, RC_EXISTS);
    conf.addr = "no such host:99999";
    assert_null(listener_open(loop, &conf, &err));
    assert_int_equal(err.code, RC_BAD_INPUT);
    listener_close(l);
}

static void test_every_address_of_the_machine(void **state)
{
    struct listener *l = listen_on((struct listen_conf){.addr = ":0"});
    struct peer c;

    (void)state;
    peer_connect(&c, listener_port(l));
    RUN_UNTIL(n_accepted == 1);
    assert_true(stream_peer_is_loopback(accepted[0].stream));
    close_pair(l, &c);
}

static void test_unix_socket(void **state)
{
    char *dir = make_dir(), *addr = xasprintf("unix:%s/s", dir);
    struct listen_conf conf = {.addr = addr, .on_stream = on_stream};
    struct listener *l = listen_on(conf);
    struct stat st;
    struct peer c;
    struct err err;

    (void)state;
    assert_int_equal(stat(addr + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_null(listener_open(loop, &conf, &err));
    assert_int_equal(err.code, RC_EXISTS);
    peer_connect_with(&c, (struct connect_conf){.host = addr});
    RUN_UNTIL(c.connected && n_accepted == 2); /* the first was the question who listens */
    assert_string_equal(stream_peer(accepted[1].stream), "unix");
    assert_true(stream_peer_is_loopback(accepted[1].stream));
    peer_send(&c, "hello");
    RUN_UNTIL(peer_has(&accepted[1], "hello"));
    close_pair(l, &c);
    assert_int_not_equal(stat(addr + 5, &st), 0); /* taken away with the listener */
    free(addr);
    remove_dir(dir);
}

static void test_stale_unix_socket_is_replaced(void **state)
{
    char *dir = make_dir(), *addr = xasprintf("unix:%s/s", dir);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", dir);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    close(fd); /* as a crash leaves it: the file, and nobody behind it */
    listener_close(listen_on((struct listen_conf){.addr = addr}));
    free(addr);
    remove_dir(dir);
}

static void test_file_in_the_way_of_a_socket_stays(void **state)
{
    char *dir = make_dir(), *addr = xasprintf("unix:%s/s", dir);
    struct listen_conf conf = {.addr = addr, .on_stream = on_stream};
    struct stat st;
    struct err err;
    FILE *f = fopen(addr + 5, "w");

    (void)state;
    fclose(f);
    assert_null(listener_open(loop, &conf, &err));
    assert_int_equal(err.code, RC_EXISTS);
    assert_int_equal(stat(addr + 5, &st), 0);
    free(addr);
    remove_dir(dir);
}

/* --- connecting --- */

static uint16_t closed_port(void)
{
    struct listener *l = listen_on((struct listen_conf){0});
    uint16_t port = listener_port(l);

    listener_close(l);
    run_for(1);
    return port;
}

static void test_refused_connection(void **state)
{
    struct peer c;

    (void)state;
    peer_connect_with(&c, (struct connect_conf){.host = "127.0.0.1", .port = closed_port()});
    RUN_UNTIL(c.failed);
    assert_int_equal(c.why, RC_UNAVAILABLE);
}

static void test_connect_by_name(void **state)
{
    struct listener *l = listen_on((struct listen_conf){0});
    struct peer c;

    (void)state;
    peer_connect_with(&c, (struct connect_conf){.host = "localhost", .port = listener_port(l)});
    RUN_UNTIL(c.connected || c.failed);
    assert_true(c.connected); /* also where ::1 comes first and refuses */
    RUN_UNTIL(n_accepted == 1);
    close_pair(l, &c);
}

static void test_name_without_address(void **state)
{
    struct peer c;

    (void)state;
    peer_connect_with(&c, (struct connect_conf){.host = "no-such-host.invalid", .port = 1});
    RUN_UNTIL(c.failed);
    assert_int_equal(c.why, RC_UNAVAILABLE);
}

static void test_cancelled_connection_says_nothing(void **state)
{
    struct listener *l = listen_on((struct listen_conf){0});
    const char *hosts[] = {"127.0.0.1", "localhost", "unix:/nonexistent"};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(hosts); i++) {
        struct peer c;

        peer_connect_with(&c,
                          (struct connect_conf){.host = hosts[i / 2], .port = listener_port(l)});
        if (i % 2)
            uv_run(loop_uv(loop), UV_RUN_NOWAIT);
        if (c.connecting)
            connecting_cancel(c.connecting);
        run_for(10);
        if (c.stream)
            peer_close(&c);
        else
            assert_true(!c.failed || i % 2);
    }
    for (int i = 0; i < n_accepted; i++)
        peer_close(&accepted[i]);
    listener_close(l);
}

static void test_listener_closed_inside_its_callback(void **state)
{
    (void)state;
    struct listener *l = listen_on((struct listen_conf){0});
    int a = raw_connect(listener_port(l)), b = raw_connect(listener_port(l));

    RUN_UNTIL(n_accepted >= 1);
    listener_close(l);
    listener_close(NULL);
    run_for(5);
    for (int i = 0; i < n_accepted; i++) {
        peer_send(&accepted[i], "still here"); /* accepted streams live on */
        RUN_UNTIL(stream_queued(accepted[i].stream) == 0);
        peer_close(&accepted[i]);
    }
    close(a);
    close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_bytes_go_both_ways),
        WITH_LOOP(test_small_and_large_writes_keep_their_order),
        WITH_LOOP(test_writes_of_one_turn_leave_together),
        WITH_LOOP(test_full_queue_drains_and_says_so),
        WITH_LOOP(test_pause_inside_data_stops_data),
        WITH_LOOP(test_clean_end_is_told_once),
        WITH_LOOP(test_reset_is_an_error_told_once),
        WITH_LOOP(test_reset_with_a_write_in_flight),
        WITH_LOOP(test_close_when_sent_survives_unread_bytes),
        WITH_LOOP(test_close_inside_callbacks),
        WITH_LOOP(test_no_callback_after_close),
        WITH_LOOP(test_read_every_groups_messages),
        WITH_LOOP(test_read_every_wakes_after_silence),
        WITH_LOOP(test_read_every_neighbours_may_be_closed),
        WITH_LOOP(test_connections_above_the_limit_are_closed),
        WITH_LOOP(test_connections_of_one_peer_are_limited),
        WITH_LOOP(test_out_of_descriptors_does_not_spin),
        WITH_LOOP(test_port_in_use),
        WITH_LOOP(test_every_address_of_the_machine),
        WITH_LOOP(test_unix_socket),
        WITH_LOOP(test_stale_unix_socket_is_replaced),
        WITH_LOOP(test_file_in_the_way_of_a_socket_stays),
        WITH_LOOP(test_refused_connection),
        WITH_LOOP(test_connect_by_name),
        WITH_LOOP(test_name_without_address),
        WITH_LOOP(test_cancelled_connection_says_nothing),
        WITH_LOOP(test_listener_closed_inside_its_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
