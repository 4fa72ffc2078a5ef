/* What pages and `leat status` read: doc/status.md describes the shape. */
#include <string.h>

#include "gateway/live.h"

static const char *state_text(const struct live *l)
{
    switch (l->state) {
    case LIVE_OPENING:
        return "opening";
    case LIVE_ON:
        return "live";
    case LIVE_WAITING:
        return "waiting";
    case LIVE_ENDED:
        break;
    }
    return "ended";
}

static void write_source(struct live *l, struct json_out *j)
{
    const struct track *video = &l->tracks[TRACK_VIDEO], *audio = &l->tracks[TRACK_AUDIO];
    char codec[CODEC_STRING_MAX];

    if (l->ingest == INGEST_PUSH) {
        video = &l->last_video;
        audio = &l->last_audio;
    }
    jo_open(j, "source", '{');
    track_codec_string(video, codec);
    jo_text(j, "video_codec", codec);
    jo_int(j, "width", video->width);
    jo_int(j, "height", video->height);
    jo_real(j, "fps", l->source_fps, 3);
    track_codec_string(audio, codec);
    jo_text(j, "audio_codec", codec);
    jo_int(j, "bitrate", l->source_bps);
    jo_close(j, '}');
}

static void write_renditions(struct live *l, struct json_out *j)
{
    struct playback_rendition_stats stats[HLS_MAX_RENDITIONS];
    size_t n = l->out ? playback_stats(l->out, stats) : 0;

    jo_open(j, "renditions", '[');
    for (size_t i = 0; i < n; i++) {
        bool source = strcmp(stats[i].name, "source") == 0;

        jo_open(j, NULL, '{');
        jo_text(j, "name", stats[i].name);
        jo_int(j, "width", stats[i].width);
        jo_int(j, "height", stats[i].height);
        jo_real(j, "fps", stats[i].fps, 3);
        jo_int(j, "bitrate", stats[i].average_bps);
        jo_int(j, "last_segment", stats[i].last_msn);
        jo_int(j, "gaps", stats[i].gaps);
        jo_text(j, "orchestrator", source ? NULL : l->done_by.orchestrator);
        jo_int(j, "round_trip_ms", source ? 0 : l->done_by.round_trip_ms);
        jo_real(j, "ratio", source ? 0 : l->done_by.ratio, 3);
        jo_close(j, '}');
    }
    jo_close(j, ']');
}

static void write_session(const char *uri, const char *state, const char *reason,
                          const struct session *s, void *arg)
{
    struct json_out *j = arg;

    jo_open(j, NULL, '{');
    jo_text(j, "uri", uri);
    jo_text(j, "state", state);
    jo_text(j, "reason", reason);
    jo_int(j, "latency_ms", s->latency_ms);
    jo_real(j, "score", s->score, 3);
    jo_int(j, "in_flight", s->in_flight);
    jo_int(j, "segments", s->segments);
    jo_int(j, "failures", s->failures);
    jo_text(j, "version", s->version);
    jo_close(j, '}');
}

void live_status(struct live *l, struct json_out *j)
{
    jo_open(j, NULL, '{');
    jo_text(j, "name", l->name);
    jo_text(j, "state", state_text(l));
    jo_text(j, "ingest", l->ingest == INGEST_RTMP ? "rtmp" : "push");
    jo_text(j, "encoder", l->encoder);
    jo_int(j, "since_ms", l->since_ms);
    write_source(l, j);
    jo_int(j, "segments", l->segments);
    jo_int(j, "source_bytes", l->bytes_in);
    jo_int(j, "transcoded_bytes", l->bytes_out);
    jo_int(j, "in_flight", (int64_t)queue_in_flight(l->queue));
    jo_int(j, "reconnects", l->reconnects);
    write_renditions(l, j);
    jo_open(j, "orchestrators", '[');
    if (l->routing)
        routing_each(l->routing, write_session, j);
    jo_close(j, ']');
    troubles_write(&l->troubles, j);
    jo_close(j, '}');
}

static void write_candidates(struct gateway *g, struct json_out *j)
{
    jo_open(j, "candidates", '[');
    for (size_t i = 0; i < candidates_count(g->candidates); i++)
        jo_text(j, NULL, candidates_at(g->candidates, i)->uri);
    jo_close(j, ']');
    jo_text(j, "candidates_trouble", candidates_trouble(g->candidates));
}

void gateway_status(struct gateway *g, struct buf *json)
{
    struct json_out j = json_out_of(json);
    size_t at = 0;
    void *l;

    jo_open(&j, NULL, '{');
    jo_text(&j, "role", "gateway");
    jo_text(&j, "version", g->conf.version);
    jo_text(&j, "rtmp_addr", gateway_rtmp_addr(g));
    jo_text(&j, "http_addr", gateway_http_addr(g));
    jo_open(&j, "streams", '[');
    while (map_next(g->lives, &at, NULL, &l))
        live_status(l, &j);
    jo_close(&j, ']');
    jo_int(&j, "pushed_bytes", (int64_t)g->pushed_bytes);
    write_candidates(g, &j);
    jo_close(&j, '}');
}
