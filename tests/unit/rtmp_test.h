/* tests/unit/rtmp_test.h: both sides of a scripted RTMP conversation: a session without sockets,
 * whose host writes down what happens, and the client's bytes. */
#ifndef LEAT_TESTS_RTMP_TEST_H
#define LEAT_TESTS_RTMP_TEST_H

#include "media/rtmp/handshake.h"
#include "media/rtmp/rtmp_int.h"
#include "media_test.h"

#define ASC "121056e500"
#define IDR "0000000465888400"
#define SLICE "00000003419a01"

/* What the owner does when it is asked. */
enum fake_answer { ACCEPT, REFUSE, LATER };

/* A session's world. `log` collects what the owner and the host were told. */
struct fake {
    struct rtmp_session *session; /* NULL when over */
    struct buf out;               /* what the session wrote */
    struct buf log;
    enum fake_answer answer;
    size_t queued;
    int64_t now_ms, due_ms; /* the host's timer */
    int wakes, paused;
    int read_every_ms; /* as told; 0 from the start: at once */
    bool close_on_frame, close_on_end, watch_gone;
};

static inline void fake_note(struct fake *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void fake_note(struct fake *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&f->log, fmt, ap);
    va_end(ap);
    buf_str(&f->log, "\n");
}

static inline void fake_on_track(enum track_kind kind, const struct track *t, void *arg)
{
    if (kind == TRACK_VIDEO)
        fake_note(arg, "video %dx%d", t->width, t->height);
    else
        fake_note(arg, "audio %d Hz", t->sample_rate);
}

static inline void fake_on_frame(const struct frame *fr, void *arg)
{
    struct fake *f = arg;

    fake_note(f, "%c%lld/%lld:%zu",
              fr->kind == TRACK_AUDIO ? 'a'
              : fr->key               ? 'K'
                                      : 'v',
              (long long)fr->dts, (long long)fr->pts, fr->data->n);
    if (f->close_on_frame)
        rtmp_session_close(f->session, "the owner has had enough");
}

static inline void fake_on_end(bool said_goodbye, const struct err *why, void *arg)
{
    struct fake *f = arg;

    fake_note(f, "end %s%s", said_goodbye ? "goodbye" : "cut", why ? "" : ".");
    if (why)
        fake_note(f, "  %s", why->text);
    if (f->close_on_end)
        rtmp_session_close(f->session, "twice");
}

static inline void fake_on_writable(void *arg)
{
    fake_note(arg, "writable");
}

static const struct rtmp_session_events fake_events = {
    fake_on_track, fake_on_frame, fake_on_end, fake_on_writable, NULL,
};

static inline void fake_accept(struct fake *f)
{
    struct rtmp_session_events ev = fake_events;

    ev.arg = f;
    rtmp_accept(f->session, &ev);
}

static inline void fake_on_gone(struct rtmp_session *s, void *arg)
{
    assert_ptr_equal(((struct fake *)arg)->session, s);
    fake_note(arg, "gone");
}

static inline void fake_ask(struct fake *f, const char *what, const struct rtmp_target *t)
{
    fake_note(f, "%s %s?%s", what, t->path, t->query);
    if (f->watch_gone)
        rtmp_on_gone(f->session, fake_on_gone, f);
    if (f->answer == ACCEPT)
        fake_accept(f);
    else if (f->answer == REFUSE)
        rtmp_refuse(f->session, "NetStream.Publish.Unauthorized", "this key is not known");
}

static inline void fake_on_publish(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    fake_ask(arg, "publish", t);
}

static inline void fake_on_play(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    fake_ask(arg, "play", t);
}

static inline void fake_write(struct slice bytes, void *arg)
{
    buf_add_slice(&((struct fake *)arg)->out, bytes);
}

static inline void fake_write_blob(struct blob *b, size_t from, size_t n, void *arg)
{
    buf_add_slice(&((struct fake *)arg)->out, slice_sub(blob_slice(b), from, n));
}

static inline size_t fake_queued(void *arg)
{
    return ((struct fake *)arg)->queued;
}

static inline void fake_pause(bool paused, void *arg)
{
    ((struct fake *)arg)->paused += paused ? 1 : -1;
}

static inline void fake_read_every(int ms, void *arg)
{
    ((struct fake *)arg)->read_every_ms = ms;
}

static inline void fake_wake(void *arg)
{
    ((struct fake *)arg)->wakes++;
}

static inline void fake_over(const struct err *unheard, void *arg)
{
    struct fake *f = arg;

    fake_note(f, "over%s%s", unheard ? ": " : "", unheard ? unheard->text : "");
    f->session = NULL;
}

static inline const char *fake_peer(void *arg)
{
    return "a test";
}

static inline int64_t fake_now_ms(void *arg)
{
    return ((struct fake *)arg)->now_ms;
}

static inline void fake_init(struct fake *f, enum fake_answer answer)
{
    const struct rtmp_host host = {
        .pipe = {.write = fake_write, .write_blob = fake_write_blob},
        .queued = fake_queued,
        .pause = fake_pause,
        .read_every = fake_read_every,
        .wake = fake_wake,
        .over = fake_over,
        .peer = fake_peer,
        .now_ms = fake_now_ms,
        .on_publish = fake_on_publish,
        .on_play = fake_on_play,
        .arg = f,
    };

    *f = (struct fake){.answer = answer, .now_ms = 1000000};
    buf_init(&f->out, 64 << 20);
    buf_init(&f->log, 1 << 20);
    f->session = rtmp_session_new(&host);
    f->due_ms = f->now_ms + RTMP_TICK_MS;
}

static inline void fake_cleanup(struct fake *f)
{
    if (f->session)
        rtmp_session_hangup(f->session, NULL);
    buf_cleanup(&f->out);
    buf_cleanup(&f->log);
}

/* The peer's bytes, in pieces; stops when the session is over. */
static inline void fake_feed(struct fake *f, struct slice in, size_t piece)
{
    while (in.n && f->session) {
        struct slice part = slice_sub(in, 0, piece);
        uint8_t *exact = malloc(
            part.n); /* ASan sees an overread, and a keeping of borrowed bytes */

        memcpy(exact, part.p, part.n);
        rtmp_session_feed(f->session, slice_of(exact, part.n));
        free(exact);
        in = slice_skip(in, part.n);
    }
}

/* --- what the session wrote, in words --- */

static inline void describe_command(struct slice in, struct buf *words)
{
    struct amf_value name, txn, v;

    assert_true(amf_read(&in, &name) && amf_read(&in, &txn));
    buf_add_slice(words, name.text);
    if (txn.number != 0)
        buf_printf(words, "(%g)", txn.number);
    assert_true(amf_read(&in, &v));
    if (!amf_read(&in, &v))
        return;
    if (v.type == AMF_NUMBER)
        buf_printf(words, "=%g", v.number);
    if (amf_find_text(&v, "code").n) {
        buf_str(words, " ");
        buf_add_slice(words, amf_find_text(&v, "code"));
    }
}

static inline void describe(const struct rtmp_message *m, struct buf *words)
{
    struct slice body = blob_slice(m->body);
    struct amf_value v;

    if (m->type == RTMP_COMMAND) {
        describe_command(body, words);
    } else if (m->type == RTMP_DATA) {
        assert_true(amf_read(&body, &v));
        buf_add_slice(words, v.text);
    } else if (m->type == RTMP_AUDIO || m->type == RTMP_VIDEO) {
        buf_printf(words, "%s@%u:", m->type == RTMP_AUDIO ? "audio" : "video", m->time_ms);
        buf_hex(words, slice_sub(body, 0, m->type == RTMP_AUDIO ? 2 : 5));
        buf_printf(words, "+%zu", body.n - (m->type == RTMP_AUDIO ? 2 : 5));
    } else {
        buf_printf(words, "%u:", m->type);
        buf_hex(words, body);
    }
    buf_str(words, "\n");
}

/* Everything after the handshake; the caller frees. What was told is forgotten. */
static inline char *fake_said(struct fake *f)
{
    struct chunk_reader r;
    struct rtmp_message m;
    struct buf words;
    struct slice in = slice_skip(buf_slice(&f->out), HANDSHAKE_ANSWER);

    buf_init(&words, 1 << 20);
    chunk_reader_init(&r);
    while (chunk_read(&r, &in, &m, NULL) == RC_OK) {
        describe(&m, &words);
        blob_unref(&m.body);
    }
    assert_int_equal(in.n, 0);
    assert_int_equal(r.partial_bytes, 0);
    chunk_reader_cleanup(&r);
    buf_cstr(&words);
    return words.p ? (char *)buf_take(&words, &(size_t){0}) : xstrdup("");
}

#define assert_said(f, text)                                                                       \
    do {                                                                                           \
        char *said = fake_said(f);                                                                 \
        assert_string_equal(said, text);                                                           \
        free(said);                                                                                \
    } while (0)
#define assert_log(f, text) assert_string_equal(buf_cstr(&(f)->log), text)

/* --- the client's bytes --- */

struct script {
    struct buf bytes;
    struct chunk_writer w;
};

static inline void script_write(struct slice bytes, void *arg)
{
    buf_add_slice(arg, bytes);
}

static inline void script_init(struct script *s)
{
    buf_init(&s->bytes, 64 << 20);
    s->w = (struct chunk_writer){{script_write, NULL, &s->bytes}, CHUNK_SIZE_AT_START};
}

static inline void script_cleanup(struct script *s)
{
    buf_cleanup(&s->bytes);
}

/* C0, C1 and a C2 that echoes nothing. */
static inline void say_hello(struct script *s)
{
    buf_u8(&s->bytes, 3);
    for (int i = 0; i < 2 * HANDSHAKE_PACKET; i++)
        buf_u8(&s->bytes, i < 8 ? 0 : 0x5a);
}

static inline void say(struct script *s, uint8_t type, uint32_t time_ms, uint32_t stream_id,
                       const char *hex)
{
    struct blob *b = from_hex(hex);
    const struct chunk_to to = {type == RTMP_AUDIO ? LANE_AUDIO : LANE_VIDEO, type, time_ms,
                                stream_id};

    chunk_write(&s->w, &to, blob_slice(b), NULL);
    blob_unref(&b);
}

static inline void say_values(struct script *s, uint8_t type, uint32_t stream_id,
                              struct buf *values)
{
    chunk_write(&s->w, &(struct chunk_to){LANE_COMMAND, type, 0, stream_id}, buf_slice(values),
                NULL);
    buf_cleanup(values);
}

static inline void values_begin(struct buf *b, const char *name, double txn)
{
    buf_init(b, 1 << 20);
    amf_put_text(b, slice_str(name));
    amf_put_number(b, txn);
}

/* name(txn, null, args ...): at most two texts. */
static inline void say_command(struct script *s, uint32_t stream_id, const char *name, double txn,
                               const char *one, const char *two)
{
    struct buf b;

    values_begin(&b, name, txn);
    amf_put_null(&b);
    if (one)
        amf_put_text(&b, slice_str(one));
    if (two)
        amf_put_text(&b, slice_str(two));
    say_values(s, RTMP_COMMAND, stream_id, &b);
}

static inline void put_text_member(struct buf *b, const char *key, const char *text)
{
    amf_put_key(b, key);
    amf_put_text(b, slice_str(text));
}

static inline void say_connect(struct script *s, const char *app, const char *tc_url)
{
    struct buf b;

    values_begin(&b, "connect", 1);
    amf_open_object(&b);
    put_text_member(&b, "app", app);
    put_text_member(&b, "type", "nonprivate");
    put_text_member(&b, "flashVer", "FMLE/3.0 (compatible; FMSc/1.0)");
    put_text_member(&b, "tcUrl", tc_url);
    amf_close(&b);
    say_values(s, RTMP_COMMAND, 0, &b);
}

/* Everything up to media, as OBS does it. */
static inline void say_publish(struct script *s, const char *app, const char *name)
{
    say_hello(s);
    chunk_write_u32(&s->w, RTMP_SET_CHUNK_SIZE, 4096);
    s->w.chunk_size = 4096;
    say_connect(s, app, "rtmp://host/live");
    say_command(s, 0, "releaseStream", 2, name, NULL);
    say_command(s, 0, "FCPublish", 3, name, NULL);
    say_command(s, 0, "createStream", 4, NULL, NULL);
    say_command(s, 1, "publish", 5, name, "live");
}

static inline void say_headers(struct script *s)
{
    say(s, RTMP_VIDEO, 0, 1, "1700000000" AVCC_25);
    say(s, RTMP_AUDIO, 0, 1, "af00" ASC);
}

static inline void say_play(struct script *s, const char *app, const char *name)
{
    say_hello(s);
    say_connect(s, app, "rtmp://host/live");
    say_command(s, 0, "createStream", 2, NULL, NULL);
    say_command(s, 1, "play", 0, name, NULL);
}

#endif
