/* gateway/viewers.h: RTMP players of one live stream: the source's frames, as they come. */
#ifndef LEAT_GATEWAY_VIEWERS_H
#define LEAT_GATEWAY_VIEWERS_H

#include "base/list.h"
#include "media/rtmp/rtmp_server.h"

/* Accepts s and sends it the tracks known so far. It leaves the list by itself. */
void viewers_add(struct list *viewers, struct rtmp_session *s,
                 const struct track tracks[TRACK_KINDS]);
void viewers_track(struct list *viewers, enum track_kind kind, const struct track *t);
void viewers_frame(struct list *viewers, const struct frame *f);
void viewers_end(struct list *viewers); /* the stream is over */

#endif
