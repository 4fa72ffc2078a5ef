/* media/rtmp against the programs that people use: FFmpeg, GStreamer, rtmpdump (librtmp), our own
 * client. FFmpeg's word for what is in a file is the measure of what arrives. */
#include <signal.h>

#include "base/list.h"
#include "media/flv.h"
#include "media/rtmp/rtmp_client.h"
#include "media/rtmp/rtmp_server.h"
#include "net/process.h"
#include "net_test.h"

/* --- a server that writes down what comes and passes it on to players --- */

struct player {
    struct list_node node;
    struct rtmp_session *session;
};

static struct rtmp_server *server;
static struct list players;
static struct track tracks[TRACK_KINDS];
static struct buf lines; /* as ffprobe prints packets: stream|pts|dts|size|key */
static char asked[2048];
static bool ended, said_goodbye;
static char why_ended[ERR_TEXT_MAX];
static const char *refusal; /* NULL: accepted */

static void on_track(enum track_kind kind, const struct track *t, void *arg)
{
    track_cleanup(&tracks[kind]);
    tracks[kind] = track_ref(t);
    LIST_EACH (&players, struct player, node, p)
        rtmp_send_track(p->session, kind, t);
}

static void on_frame(const struct frame *f, void *arg)
{
    struct frame ticks = *f;

    buf_printf(&lines, "%d|%lld|%lld|%zu|%d\n", f->kind, (long long)f->pts, (long long)f->dts,
               f->data->n, f->key);
    ticks.dts *= 90;
    ticks.pts *= 90;
    LIST_EACH (&players, struct player, node, p)
        rtmp_send_frame(p->session, &ticks);
}

static void on_publisher_end(bool goodbye, const struct err *why, void *arg)
{
    ended = true;
    said_goodbye = goodbye;
    snprintf(why_ended, sizeof(why_ended), "%s", why ? why->text : "");
    LIST_EACH (&players, struct player, node, p) {
        rtmp_session_close(p->session, "the stream has ended");
        list_remove(&players, &p->node);
        free(p);
    }
}

static void on_player_end(bool goodbye, const struct err *why, void *arg)
{
    struct player *p = arg;

    list_remove(&players, &p->node);
    free(p);
}

static void on_publish(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    const struct rtmp_session_events ev = {on_track, on_frame, on_publisher_end, NULL, NULL};

    snprintf(asked, sizeof(asked), "%s?%s", t->path, t->query);
    if (refusal)
        rtmp_refuse(s, "NetStream.Publish.BadName", refusal);
    else
        rtmp_accept(s, &ev);
}

static void on_play(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    struct player *p = xcalloc(1, sizeof(*p));
    const struct rtmp_session_events ev = {.on_end = on_player_end, .arg = p};

    p->session = s;
    list_push(&players, &p->node);
    rtmp_accept(s, &ev);
    for (int k = 0; k < TRACK_KINDS; k++)
        if (tracks[k].codec != CODEC_NONE)
            rtmp_send_track(s, (enum track_kind)k, &tracks[k]);
}

static uint16_t port_of(const char *addr)
{
    return (uint16_t)atoi(strrchr(addr, ':') + 1);
}

static struct rtmp_server *open_server(struct tls_server *tls)
{
    const struct rtmp_server_conf conf = {
        .listen = {.addr = "127.0.0.1:0", .tls = tls},
        .on_publish = on_publish,
        .on_play = on_play,
    };

    return rtmp_server_open(loop, &conf, NULL);
}

static int setup(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    setup_loop(state);
    list_init(&players);
    buf_init(&lines, 1 << 20);
    ended = said_goodbye = false;
    refusal = NULL;
    asked[0] = '\0';
    server = open_server(NULL);
    return server ? 0 : -1;
}

static int teardown(void **state)
{
    rtmp_server_close(server);
    track_cleanup(&tracks[TRACK_VIDEO]);
    track_cleanup(&tracks[TRACK_AUDIO]);
    buf_cleanup(&lines);
    return teardown_loop(state);
}

/* --- programs --- */

static int exit_status;
static bool exited;
static struct buf said;

static void on_line(struct slice line, bool is_stderr, void *arg)
{
    buf_printf(&said, SLICE_FMT "\n", SLICE_ARG(line));
}

static void on_exit_of(int status, int signum, void *arg)
{
    exit_status = signum ? 128 + signum : status;
    exited = true;
}

static struct process *start(const char *command)
{
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    const struct process_conf conf = {
        .argv = argv, .pass_fd = -1, .on_line = on_line, .on_exit = on_exit_of};
    struct process *p;

    exited = false;
    buf_init(&said, 1 << 16);
    p = process_start(loop, &conf, NULL);
    assert_non_null(p);
    return p;
}

/* Its status; what it printed stays in `said` until the next. */
static int finish(struct process *p)
{
    RUN_UNTIL(exited);
    process_free(p);
    if (exit_status)
        print_message("%s", buf_cstr(&said));
    buf_cleanup(&said);
    return exit_status;
}

static int run(const char *command)
{
    return finish(start(command));
}

static char clip[] = "/tmp/leat-peers-XXXXXX";
static char copy[64];
static char *packets_of_clip;

/* ffprobe's view of a file, in the form of `lines`. Files begin where they begin. */
static char *packets_of(const char *path)
{
    char *command = xasprintf("ffprobe -v error -show_entries packet=stream_index,pts,dts,size,"
                              "flags -of csv=p=0:s='|' %s | sed 's/K_*$/1/; s/__*$/0/'",
                              path);
    FILE *f = popen(command, "r");
    struct buf b;
    uint8_t piece[4096];

    buf_init(&b, 1 << 20);
    for (size_t n; (n = fread(piece, 1, sizeof(piece), f)) > 0;)
        buf_add(&b, piece, n);
    assert_int_equal(pclose(f), 0);
    free(command);
    buf_cstr(&b);
    return (char *)buf_take(&b, &(size_t){0});
}

static int make_clip(void **state)
{
    int fd = mkstemp(clip);
    char *command = xasprintf(
        "ffmpeg -v error -y -f lavfi -i testsrc2=s=128x96:r=30 -f lavfi -i sine=r=44100 -t 2 -c:v "
        "libx264 -preset veryfast -g 20 -bf 2 -c:a aac -f flv -flvflags no_duration_filesize %s",
        clip);

    close(fd);
    assert_int_equal(system(command), 0);
    free(command);
    snprintf(copy, sizeof(copy), "%s.flv", clip);
    packets_of_clip = packets_of(clip);
    return 0;
}

static int remove_clip(void **state)
{
    unlink(clip);
    unlink(copy);
    free(packets_of_clip);
    return 0;
}

/* --- publishing --- */

static void ffmpeg_publishes(void **state)
{
    char *command = xasprintf("exec ffmpeg -v warning -i %s -c copy -f flv "
                              "'rtmp://%s/live/demo/k%%C3%%A9y?user=u'",
                              clip, rtmp_server_addr(server));

    assert_int_equal(run(command), 0);
    RUN_UNTIL(ended);
    assert_true(said_goodbye);
    assert_string_equal(asked, "live/demo/k\xc3\xa9y?user=u");
    assert_string_equal(buf_cstr(&lines), packets_of_clip);
    free(command);
}

static void a_killed_ffmpeg_says_no_goodbye(void **state)
{
    char *command = xasprintf("exec ffmpeg -v error -re -stream_loop -1 -i %s -c copy -f flv "
                              "rtmp://%s/live/demo",
                              clip, rtmp_server_addr(server));
    struct process *p = start(command);

    RUN_UNTIL(lines.n > 0);
    process_signal(p, SIGKILL);
    RUN_UNTIL(ended);
    assert_false(said_goodbye);
    assert_string_equal(why_ended, "");
    finish(p);
    free(command);
}

static void ffmpeg_hears_why_it_is_refused(void **state)
{
    char *command = xasprintf("exec ffmpeg -v error -i %s -c copy -f flv rtmp://%s/live/demo", clip,
                              rtmp_server_addr(server));
    struct process *p = start(command);

    refusal = "this name is taken until tomorrow";
    RUN_UNTIL(exited);
    assert_int_not_equal(exit_status, 0);
    assert_non_null(strstr(buf_cstr(&said), refusal));
    finish(p);
    free(command);
}

static void another_codec_is_refused_by_name(void **state)
{
    char *command = xasprintf(
        "exec ffmpeg -v error -f lavfi -i testsrc2=s=64x64:r=10 -t 1 -c:v flv "
        "-f flv rtmp://%s/live/demo",
        rtmp_server_addr(server));
    struct process *p = start(command);

    RUN_UNTIL(ended && exited);
    assert_string_equal(why_ended, "video codec 2 (Sorenson H.263) is not supported; send video as "
                                   "H.264 (avc1)");
    finish(p);
    free(command);
}

/* RTMPS is the same inside TLS. */
static void ffmpeg_publishes_through_tls(void **state)
{
    char *dir = make_dir();
    char *cert = xasprintf("%s/cert.pem", dir), *key = xasprintf("%s/key.pem", dir), *command;
    struct tls_server *tls;

    assert_int_equal(tls_make_self_signed(dir, "localhost", NULL), RC_OK);
    tls = tls_server_new(cert, key, NULL);
    assert_non_null(tls);
    rtmp_server_close(server);
    server = open_server(tls);
    command = xasprintf("exec ffmpeg -v error -i %s -c copy -f flv rtmps://%s/live/demo", clip,
                        rtmp_server_addr(server));
    assert_int_equal(run(command), 0);
    RUN_UNTIL(ended);
    assert_true(said_goodbye);
    assert_string_equal(buf_cstr(&lines), packets_of_clip);
    rtmp_server_close(server);
    server = NULL;
    tls_server_free(tls);
    remove_dir(dir);
    free(cert);
    free(key);
    free(command);
}

/* GStreamer's two senders: librtmp's and one of its own. */
static void gstreamer_publishes(void **state)
{
    static const char *const sinks[] = {"rtmpsink", "rtmp2sink"};

    for (size_t i = 0; i < ARRAY_LEN(sinks); i++) {
        char *command = xasprintf(
            "exec gst-launch-1.0 -q flvmux name=mux streamable=true ! %s "
            "location=rtmp://%s/live/gst videotestsrc num-buffers=30 ! "
            "video/x-raw,width=128,height=96,framerate=30/1 ! x264enc key-int-max=10 "
            "tune=zerolatency ! mux. audiotestsrc num-buffers=40 ! avenc_aac ! mux.",
            sinks[i], rtmp_server_addr(server));
        int video = 0, audio = 0, keys = 0;

        ended = false;
        buf_clear(&lines);
        assert_int_equal(run(command), 0);
        RUN_UNTIL(ended);
        assert_true(said_goodbye);
        for (const char *p = buf_cstr(&lines); *p; p = strchr(p, '\n') + 1) {
            video += *p == '0';
            audio += *p == '1';
            keys += *p == '0' && strchr(p, '\n')[-1] == '1';
        }
        assert_int_equal(video, 30);
        assert_int_equal(keys, 3);
        assert_true(audio >= 39);
        free(command);
    }
}

/* --- our client, from a file --- */

struct sender {
    struct rtmp_client *client;
    struct flv_file *file;
    FILE *in;
    bool failed;
    char why[ERR_TEXT_MAX];
};

static void send_tag(const struct flv_tag *tag, void *arg)
{
    struct sender *s = arg;

    rtmp_client_tag(s->client, tag->type, tag->time_ms, tag->body);
}

static void send_all(void *arg)
{
    struct sender *s = arg;
    uint8_t piece[4096];

    for (size_t n; (n = fread(piece, 1, sizeof(piece), s->in)) > 0;)
        assert_int_equal(flv_file_feed(s->file, slice_of(piece, n), send_tag, s, NULL), RC_OK);
    rtmp_client_goodbye(s->client);
}

static void on_sender_end(const struct err *why, void *arg)
{
    struct sender *s = arg;

    s->failed = true;
    snprintf(s->why, sizeof(s->why), "%s", why ? why->text : "closed");
    rtmp_client_free(s->client); /* from inside its callback */
    s->client = NULL;
}

static void sender_start(struct sender *s, const char *addr)
{
    char *url = xasprintf("rtmp://%s/live/demo/key?user=u", addr);
    const struct rtmp_client_conf conf = {url, send_all, on_sender_end, s};

    *s = (struct sender){.file = flv_file_new(), .in = fopen(clip, "rb")};
    s->client = rtmp_client_new(loop, &conf);
    free(url);
}

static void sender_cleanup(struct sender *s)
{
    rtmp_client_free(s->client);
    flv_file_free(s->file);
    fclose(s->in);
}

static void our_client_publishes(void **state)
{
    struct sender s;

    sender_start(&s, rtmp_server_addr(server));
    RUN_UNTIL(ended);
    assert_true(said_goodbye);
    assert_string_equal(asked, "live/demo/key?user=u");
    assert_string_equal(buf_cstr(&lines), packets_of_clip);
    sender_cleanup(&s);
}

static void our_client_hears_refusals(void **state)
{
    struct sender s;
    const struct rtmp_client_conf unfit = {"http://a/b", send_all, on_sender_end, &s};

    refusal = "not today";
    sender_start(&s, rtmp_server_addr(server));
    RUN_UNTIL(s.failed);
    assert_string_equal(s.why, "the server refused: not today");
    sender_cleanup(&s);

    s = (struct sender){.file = NULL};
    s.client = rtmp_client_new(loop, &unfit);
    assert_false(s.failed); /* told from the loop */
    RUN_UNTIL(s.failed);
    assert_string_equal(s.why, "scheme 'http' where rtmp is expected");

    sender_start(&s, "127.0.0.1:1"); /* nobody listens */
    RUN_UNTIL(s.failed);
    sender_cleanup(&s);
}

/* --- playing --- */

/* Players are there before the publisher, so that they see every frame. */
static void play_and_compare(const char *command)
{
    struct process *p = start(command);
    struct sender s;
    char *got;

    RUN_UNTIL(players.n == 1 || exited);
    sender_start(&s, rtmp_server_addr(server));
    RUN_UNTIL(ended && exited);
    assert_int_equal(finish(p), 0);
    got = packets_of(copy);
    assert_string_equal(got, packets_of_clip);
    free(got);
    sender_cleanup(&s);
}

static void ffmpeg_plays(void **state)
{
    char *command = xasprintf("exec ffmpeg -v error -y -i rtmp://%s/live/demo -c copy -copyts "
                              "-flvflags no_duration_filesize %s",
                              rtmp_server_addr(server), copy);

    play_and_compare(command);
    free(command);
}

static void rtmpdump_plays(void **state)
{
    char *command = xasprintf("exec rtmpdump -q --live -r rtmp://%s/live/demo -o %s",
                              rtmp_server_addr(server), copy);

    play_and_compare(command);
    free(command);
}

/* --- byte by byte --- */

/* Stands between client and server and passes each byte on alone. */
struct drip {
    struct listener *listener;
    struct peer client, server;
    size_t to_client, to_server; /* passed on so far */
};

static void drip_on_stream(struct stream *s, void *arg)
{
    peer_adopt(&((struct drip *)arg)->client, s);
}

static bool drip_one(struct peer *from, struct peer *to, size_t *at)
{
    if (*at == from->in.n || to->ended)
        return false;
    stream_write(to->stream, slice_of(from->in.p + *at, 1));
    ++*at;
    return true;
}

static void single_bytes_both_ways(void **state)
{
    struct drip d = {.to_client = 0};
    const struct listen_conf conf = {.addr = "127.0.0.1:0", .on_stream = drip_on_stream, .arg = &d};
    char *command;
    struct process *p;

    peer_init(&d.client);
    d.listener = listener_open(loop, &conf, NULL);
    command = xasprintf("exec ffmpeg -v error -i %s -c copy -t 0.3 -f flv rtmp://%s/live/demo",
                        clip, listener_addr(d.listener));
    p = start(command);
    RUN_UNTIL(d.client.connected);
    peer_connect(&d.server, port_of(rtmp_server_addr(server)));
    timer_start(watchdog, WATCHDOG_MS);
    while (!ended && !watchdog_bit) {
        bool moved = drip_one(&d.server, &d.client, &d.to_client);

        moved |= drip_one(&d.client, &d.server, &d.to_server);
        uv_run(loop_uv(loop), moved ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    }
    assert_false(watchdog_bit);
    timer_stop(watchdog);
    assert_true(said_goodbye);
    assert_non_null(strstr(buf_cstr(&lines), "\n0|"));
    assert_memory_equal(lines.p, packets_of_clip, lines.n / 2); /* its end is FFmpeg's choice */
    peer_close(&d.client);
    peer_close(&d.server);
    assert_int_equal(finish(p), 0);
    listener_close(d.listener);
    free(command);
}

/* A server that closes while a publisher sends and a player reads. */
static void closing_the_server_ends_all(void **state)
{
    char *command = xasprintf("exec ffmpeg -v quiet -re -stream_loop -1 -i %s -c copy -f flv "
                              "rtmp://%s/live/demo",
                              clip, rtmp_server_addr(server));
    struct process *p = start(command);

    RUN_UNTIL(lines.n > 0);
    rtmp_server_close(server);
    server = NULL;
    assert_true(ended);
    assert_string_equal(why_ended, "the RTMP server stops");
    process_signal(p, SIGKILL);
    finish(p);
    free(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ffmpeg_publishes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_ffmpeg_says_no_goodbye, setup, teardown),
        cmocka_unit_test_setup_teardown(ffmpeg_hears_why_it_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_codec_is_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(ffmpeg_publishes_through_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(gstreamer_publishes, setup, teardown),
        cmocka_unit_test_setup_teardown(our_client_publishes, setup, teardown),
        cmocka_unit_test_setup_teardown(our_client_hears_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(ffmpeg_plays, setup, teardown),
        cmocka_unit_test_setup_teardown(rtmpdump_plays, setup, teardown),
        cmocka_unit_test_setup_teardown(single_bytes_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_the_server_ends_all, setup, teardown),
    };

    return cmocka_run_group_tests(tests, make_clip, remove_clip);
}
