#include "media/rtmp/rtmp_client.h"

#include <stdlib.h>

#include "base/reader.h"
#include "base/text.h"
#include "base/url.h"
#include "media/flv.h"
#include "media/rtmp/amf.h"
#include "media/rtmp/chunk.h"
#include "media/rtmp/handshake.h"
#include "net/stream.h"

enum {
    DEFAULT_PORT = 1935,
    SETUP_MS = 10000, /* from connecting to Publish.Start */
    COMMAND_MAX = 4096,
    ACK_EVERY_BYTES = 1000000
};

/* Transaction numbers of what we ask for. */
enum { TXN_CONNECT = 1, TXN_RELEASE, TXN_FC_PUBLISH, TXN_CREATE, TXN_PUBLISH, TXN_GOODBYE };

enum client_state {
    CLIENT_CONNECTING,
    CLIENT_HANDSHAKE, /* S0, S1 and S2 are awaited */
    CLIENT_ASKING,    /* commands up to publish */
    CLIENT_READY,
    CLIENT_OVER
};

struct rtmp_client {
    enum client_state state;
    struct loop *loop;
    struct rtmp_client_conf conf;
    struct connecting *connecting;
    struct stream *stream;
    struct timer *timer;     /* SETUP_MS */
    struct deferred refused; /* a URL that cannot be used */
    struct err *why_refused;
    struct chunk_reader in;
    struct chunk_writer out;
    struct buf answer; /* S0, S1, S2 as they come */
    char *app, *name, *tc_url;
    uint32_t stream_id;
    uint64_t acked;
    bool busy, is_gone; /* inside on_data; freed meanwhile */
};

static void let_go(struct rtmp_client *c)
{
    c->state = CLIENT_OVER;
    if (c->connecting)
        connecting_cancel(c->connecting);
    c->connecting = NULL;
    timer_free(c->timer);
    c->timer = NULL;
    loop_defer_cancel(c->loop, &c->refused);
}

static void end(struct rtmp_client *c, const struct err *why)
{
    if (c->state == CLIENT_OVER)
        return;
    let_go(c);
    stream_close(c->stream);
    c->stream = NULL;
    c->conf.on_end(why, c->conf.arg);
}

/* --- commands --- */

static void command_begin(struct buf *b, const char *name, int txn)
{
    buf_init(b, COMMAND_MAX);
    amf_put_text(b, slice_str(name));
    amf_put_number(b, txn);
}

static void command_send(struct rtmp_client *c, struct buf *b, uint32_t stream_id)
{
    const struct chunk_to to = {.lane = LANE_COMMAND, .type = RTMP_COMMAND, .stream_id = stream_id};

    if (buf_ok(b))
        chunk_write(&c->out, &to, buf_slice(b), NULL);
    buf_cleanup(b);
}

static void put_member(struct buf *b, const char *key, const char *text)
{
    amf_put_key(b, key);
    amf_put_text(b, slice_str(text));
}

static void send_connect(struct rtmp_client *c)
{
    struct buf b;

    chunk_write_size(&c->out);
    command_begin(&b, "connect", TXN_CONNECT);
    amf_open_object(&b);
    put_member(&b, "app", c->app);
    put_member(&b, "type", "nonprivate");
    put_member(&b, "flashVer", "FMLE/3.0 (compatible; leat)");
    put_member(&b, "tcUrl", c->tc_url);
    amf_close(&b);
    command_send(c, &b, 0);
}

static void send_named(struct rtmp_client *c, const char *command, int txn)
{
    struct buf b;

    command_begin(&b, command, txn);
    amf_put_null(&b);
    amf_put_text(&b, slice_str(c->name));
    command_send(c, &b, 0);
}

static void send_create(struct rtmp_client *c)
{
    struct buf b;

    send_named(c, "releaseStream", TXN_RELEASE);
    send_named(c, "FCPublish", TXN_FC_PUBLISH);
    command_begin(&b, "createStream", TXN_CREATE);
    amf_put_null(&b);
    command_send(c, &b, 0);
}

static void send_publish(struct rtmp_client *c)
{
    struct buf b;

    command_begin(&b, "publish", TXN_PUBLISH);
    amf_put_null(&b);
    amf_put_text(&b, slice_str(c->name));
    amf_put_text(&b, SLICE_LIT("live"));
    command_send(c, &b, c->stream_id);
}

/* --- answers --- */

static void end_with_answer(struct rtmp_client *c, const struct amf_value *info)
{
    struct slice text = amf_find_text(info, "description");
    char printable[256];
    struct err why;

    if (!text.n)
        text = amf_find_text(info, "code");
    err_set(&why, RC_DENIED, "the server refused: %s", text_printable(text, printable));
    end(c, &why);
}

static void on_result(struct rtmp_client *c, double txn, struct slice args)
{
    struct amf_value v;

    if (txn == TXN_CONNECT)
        send_create(c);
    if (txn != TXN_CREATE || !amf_read(&args, &v) || !amf_read(&args, &v))
        return;
    if (v.type == AMF_NUMBER && v.number >= 0 && v.number <= UINT32_MAX)
        c->stream_id = (uint32_t)v.number;
    send_publish(c);
}

static void on_error(struct rtmp_client *c, double txn, struct slice args)
{
    struct amf_value v;

    if (txn != TXN_CONNECT && txn != TXN_CREATE && txn != TXN_PUBLISH)
        return; /* servers need not know releaseStream and FCPublish */
    if (!amf_read(&args, &v) || !amf_read(&args, &v))
        v = (struct amf_value){.type = AMF_NULL};
    end_with_answer(c, &v);
}

static void on_status(struct rtmp_client *c, struct slice args)
{
    struct amf_value v;

    if (!amf_read(&args, &v) || !amf_read(&args, &v))
        return;
    if (slice_eq_str(amf_find_text(&v, "level"), "error")) {
        end_with_answer(c, &v);
    } else if (c->state == CLIENT_ASKING &&
               slice_eq_str(amf_find_text(&v, "code"), "NetStream.Publish.Start")) {
        c->state = CLIENT_READY;
        timer_stop(c->timer);
        c->conf.on_ready(c->conf.arg);
    }
}

static void on_command(struct rtmp_client *c, struct slice in)
{
    struct amf_value name, txn;

    if (!amf_read(&in, &name) || name.type != AMF_TEXT || !amf_read(&in, &txn))
        return;
    if (slice_eq_str(name.text, "onStatus"))
        on_status(c, in);
    else if (c->state == CLIENT_ASKING && slice_eq_str(name.text, "_result"))
        on_result(c, txn.number, in);
    else if (c->state == CLIENT_ASKING && slice_eq_str(name.text, "_error"))
        on_error(c, txn.number, in);
}

static void on_user_control(struct rtmp_client *c, struct slice body)
{
    enum { PING_REQUEST = 6, PING_RESPONSE = 7 };
    const struct chunk_to to = {.lane = LANE_CONTROL, .type = RTMP_USER_CONTROL};
    struct reader r = reader_of(body);
    uint16_t event = rd_be16(&r);
    struct slice value = rd_bytes(&r, 4);
    uint8_t pong[6] = {0, PING_RESPONSE};

    if (r.failed || event != PING_REQUEST)
        return;
    memcpy(pong + 2, value.p, 4);
    chunk_write(&c->out, &to, slice_of(pong, sizeof(pong)), NULL);
}

static void read_message(struct rtmp_client *c, struct slice *in)
{
    struct rtmp_message m;
    struct err why;
    enum rc rc = chunk_read(&c->in, in, &m, &why);

    if (rc == RC_NOT_FOUND)
        return;
    if (rc != RC_OK) {
        end(c, &why);
        return;
    }
    if (m.type == RTMP_COMMAND)
        on_command(c, blob_slice(m.body));
    else if (m.type == RTMP_USER_CONTROL)
        on_user_control(c, blob_slice(m.body));
    blob_unref(&m.body);
}

/* --- the stream --- */

/* C2 and connect leave together as soon as S1 is whole; S2 is not compared. */
static void take_answer(struct rtmp_client *c, struct slice *in)
{
    size_t n = MIN(in->n, HANDSHAKE_ANSWER - c->answer.n);

    buf_add(&c->answer, in->p, n);
    *in = slice_skip(*in, n);
    if (c->answer.n < HANDSHAKE_ANSWER)
        return;
    stream_write(c->stream, slice_of(c->answer.p + 1, HANDSHAKE_PACKET));
    buf_cleanup(&c->answer);
    c->state = CLIENT_ASKING;
    send_connect(c);
}

static void acknowledge(struct rtmp_client *c)
{
    uint64_t total = stream_bytes_in(c->stream);

    if (total - c->acked < ACK_EVERY_BYTES)
        return;
    c->acked = total;
    chunk_write_u32(&c->out, RTMP_ACK, (uint32_t)total);
}

static void client_free(struct rtmp_client *c)
{
    chunk_reader_cleanup(&c->in);
    buf_cleanup(&c->answer);
    free(c->why_refused);
    free(c->app);
    free(c->name);
    free(c->tc_url);
    free(c);
}

static void on_data(struct slice bytes, void *arg)
{
    struct rtmp_client *c = arg;

    c->busy = true;
    while (bytes.n && c->state != CLIENT_OVER) {
        if (c->state == CLIENT_HANDSHAKE)
            take_answer(c, &bytes);
        else
            read_message(c, &bytes);
    }
    if (c->state != CLIENT_OVER)
        acknowledge(c);
    c->busy = false;
    if (c->is_gone)
        client_free(c);
}

static void on_stream_end(const struct err *why, void *arg)
{
    end(arg, why);
}

static void pipe_write(struct slice bytes, void *arg)
{
    stream_write(((struct rtmp_client *)arg)->stream, bytes);
}

static void pipe_write_blob(struct blob *b, size_t from, size_t n, void *arg)
{
    stream_write_blob(((struct rtmp_client *)arg)->stream, b, from, n);
}

static void on_connected(struct stream *s, const struct err *why, void *arg)
{
    static const struct stream_events events = {.on_data = on_data, .on_end = on_stream_end};
    struct rtmp_client *c = arg;
    uint8_t hello[HANDSHAKE_HELLO];

    c->connecting = NULL;
    if (!s) {
        end(c, why);
        return;
    }
    c->stream = s;
    c->state = CLIENT_HANDSHAKE;
    stream_set_events(s, &events, c);
    handshake_hello(hello);
    stream_write(s, slice_of(hello, sizeof(hello)));
}

static void on_late(void *arg)
{
    struct err why;

    err_set(&why, RC_TIMEOUT, "the server did not let us publish within %d s", SETUP_MS / 1000);
    end(arg, &why);
}

static void on_refused(void *arg)
{
    struct rtmp_client *c = arg;
    struct err why = *c->why_refused; /* on_end may free the client */

    end(c, &why);
}

/* The first step of the path is the app, the rest with its query the stream's name. */
static enum rc take_url(struct rtmp_client *c, const char *text, struct url *url, struct err *err)
{
    enum rc rc = url_parse(slice_str(text), url, err);
    struct slice path, app;

    if (rc != RC_OK)
        return rc;
    if (strcmp(url->scheme, "rtmp") != 0)
        return err_set(err, RC_UNSUPPORTED, "scheme '%s' where rtmp is expected", url->scheme);
    path = slice_skip(url->path, 1);
    app = slice_sub(path, 0, slice_find(path, '/'));
    path = slice_skip(path, app.n + 1);
    c->app = slice_dup(app);
    c->name = xasprintf(SLICE_FMT "%s" SLICE_FMT, SLICE_ARG(path), url->query.n ? "?" : "",
                        SLICE_ARG(url->query));
    c->tc_url = xasprintf("rtmp://%s:%u/%s", url->host, url->port ? url->port : DEFAULT_PORT,
                          c->app);
    return RC_OK;
}

struct rtmp_client *rtmp_client_new(struct loop *l, const struct rtmp_client_conf *conf)
{
    struct rtmp_client *c = xcalloc(1, sizeof(*c));
    struct url url;
    struct err why;

    c->loop = l;
    c->conf = *conf;
    c->conf.url = NULL;
    c->timer = timer_new(l, on_late, c);
    c->out = (struct chunk_writer){.pipe = {pipe_write, pipe_write_blob, c},
                                   .chunk_size = CHUNK_SIZE_AT_START};
    chunk_reader_init(&c->in);
    buf_init(&c->answer, HANDSHAKE_ANSWER);
    if (take_url(c, conf->url, &url, &why) != RC_OK) {
        c->why_refused = xmalloc(sizeof(why));
        *c->why_refused = why;
        loop_defer(l, &c->refused, on_refused, c);
        return c;
    }
    c->connecting = stream_connect(l, &(struct connect_conf){
                                          .host = url.host,
                                          .port = url.port ? url.port : DEFAULT_PORT,
                                          .timeout_ms = SETUP_MS,
                                          .on_done = on_connected,
                                          .arg = c,
                                      });
    timer_start(c->timer, SETUP_MS);
    return c;
}

static void send_data(struct rtmp_client *c, uint32_t time_ms, struct slice body)
{
    const struct chunk_to to = {LANE_DATA, RTMP_DATA, time_ms, c->stream_id};
    struct buf b;

    buf_init(&b, AMF_MAX_BYTES);
    amf_put_text(&b, SLICE_LIT("@setDataFrame"));
    buf_add_slice(&b, body);
    if (buf_ok(&b))
        chunk_write(&c->out, &to, buf_slice(&b), NULL);
    buf_cleanup(&b);
}

void rtmp_client_tag(struct rtmp_client *c, int type, uint32_t time_ms, struct slice body)
{
    struct chunk_to to = {type == FLV_AUDIO ? LANE_AUDIO : LANE_VIDEO, (uint8_t)type, time_ms,
                          c->stream_id};

    if (c->state != CLIENT_READY)
        return;
    if (type == FLV_SCRIPT)
        send_data(c, time_ms, body);
    else
        chunk_write(&c->out, &to, body, NULL);
}

size_t rtmp_client_queued(const struct rtmp_client *c)
{
    return c->stream ? stream_queued(c->stream) : 0;
}

void rtmp_client_goodbye(struct rtmp_client *c)
{
    struct buf b;

    if (c->state == CLIENT_READY) {
        send_named(c, "FCUnpublish", TXN_GOODBYE);
        command_begin(&b, "deleteStream", TXN_GOODBYE + 1);
        amf_put_null(&b);
        amf_put_number(&b, c->stream_id);
        command_send(c, &b, 0);
    }
    let_go(c);
    if (c->stream)
        stream_close_when_sent(c->stream);
    c->stream = NULL;
}

void rtmp_client_free(struct rtmp_client *c)
{
    if (!c)
        return;
    let_go(c);
    stream_close(c->stream);
    c->stream = NULL;
    if (c->busy)
        c->is_gone = true;
    else
        client_free(c);
}
