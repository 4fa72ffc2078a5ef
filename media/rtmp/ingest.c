/* Media from a publisher: tag bodies become tracks and frames. */
#include <stdlib.h>

#include "base/reader.h"
#include "base/text.h"
#include "media/flv.h"
#include "media/rtmp/rtmp_int.h"

void rtmp_ingest_cleanup(struct ingest *in)
{
    for (int k = 0; k < TRACK_KINDS; k++)
        blob_unref(&in->config[k]);
}

void rtmp_ingest_set_pace(struct rtmp_session *s, size_t found)
{
    struct ingest *in = &s->ingest;
    int ms = rtmp_rhythm_read_every(&in->rhythm, s->host.now_ms(s->host.arg), found);

    if (ms == in->read_every_ms)
        return;
    in->read_every_ms = ms;
    s->host.read_every(ms, s->host.arg);
}

/* Encoders repeat their sequence headers, some at every key frame: only news is passed on. */
static void on_track(struct rtmp_session *s, const struct flv_item *item)
{
    struct blob **known = &s->ingest.config[item->kind];

    if (*known && slice_eq(blob_slice(*known), blob_slice(item->track.config)))
        return;
    blob_unref(known);
    *known = blob_ref(item->track.config);
    if (s->ev.on_track)
        s->ev.on_track(item->kind, &item->track, s->ev.arg);
}

static void on_frame(struct rtmp_session *s, const struct flv_item *item)
{
    if (!s->ingest.config[item->kind])
        return; /* nobody could decode it */
    s->ingest.has_frame = true;
    s->ingest.bad_in_row = 0;
    if (item->kind == TRACK_VIDEO && item->frame.key)
        rtmp_rhythm_key(&s->ingest.rhythm, s->host.now_ms(s->host.arg));
    if (s->ev.on_frame)
        s->ev.on_frame(&item->frame, s->ev.arg);
}

/* A broken frame is left out. What will never get better ends the session. */
static void on_unreadable(struct rtmp_session *s, enum rc rc, const struct flv_item *item,
                          struct err *why)
{
    const char *kind = item->kind == TRACK_VIDEO ? "video" : "audio";

    if (rc == RC_UNSUPPORTED) {
        rtmp_session_fail(s, why);
    } else if (item->what == FLV_TRACK) {
        err_wrap(why, rc, "sequence header of the %s", kind);
        rtmp_session_fail(s, why);
    } else if (++s->ingest.bad_in_row >= RTMP_BAD_FRAMES_IN_A_ROW) {
        err_wrap(why, rc, "%d broken frames in a row, the last %s", s->ingest.bad_in_row, kind);
        rtmp_session_fail(s, why);
    }
}

static void on_tag(struct rtmp_session *s, int type, uint32_t time_ms, struct blob *body)
{
    struct flv_item item;
    struct err why;
    enum rc rc = flv_read(type, body, time_ms, &s->ingest.length_size, &item, &why);

    if (rc != RC_OK)
        on_unreadable(s, rc, &item, &why);
    else if (item.what == FLV_TRACK)
        on_track(s, &item);
    else if (item.what == FLV_FRAME)
        on_frame(s, &item);
    flv_item_cleanup(&item);
}

/* --- metadata --- */

static void on_data(struct rtmp_session *s, struct slice in)
{
    struct amf_value v;
    struct slice encoder;
    char printable[256];

    if (in.n > AMF_MAX_BYTES || !amf_read(&in, &v))
        return;
    if (v.type == AMF_TEXT && slice_eq_str(v.text, "@setDataFrame") && !amf_read(&in, &v))
        return;
    if (v.type != AMF_TEXT || !slice_eq_str(v.text, "onMetaData") || !amf_read(&in, &v))
        return;
    encoder = amf_find_text(&v, "encoder");
    if (!encoder.n)
        return;
    free(s->encoder);
    s->encoder = xstrdup(text_printable(encoder, printable));
}

/* --- aggregates: FLV tags in one message --- */

static void on_aggregate(struct rtmp_session *s, const struct rtmp_message *m)
{
    struct reader r = reader_of(blob_slice(m->body));
    uint32_t first = 0;

    for (bool is_first = true; r.left && s->state == RTMP_PUBLISHING; is_first = false) {
        uint8_t type = rd_u8(&r);
        uint32_t size = rd_be24(&r), low = rd_be24(&r), high = rd_u8(&r);
        uint32_t time_ms = low | high << 24;

        rd_skip(&r, 3);
        struct slice body = rd_bytes(&r, size);
        if (r.failed)
            return; /* cut short: what was whole has been taken */
        if (is_first)
            first = time_ms;
        /* The first tag stands at the message's time, whatever it says itself. */
        if (type == FLV_AUDIO || type == FLV_VIDEO) {
            struct blob *view = blob_sub(m->body, (size_t)(body.p - m->body->p), body.n);

            on_tag(s, type, m->time_ms + (time_ms - first), view);
            blob_unref(&view);
        } else if (type == FLV_SCRIPT) {
            on_data(s, body);
        }
        rd_skip(&r, MIN(r.left, 4)); /* the back pointer, which some leave out at the end */
    }
}

void rtmp_ingest_message(struct rtmp_session *s, const struct rtmp_message *m)
{
    if (m->type == RTMP_AGGREGATE)
        on_aggregate(s, m);
    else if (m->type == RTMP_DATA)
        on_data(s, blob_slice(m->body));
    else if (m->type == RTMP_DATA_AMF3)
        on_data(s, slice_skip(blob_slice(m->body), 1));
    else
        on_tag(s, m->type, m->time_ms, m->body);
}
