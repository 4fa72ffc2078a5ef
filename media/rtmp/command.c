/* What peers ask for by name, and what they get. Encoders and players differ in the order
 * and in what they leave out; a row tells in which states a command means something. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "media/rtmp/rtmp_int.h"

struct command {
    struct slice name;
    double txn;
    struct slice args; /* values after the transaction number */
    uint32_t stream_id;
};

enum { ANSWER_MAX = 4096 };

/* Enhanced RTMP: what we can do with a codec, and what we understand beyond 1.0. */
enum { FOURCC_DECODE = 1, FOURCC_FORWARD = 4, CAPS_MOD_EX = 4 };

/* --- answers --- */

static void answer_begin(struct buf *b, const char *name, double txn)
{
    buf_init(b, ANSWER_MAX);
    amf_put_text(b, slice_str(name));
    amf_put_number(b, txn);
}

/* An answer that outgrew its buffer (a sentence cannot, see ERR_TEXT_MAX) is not sent. */
static void answer_send(struct rtmp_session *s, struct buf *b, uint32_t stream_id)
{
    const struct chunk_to to = {.lane = LANE_COMMAND, .type = RTMP_COMMAND, .stream_id = stream_id};

    if (buf_ok(b))
        chunk_write(&s->out, &to, buf_slice(b), NULL);
    buf_cleanup(b);
}

static void put_member(struct buf *b, const char *key, const char *text)
{
    amf_put_key(b, key);
    amf_put_text(b, slice_str(text));
}

static void put_info(struct buf *b, const char *level, const char *code, const char *description)
{
    amf_open_object(b);
    put_member(b, "level", level);
    put_member(b, "code", code);
    put_member(b, "description", description);
}

void rtmp_session_send_status(struct rtmp_session *s, const char *level, const char *code,
                              const char *description)
{
    struct buf b;

    answer_begin(&b, "onStatus", 0);
    amf_put_null(&b);
    put_info(&b, level, code, description);
    amf_close(&b);
    answer_send(s, &b, s->stream_id);
}

static void send_error(struct rtmp_session *s, double txn, const char *description)
{
    struct buf b;

    answer_begin(&b, "_error", txn);
    amf_put_null(&b);
    put_info(&b, "error", "NetConnection.Call.Failed", description);
    amf_close(&b);
    answer_send(s, &b, 0);
}

static void send_result_null(struct rtmp_session *s, double txn)
{
    struct buf b;

    answer_begin(&b, "_result", txn);
    amf_put_null(&b);
    amf_put_null(&b);
    answer_send(s, &b, 0);
}

/* --- connect --- */

static void put_fourcc_map(struct buf *b, const char *key, const char *fourcc)
{
    amf_put_key(b, key);
    amf_open_object(b);
    amf_put_key(b, fourcc);
    amf_put_number(b, FOURCC_DECODE | FOURCC_FORWARD);
    amf_close(b);
}

static void put_capabilities(struct buf *b)
{
    amf_put_key(b, "fourCcList");
    amf_open_list(b, 2);
    amf_put_text(b, SLICE_LIT("avc1"));
    amf_put_text(b, SLICE_LIT("mp4a"));
    put_fourcc_map(b, "videoFourCcInfoMap", "avc1");
    put_fourcc_map(b, "audioFourCcInfoMap", "mp4a");
    amf_put_key(b, "capsEx");
    amf_put_number(b, CAPS_MOD_EX);
}

static void send_connected(struct rtmp_session *s, double txn)
{
    static const uint8_t bandwidth[5] = {RTMP_WINDOW_BYTES >> 24, RTMP_WINDOW_BYTES >> 16 & 0xff,
                                         RTMP_WINDOW_BYTES >> 8 & 0xff, RTMP_WINDOW_BYTES & 0xff,
                                         2 /* dynamic */};
    const struct chunk_to control = {.lane = LANE_CONTROL, .type = RTMP_PEER_BANDWIDTH};
    struct buf b;

    chunk_write_u32(&s->out, RTMP_WINDOW_ACK_SIZE, RTMP_WINDOW_BYTES);
    chunk_write(&s->out, &control, slice_of(bandwidth, sizeof(bandwidth)), NULL);
    chunk_write_size(&s->out);
    answer_begin(&b, "_result", txn);
    amf_open_object(&b);
    put_member(&b, "fmsVer", "FMS/3,5,7,7009"); /* players look for a known form */
    amf_put_key(&b, "capabilities");
    amf_put_number(&b, 31);
    amf_close(&b);
    put_info(&b, "status", "NetConnection.Connect.Success", "Connection succeeded.");
    amf_put_key(&b, "objectEncoding");
    amf_put_number(&b, 0);
    if (s->wants_fourcc)
        put_capabilities(&b);
    amf_close(&b);
    answer_send(s, &b, 0);
}

static bool has_member(const struct amf_value *object, const char *key)
{
    struct amf_value v;

    return amf_find(object, key, &v);
}

static char *encoder_name(struct slice text)
{
    char printable[256];

    return xstrdup(text_printable(text, printable));
}

static void on_connect(struct rtmp_session *s, const struct command *c)
{
    struct slice args = c->args, app, tc_url;
    struct amf_value object;
    struct err why;

    if (!amf_read(&args, &object) || object.type != AMF_OBJECT) {
        err_set(&why, RC_BAD_INPUT, "connect without an AMF0 object");
        rtmp_session_fail(s, &why);
        return;
    }
    app = amf_find_text(&object, "app");
    tc_url = amf_find_text(&object, "tcUrl");
    if (!rtmp_target_text_is_fit(app) || !rtmp_target_text_is_fit(tc_url)) {
        err_set(&why, RC_BAD_INPUT, "app or tcUrl with control bytes or above %d bytes",
                RTMP_MAX_TEXT);
        rtmp_session_fail(s, &why);
        return;
    }
    s->app = slice_dup(app);
    s->tc_url = slice_dup(tc_url);
    s->encoder = encoder_name(amf_find_text(&object, "flashVer"));
    s->wants_fourcc = has_member(&object, "fourCcList") || has_member(&object, "capsEx") ||
                      has_member(&object, "videoFourCcInfoMap");
    rtmp_session_set_state(s, RTMP_READY);
    send_connected(s, c->txn);
}

/* --- streams --- */

static void on_release_stream(struct rtmp_session *s, const struct command *c)
{
    send_result_null(s, c->txn);
}

static void on_fc_publish(struct rtmp_session *s, const struct command *c)
{
    s->fc_published = true;
    send_result_null(s, c->txn);
}

static void on_create_stream(struct rtmp_session *s, const struct command *c)
{
    struct buf b;

    if (s->last_stream_id >= RTMP_MAX_STREAM_IDS) {
        send_error(s, c->txn, "too many streams on one connection");
        return;
    }
    answer_begin(&b, "_result", c->txn);
    amf_put_null(&b);
    amf_put_number(&b, ++s->last_stream_id);
    answer_send(s, &b, 0);
}

/* The stream name is the value after the null; everything can also stand in the app. */
static struct slice name_of(const struct command *c)
{
    struct slice args = c->args;
    struct amf_value v;

    if (!amf_read(&args, &v) || !amf_read(&args, &v) || v.type != AMF_TEXT)
        return slice_of(NULL, 0);
    return v.text;
}

static void ask_owner(struct rtmp_session *s, const struct command *c, bool play)
{
    struct rtmp_target target;
    struct err why;

    s->asked_play = play;
    s->stream_id = c->stream_id;
    if (rtmp_target_make(s->app, s->tc_url, name_of(c), &target, &why) != RC_OK) {
        rtmp_session_send_status(
            s, "error", play ? "NetStream.Play.StreamNotFound" : "NetStream.Publish.BadName",
            why.text);
        rtmp_session_end(s, false, &why);
        return;
    }
    rtmp_session_set_state(s, RTMP_ASKED);
    (play ? s->host.on_play : s->host.on_publish)(s, &target, s->host.arg);
}

static void on_publish(struct rtmp_session *s, const struct command *c)
{
    ask_owner(s, c, false);
}

static void on_play(struct rtmp_session *s, const struct command *c)
{
    ask_owner(s, c, true);
}

static void start_publishing(struct rtmp_session *s)
{
    struct buf b;

    if (s->fc_published) { /* FMLE waits for this one */
        answer_begin(&b, "onFCPublish", 0);
        amf_put_null(&b);
        put_info(&b, "status", "NetStream.Publish.Start", "publishing");
        amf_close(&b);
        answer_send(s, &b, 0);
    }
    rtmp_session_send_status(s, "status", "NetStream.Publish.Start", "publishing");
}

void rtmp_command_started(struct rtmp_session *s)
{
    rtmp_session_send_user_control(s, USER_STREAM_BEGIN, s->stream_id);
    if (!s->asked_play) {
        start_publishing(s);
        return;
    }
    rtmp_session_send_status(s, "status", "NetStream.Play.Reset", "playing");
    rtmp_session_send_status(s, "status", "NetStream.Play.Start", "playing");
}

static void say_goodbye(struct rtmp_session *s)
{
    if (s->state == RTMP_PUBLISHING)
        rtmp_session_send_status(s, "status", "NetStream.Unpublish.Success", "unpublished");
    rtmp_session_end(s, true, NULL);
}

static void on_unpublish(struct rtmp_session *s, const struct command *c)
{
    (void)c;
    say_goodbye(s);
}

/* Of another stream than the one in use: encoders tidy up what they created and left. */
static void on_delete_stream(struct rtmp_session *s, const struct command *c)
{
    struct slice args = c->args;
    struct amf_value v;

    if (amf_read(&args, &v) && amf_read(&args, &v) && v.type == AMF_NUMBER &&
        v.number != s->stream_id)
        return;
    say_goodbye(s);
}

static void on_nothing(struct rtmp_session *s, const struct command *c)
{
    (void)s;
    (void)c;
}

/* --- by name --- */

#define IN(state) (1u << (state))
#define IN_USE (IN(RTMP_PUBLISHING) | IN(RTMP_PLAYING))
#define CONNECTED (IN(RTMP_READY) | IN_USE)

static const struct {
    const char *name;
    unsigned states; /* in others it is refused like an unknown one */
    void (*fn)(struct rtmp_session *s, const struct command *c);
} commands[] = {
    {"connect", IN(RTMP_CONNECT), on_connect},
    {"releaseStream", IN(RTMP_READY), on_release_stream},
    {"FCPublish", IN(RTMP_READY), on_fc_publish},
    {"createStream", CONNECTED, on_create_stream},
    {"publish", IN(RTMP_READY), on_publish},
    {"play", IN(RTMP_READY), on_play},
    {"FCUnpublish", IN_USE, on_unpublish},
    {"closeStream", IN_USE, on_unpublish},
    {"deleteStream", IN_USE, on_delete_stream},
    /* without an answer, as other servers leave them */
    {"deleteStream", IN(RTMP_READY), on_nothing},
    {"FCUnpublish", IN(RTMP_READY), on_nothing},
    {"closeStream", IN(RTMP_READY), on_nothing},
    {"_result", CONNECTED, on_nothing},
    {"_error", CONNECTED, on_nothing},
    {"_checkbw", CONNECTED, on_nothing},
    {"FCSubscribe", CONNECTED, on_nothing},
    {"getStreamLength", CONNECTED, on_nothing},
    {"receiveAudio", CONNECTED, on_nothing},
    {"receiveVideo", CONNECTED, on_nothing},
    {"pause", CONNECTED, on_nothing},
    {"pauseRaw", CONNECTED, on_nothing},
    {"seek", CONNECTED, on_nothing},
};

static void dispatch(struct rtmp_session *s, const struct command *c)
{
    char name[256], text[320];

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].states & IN(s->state) && slice_eq_str(c->name, commands[i].name)) {
            commands[i].fn(s, c);
            return;
        }
    }
    if (c->txn == 0 || s->state == RTMP_CONNECT)
        return;
    snprintf(text, sizeof(text), "'%s' is not known here, or not now",
             text_printable(c->name, name));
    send_error(s, c->txn, text);
}

void rtmp_command_handle(struct rtmp_session *s, const struct rtmp_message *m)
{
    struct slice in = blob_slice(m->body);
    struct amf_value name, txn;

    if (m->type == RTMP_COMMAND_AMF3)
        in = slice_skip(in, 1); /* a format byte, then AMF0 all the same */
    if (!amf_read(&in, &name) || name.type != AMF_TEXT)
        return;
    if (!amf_read(&in, &txn) || txn.type != AMF_NUMBER)
        txn.number = 0;
    dispatch(s, &(struct command){name.text, txn.number, in, m->stream_id});
}
