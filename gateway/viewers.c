#include "gateway/viewers.h"

#include <stdlib.h>

struct viewer {
    struct list_node node;
    struct list *list;
    struct rtmp_session *session;
};

static void on_end(bool said_goodbye, const struct err *why, void *arg)
{
    struct viewer *v = arg;

    (void)said_goodbye;
    (void)why; /* the RTMP server has logged a violation */
    list_remove(v->list, &v->node);
    free(v);
}

void viewers_add(struct list *viewers, struct rtmp_session *s,
                 const struct track tracks[TRACK_KINDS])
{
    struct viewer *v = xcalloc(1, sizeof(*v));
    const struct rtmp_session_events ev = {.on_end = on_end, .arg = v};

    v->list = viewers;
    v->session = s;
    list_push(viewers, &v->node);
    rtmp_accept(s, &ev);
    for (int k = 0; k < TRACK_KINDS; k++)
        if (tracks[k].codec != CODEC_NONE)
            rtmp_send_track(s, (enum track_kind)k, &tracks[k]);
}

void viewers_track(struct list *viewers, enum track_kind kind, const struct track *t)
{
    LIST_EACH (viewers, struct viewer, node, v)
        rtmp_send_track(v->session, kind, t);
}

void viewers_frame(struct list *viewers, const struct frame *f)
{
    LIST_EACH (viewers, struct viewer, node, v)
        rtmp_send_frame(v->session, f);
}

void viewers_end(struct list *viewers)
{
    LIST_EACH (viewers, struct viewer, node, v) {
        list_remove(viewers, &v->node);
        rtmp_session_close(v->session, "the stream has ended");
        free(v);
    }
}
