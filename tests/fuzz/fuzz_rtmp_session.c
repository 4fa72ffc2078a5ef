/* The server's side of an RTMP connection against any bytes. The first byte chooses: whether the
 * handshake is done for the input, what the owner answers and when, how the bytes are cut.
 * Whatever comes, the owner hears of the end exactly once, and nothing is left behind. */
#include <assert.h>
#include <stdlib.h>

#include "media/rtmp/handshake.h"
#include "media/rtmp/rtmp_int.h"

enum { OPT_RAW = 1, OPT_LATER = 2, OPT_REFUSE = 4, OPT_DRIP = 8, OPT_CLOSE = 16, OPT_TICK = 32 };

struct world {
    struct rtmp_session *session; /* NULL when over */
    int64_t now_ms;
    size_t written;
    unsigned options;
    int frames;
    bool asked, accepted, ended, over, wake;
};

static void host_write(struct slice bytes, void *arg)
{
    struct world *w = arg;

    assert(!w->over);
    w->written += bytes.n;
}

static void host_write_blob(struct blob *b, size_t from, size_t n, void *arg)
{
    assert(from + n <= b->n);
    host_write(slice_of(b->p + from, n), arg);
}

/* Everything stays unread for a while, then leaves. */
static size_t host_queued(void *arg)
{
    struct world *w = arg;
    size_t queued = w->written;

    if (w->options & OPT_TICK)
        w->written = 0;
    return queued;
}

static void host_pause(bool paused, void *arg)
{
    assert(!((struct world *)arg)->over);
}

static void host_read_every(int ms, void *arg)
{
    assert(ms >= 0);
    assert(!((struct world *)arg)->over);
}

static void host_wake(void *arg)
{
    ((struct world *)arg)->wake = true;
}

static void host_over(const struct err *unheard, void *arg)
{
    struct world *w = arg;

    assert(!w->over);
    w->over = true;
    w->session = NULL;
}

static const char *host_peer(void *arg)
{
    return "fuzz";
}

static int64_t host_now_ms(void *arg)
{
    return ((struct world *)arg)->now_ms;
}

static void on_track(enum track_kind kind, const struct track *t, void *arg)
{
    assert(t->codec != CODEC_NONE && t->config);
}

static void on_frame(const struct frame *f, void *arg)
{
    struct world *w = arg;

    assert(!w->over && !w->ended && f->data && f->data->n > 0);
    assert(f->data->n <= CHUNK_MAX_MEDIA);
    w->frames++;
    if (w->options & OPT_CLOSE) {
        w->ended = true; /* no on_end follows */
        rtmp_session_close(w->session, "enough");
    }
}

static void on_end(bool said_goodbye, const struct err *why, void *arg)
{
    struct world *w = arg;

    assert(!w->ended && !w->over);
    assert(!why || why->text[0]);
    w->ended = true;
}

static void accept_now(struct world *w)
{
    const struct rtmp_session_events ev = {on_track, on_frame, on_end, NULL, w};

    w->accepted = true;
    rtmp_accept(w->session, &ev);
}

static void on_asked(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    struct world *w = arg;

    assert(!w->asked);
    w->asked = true;
    assert(!strstr(t->path, "..") && t->path[0] != '/' && !strstr(t->path, "//"));
    assert(strlen(t->path) < sizeof(t->path) && strlen(t->query) < sizeof(t->query));
    if (w->options & OPT_LATER)
        return;
    if (w->options & OPT_REFUSE)
        rtmp_refuse(s, "NetStream.Publish.Denied", "no");
    else
        accept_now(w);
}

static void answer_later(struct world *w)
{
    if (!w->session || !w->asked || w->accepted || !(w->options & OPT_LATER))
        return;
    if (w->options & OPT_REFUSE)
        rtmp_refuse(w->session, "NetStream.Publish.Denied", "no");
    else
        accept_now(w);
}

/* A player gets a track and two frames. */
static void play_some(struct world *w)
{
    struct blob *b = blob_copy(SLICE_LIT("\0\0\0\2\x65\x80"));
    const struct track t = {.codec = CODEC_H264, .config = b, .width = 16, .height = 16};
    struct frame f = {.kind = TRACK_VIDEO, .key = true, .data = b};

    rtmp_send_track(w->session, TRACK_VIDEO, &t);
    for (f.dts = f.pts = w->now_ms; f.dts < w->now_ms + 2; f.dts++)
        rtmp_send_frame(w->session, &f);
    blob_unref(&b);
}

static void turn(struct world *w)
{
    w->now_ms += w->options & OPT_TICK ? 700 : 1;
    if (w->session && w->wake) {
        w->wake = false;
        rtmp_session_resume(w->session);
    }
    if (w->session && w->accepted)
        play_some(w);
    if (w->session && w->options & OPT_TICK)
        (void)rtmp_session_tick(w->session);
}

static void feed(struct world *w, struct slice in, size_t piece)
{
    for (; in.n && w->session; in = slice_skip(in, piece)) {
        rtmp_session_feed(w->session, slice_sub(in, 0, piece));
        turn(w);
    }
}

static void shake_hands(struct world *w)
{
    uint8_t hello[HANDSHAKE_HELLO + HANDSHAKE_PACKET] = {3};

    feed(w, slice_of(hello, sizeof(hello)), SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct world w = {.now_ms = 1000, .options = n ? p[0] : 0};
    const struct rtmp_host host = {
        .pipe = {.write = host_write, .write_blob = host_write_blob},
        .queued = host_queued,
        .pause = host_pause,
        .read_every = host_read_every,
        .wake = host_wake,
        .over = host_over,
        .peer = host_peer,
        .now_ms = host_now_ms,
        .on_publish = on_asked,
        .on_play = on_asked,
        .arg = &w,
    };
    size_t before = blob_total_bytes();

    if (!n)
        return 0;
    w.session = rtmp_session_new(&host);
    if (!(w.options & OPT_RAW))
        shake_hands(&w);
    feed(&w, slice_of(p + 1, n - 1), w.options & OPT_DRIP ? 1 : 1500);
    answer_later(&w);
    turn(&w);
    turn(&w);
    if (w.session)
        rtmp_session_hangup(w.session, NULL);
    assert(w.over && (!w.accepted || w.ended));
    assert(blob_total_bytes() == before);
    return 0;
}
