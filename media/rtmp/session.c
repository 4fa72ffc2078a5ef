/* A session's life: handshake, messages of the protocol itself, deadlines, its end. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/reader.h"
#include "media/rtmp/handshake.h"
#include "media/rtmp/rtmp_int.h"

static const char *const state_names[RTMP_STATE_COUNT] = {
#define X(state) [state] = #state,
    RTMP_STATES(X)
#undef X
};

/* How long a state may last. Publishing has a deadline until its first frame. */
static const struct wait {
    int64_t ms;
    const char *for_what;
} waits[RTMP_STATE_COUNT] = {
    [RTMP_HELLO] = {RTMP_HANDSHAKE_MS, "the RTMP handshake"},
    [RTMP_ECHO] = {RTMP_HANDSHAKE_MS, "the end of the RTMP handshake"},
    [RTMP_CONNECT] = {RTMP_CONNECT_MS, "the command connect"},
    [RTMP_READY] = {RTMP_ASK_MS, "the command publish or play"},
    [RTMP_PUBLISHING] = {RTMP_FIRST_FRAME_MS, "the first frame of H.264 or AAC"},
};

static int64_t now_ms(const struct rtmp_session *s)
{
    return s->host.now_ms(s->host.arg);
}

void rtmp_session_set_state(struct rtmp_session *s, enum rtmp_state state)
{
    log_debug(NULL, "rtmp %s: %s -> %s", s->host.peer(s->host.arg), state_names[s->state],
              state_names[state]);
    if (state != RTMP_ECHO) /* the handshake has one deadline as a whole */
        s->state_ms = now_ms(s);
    s->state = state;
}

struct rtmp_session *rtmp_session_new(const struct rtmp_host *host)
{
    struct rtmp_session *s = xcalloc(1, sizeof(*s));

    s->host = *host;
    s->host.pipe.arg = host->arg;
    s->out = (struct chunk_writer){.pipe = s->host.pipe, .chunk_size = CHUNK_SIZE_AT_START};
    chunk_reader_init(&s->in);
    buf_init(&s->held, HANDSHAKE_HELLO);
    s->ack_window = RTMP_WINDOW_BYTES;
    s->state_ms = s->heard_ms = s->pinged_ms = now_ms(s);
    return s;
}

static void session_free(struct rtmp_session *s)
{
    chunk_reader_cleanup(&s->in);
    buf_cleanup(&s->held);
    rtmp_ingest_cleanup(&s->ingest);
    rtmp_playback_free(s->playback);
    free(s->doom);
    free(s->app);
    free(s->tc_url);
    free(s->encoder);
    free(s);
}

/* --- the end --- */

/* Nobody calls in any more; the host lets go, then the memory goes. */
static void vanish(struct rtmp_session *s, const struct err *unheard)
{
    s->host.over(unheard, s->host.arg);
    if (s->busy)
        s->is_gone = true;
    else
        session_free(s);
}

void rtmp_session_end(struct rtmp_session *s, bool said_goodbye, const struct err *why)
{
    bool owner_logs = s->has_owner && s->state == RTMP_PUBLISHING;

    if (s->state == RTMP_OVER)
        return;
    rtmp_session_set_state(s, RTMP_OVER);
    if (s->has_owner)
        s->ev.on_end(said_goodbye, why, s->ev.arg);
    else if (s->on_gone)
        s->on_gone(s, s->on_gone_arg);
    vanish(s, owner_logs || (why && why->code == RC_CANCELLED) ? NULL : why);
}

void rtmp_session_fail(struct rtmp_session *s, const struct err *why)
{
    struct err kept = *why; /* *why may live in what ends now */

    if (s->state == RTMP_PUBLISHING)
        rtmp_session_send_status(s, "error", "NetStream.Publish.Failed", kept.text);
    else if (s->state == RTMP_PLAYING)
        rtmp_session_send_status(s, "error", "NetStream.Play.Failed", kept.text);
    else if (s->state == RTMP_READY || s->state == RTMP_ASKED)
        rtmp_session_send_status(s, "error", "NetConnection.Connect.Closed", kept.text);
    rtmp_session_end(s, false, &kept);
}

void rtmp_session_doom(struct rtmp_session *s, enum rc rc, const char *sentence)
{
    if (s->doom || s->state == RTMP_OVER)
        return;
    s->doom = xmalloc(sizeof(*s->doom));
    err_set(s->doom, rc, "%s", sentence);
    s->host.wake(s->host.arg);
}

void rtmp_session_hangup(struct rtmp_session *s, const struct err *why)
{
    log_debug(NULL, "rtmp %s: %s", s->host.peer(s->host.arg), why ? why->text : "closed by peer");
    rtmp_session_end(s, false, NULL);
}

void rtmp_session_stop(struct rtmp_session *s)
{
    struct err why;

    err_set(&why, RC_CANCELLED, "the RTMP server stops");
    rtmp_session_fail(s, &why);
}

/* --- messages of the protocol itself --- */

void rtmp_session_send_user_control(struct rtmp_session *s, uint16_t event, uint32_t value)
{
    const uint8_t bytes[6] = {(uint8_t)(event >> 8),  (uint8_t)event,        (uint8_t)(value >> 24),
                              (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};

    chunk_write(&s->out, &(struct chunk_to){.lane = LANE_CONTROL, .type = RTMP_USER_CONTROL},
                slice_of(bytes, sizeof(bytes)), NULL);
}

/* Of the events only the question needs an answer; the others describe players' buffers. */
static void on_user_control(struct rtmp_session *s, struct slice body)
{
    struct reader r = reader_of(body);
    uint16_t event = rd_be16(&r);
    uint32_t value = rd_be32(&r);

    if (!r.failed && event == USER_PING_REQUEST)
        rtmp_session_send_user_control(s, USER_PING_RESPONSE, value);
}

static void on_window(struct rtmp_session *s, struct slice body)
{
    struct reader r = reader_of(body);
    uint32_t window = rd_be32(&r);

    if (!r.failed)
        s->ack_window = MAX(window, (uint32_t)RTMP_MIN_WINDOW_BYTES);
}

/* "Acknowledge what I send you every N bytes" is to be answered by the window we expect. */
static void on_peer_bandwidth(struct rtmp_session *s, struct slice body)
{
    struct reader r = reader_of(body);
    uint32_t window = rd_be32(&r);

    if (!r.failed && window != RTMP_WINDOW_BYTES)
        chunk_write_u32(&s->out, RTMP_WINDOW_ACK_SIZE, window);
}

/* Everything that makes us answer is counted, so nobody can keep us busy with small talk. */
static bool within_rate(struct rtmp_session *s)
{
    struct err why;

    if (now_ms(s) - s->second_ms >= 1000) {
        s->second_ms = now_ms(s);
        s->commands = 0;
    }
    if (++s->commands <= RTMP_COMMANDS_PER_SECOND)
        return true;
    err_set(&why, RC_LIMIT, "more than %d RTMP commands in a second", RTMP_COMMANDS_PER_SECOND);
    rtmp_session_fail(s, &why);
    return false;
}

static void on_message(struct rtmp_session *s, const struct rtmp_message *m)
{
    struct slice body = blob_slice(m->body);

    switch (m->type) {
    case RTMP_AUDIO:
    case RTMP_VIDEO:
    case RTMP_AGGREGATE:
    case RTMP_DATA:
    case RTMP_DATA_AMF3:
        if (s->state == RTMP_PUBLISHING)
            rtmp_ingest_message(s, m);
        return;
    case RTMP_USER_CONTROL:
        if (within_rate(s))
            on_user_control(s, body);
        return;
    case RTMP_WINDOW_ACK_SIZE:
        on_window(s, body);
        return;
    case RTMP_PEER_BANDWIDTH:
        if (within_rate(s))
            on_peer_bandwidth(s, body);
        return;
    case RTMP_COMMAND:
    case RTMP_COMMAND_AMF3:
        if (within_rate(s))
            rtmp_command_handle(s, m);
        return;
    default: /* acknowledgements, shared objects, kinds nobody has named: not for us */
        return;
    }
}

/* --- bytes in, by state --- */

static void take_hello(struct rtmp_session *s, struct slice *in)
{
    uint8_t answer[HANDSHAKE_ANSWER];
    size_t n = MIN(in->n, HANDSHAKE_HELLO - s->held.n);
    struct err why;

    if (!s->held.n && handshake_check_version(in->p[0], &why) != RC_OK) {
        rtmp_session_fail(s, &why);
        return;
    }
    buf_add(&s->held, in->p, n);
    *in = slice_skip(*in, n);
    if (s->held.n < HANDSHAKE_HELLO)
        return;
    handshake_answer(s->held.p, answer);
    s->out.pipe.write(slice_of(answer, sizeof(answer)), s->out.pipe.arg);
    buf_cleanup(&s->held);
    buf_init(&s->held, RTMP_HELD_BYTES + STREAM_READ_MAX);
    s->echo_left = HANDSHAKE_PACKET;
    rtmp_session_set_state(s, RTMP_ECHO);
}

/* The echo is not compared: real encoders send wrong ones. */
static void skip_echo(struct rtmp_session *s, struct slice *in)
{
    size_t n = MIN(in->n, s->echo_left);

    *in = slice_skip(*in, n);
    s->echo_left -= n;
    if (!s->echo_left)
        rtmp_session_set_state(s, RTMP_CONNECT);
}

/* While the owner makes up its mind, what the peer sends on is kept for afterwards. */
static void hold(struct rtmp_session *s, struct slice *in)
{
    struct err why;

    buf_add_slice(&s->held, *in);
    *in = slice_of(NULL, 0);
    if (!buf_ok(&s->held)) {
        err_set(&why, RC_LIMIT, "more than %d bytes before publish was answered", RTMP_HELD_BYTES);
        rtmp_session_fail(s, &why);
    } else if (s->held.n > RTMP_HELD_BYTES && !s->paused) {
        s->paused = true;
        s->host.pause(true, s->host.arg);
    }
}

static void read_message(struct rtmp_session *s, struct slice *in)
{
    struct rtmp_message m;
    struct err why;
    enum rc rc = chunk_read(&s->in, in, &m, &why);

    if (rc == RC_OK) {
        on_message(s, &m);
        blob_unref(&m.body);
    } else if (rc != RC_NOT_FOUND) {
        rtmp_session_fail(s, &why);
    }
}

static void consume(struct rtmp_session *s, struct slice in)
{
    while (in.n && s->state != RTMP_OVER) {
        if (s->state == RTMP_HELLO)
            take_hello(s, &in);
        else if (s->state == RTMP_ECHO)
            skip_echo(s, &in);
        else if (s->state == RTMP_ASKED)
            hold(s, &in);
        else
            read_message(s, &in);
    }
}

/* Some encoders stop when they are not acknowledged: answer well before the window is full. */
static void acknowledge(struct rtmp_session *s)
{
    if (s->state < RTMP_CONNECT || s->bytes_in - s->acked < s->ack_window / 2)
        return;
    s->acked = s->bytes_in;
    chunk_write_u32(&s->out, RTMP_ACK, (uint32_t)s->bytes_in);
}

static void check_unread(struct rtmp_session *s)
{
    size_t most = s->state == RTMP_PLAYING ? RTMP_VIEWER_BEHIND_BYTES : RTMP_UNREAD_BYTES;
    size_t queued = s->host.queued(s->host.arg);
    struct err why;

    if (queued <= most)
        return;
    err_set(&why, RC_LIMIT, "the peer does not read: %zu bytes wait for it, at most %zu may",
            queued, most);
    rtmp_session_fail(s, &why);
}

static void feed(struct rtmp_session *s, struct slice bytes)
{
    s->busy = true;
    consume(s, bytes);
    if (s->state != RTMP_OVER)
        acknowledge(s);
    if (s->state != RTMP_OVER)
        check_unread(s);
    if (s->state == RTMP_PUBLISHING)
        rtmp_ingest_set_pace(s, bytes.n);
    s->busy = false;
    if (s->is_gone)
        session_free(s);
}

void rtmp_session_feed(struct rtmp_session *s, struct slice bytes)
{
    s->heard_ms = now_ms(s);
    s->bytes_in += bytes.n;
    feed(s, bytes);
}

void rtmp_session_resume(struct rtmp_session *s)
{
    struct buf held = s->held;

    if (s->doom) {
        rtmp_session_fail(s, s->doom);
        return;
    }
    if (s->state == RTMP_ASKED)
        return;
    if (s->paused)
        s->host.pause(false, s->host.arg);
    s->paused = false;
    buf_init(&s->held, 0);
    feed(s, buf_slice(&held));
    buf_cleanup(&held);
}

void rtmp_session_writable(struct rtmp_session *s)
{
    if (s->has_owner && s->ev.on_writable)
        s->ev.on_writable(s->ev.arg);
}

/* --- deadlines --- */

static bool is_waiting(const struct rtmp_session *s)
{
    return waits[s->state].ms && !(s->state == RTMP_PUBLISHING && s->ingest.has_frame);
}

static bool end_when_late(struct rtmp_session *s)
{
    const struct wait *w = &waits[s->state];
    struct err why;

    if (!is_waiting(s) || now_ms(s) - s->state_ms < w->ms)
        return false;
    err_set(&why, RC_TIMEOUT, "%s did not come within %d s", w->for_what, (int)(w->ms / 1000));
    rtmp_session_fail(s, &why);
    return true;
}

static bool end_when_silent(struct rtmp_session *s)
{
    int64_t most = s->state == RTMP_PLAYING ? RTMP_VIEWER_SILENCE_MS : RTMP_SILENCE_MS;
    int64_t silence = now_ms(s) - s->heard_ms;
    struct err why;

    if (s->state != RTMP_PUBLISHING && s->state != RTMP_PLAYING)
        return false;
    if (silence >= most) {
        err_set(&why, RC_TIMEOUT, "nothing came for %d s, not even an answer to pings",
                (int)(silence / 1000));
        rtmp_session_fail(s, &why);
        return true;
    }
    if (silence >= RTMP_PING_MS && now_ms(s) - s->pinged_ms >= RTMP_PING_MS) {
        s->pinged_ms = now_ms(s);
        rtmp_session_send_user_control(s, USER_PING_REQUEST, (uint32_t)now_ms(s));
    }
    return false;
}

/* Later deadlines never come before those that were known when the timer was set, so it need
 * not be moved when states change or bytes arrive. */
static int64_t next_look(const struct rtmp_session *s)
{
    int64_t in = RTMP_TICK_MS;

    if (is_waiting(s))
        in = MIN(in, s->state_ms + waits[s->state].ms - now_ms(s));
    if (now_ms(s) - s->heard_ms < RTMP_PING_MS)
        in = MIN(in, s->heard_ms + RTMP_PING_MS - now_ms(s));
    return MAX(in, 1);
}

int64_t rtmp_session_tick(struct rtmp_session *s)
{
    if (end_when_late(s) || end_when_silent(s))
        return 0;
    return next_look(s);
}

/* --- the owner's side --- */

void rtmp_accept(struct rtmp_session *s, const struct rtmp_session_events *ev)
{
    assert(s->state == RTMP_ASKED && ev->on_end);
    s->ev = *ev;
    s->has_owner = true;
    s->on_gone = NULL;
    s->heard_ms = now_ms(s); /* the silence before was ours */
    rtmp_session_set_state(s, s->asked_play ? RTMP_PLAYING : RTMP_PUBLISHING);
    if (s->asked_play)
        s->playback = rtmp_playback_new();
    rtmp_command_started(s);
    free(s->app);
    free(s->tc_url);
    s->app = s->tc_url = NULL;
    if (s->held.n || s->paused)
        s->host.wake(s->host.arg);
}

void rtmp_refuse(struct rtmp_session *s, const char *status_code, const char *sentence)
{
    assert(s->state == RTMP_ASKED);
    rtmp_session_send_status(s, "error", status_code, sentence);
    rtmp_session_set_state(s, RTMP_OVER);
    vanish(s, NULL);
}

void rtmp_on_gone(struct rtmp_session *s, void (*fn)(struct rtmp_session *s, void *arg), void *arg)
{
    s->on_gone = fn;
    s->on_gone_arg = arg;
}

void rtmp_session_close(struct rtmp_session *s, const char *why)
{
    if (s->state == RTMP_OVER)
        return;
    if (s->state == RTMP_PLAYING) {
        rtmp_session_send_user_control(s, USER_STREAM_EOF, s->stream_id);
        rtmp_session_send_status(s, "status", "NetStream.Play.UnpublishNotify", why);
    } else {
        rtmp_session_send_status(s, "error", "NetStream.Publish.Failed", why);
    }
    rtmp_session_set_state(s, RTMP_OVER);
    vanish(s, NULL);
}

const char *rtmp_session_peer(const struct rtmp_session *s)
{
    return s->host.peer(s->host.arg);
}

const char *rtmp_session_encoder(const struct rtmp_session *s)
{
    return s->encoder ? s->encoder : "";
}
