#include "gateway/attempt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "gateway/metrics.h"
#include "wire/faults.h"

#define MAX_PIXELS (INT64_C(1) << 48)

struct download {
    struct attempt *attempt;
    struct http_call *call;
    size_t index;
};

struct attempt {
    struct attempt_conf conf;
    struct http_call *post;
    int64_t started_ms;
    struct download downloads[MAX_PROFILES];
    size_t waiting;
    int64_t download_started_us;
    struct attempt_result result;
    struct rendition renditions[MAX_PROFILES];
    struct deferred finish;
};

static void tell(void *arg)
{
    struct attempt *a = arg;

    a->result.renditions = a->renditions;
    a->result.n = a->result.rc == RC_OK ? a->conf.n_profiles : 0;
    a->conf.on_done(a, &a->result, a->conf.arg);
}

/* The answer is told from the loop, so on_done may free the attempt. */
static void finish(struct attempt *a, enum rc rc)
{
    a->result.rc = rc;
    loop_defer(a->conf.loop, &a->finish, tell, a);
}

static void cancel_downloads(struct attempt *a)
{
    for (size_t i = 0; i < a->conf.n_profiles; i++)
        if (a->downloads[i].call) {
            http_call_cancel(a->downloads[i].call);
            a->downloads[i].call = NULL;
        }
}

static void fail_download(struct attempt *a, enum rc rc, const char *what)
{
    cancel_downloads(a);
    a->waiting = 0;
    metric_failed("Download");
    finish(a, err_wrap(&a->result.err, rc, "rendition %s", what));
}

static enum rc take_rendition(struct attempt *a, struct rendition *r, struct blob *body)
{
    enum rc rc = RC_OK;

    if (a->conf.segment->container == CONTAINER_TS)
        rc = verify_rendition(a->conf.segment, blob_slice(body), &r->is, &a->result.err);
    if (rc == RC_OK)
        r->media = blob_ref(body);
    return rc;
}

static void on_downloaded(int status, const struct http_headers *h, struct blob *body,
                          const struct err *err, void *arg)
{
    struct download *d = arg;
    struct attempt *a = d->attempt;
    const char *name = a->conf.profiles[d->index].name;
    enum rc rc;

    (void)h;
    d->call = NULL;
    if (err) {
        a->result.err = *err;
        fail_download(a, err->code, name);
        return;
    }
    if (status != 200) {
        fail_download(
            a, err_set(&a->result.err, RC_UNAVAILABLE, "download answered status %d", status),
            name);
        return;
    }
    rc = take_rendition(a, &a->renditions[d->index], body);
    if (rc != RC_OK) {
        fail_download(a, rc, name);
        return;
    }
    if (--a->waiting == 0) {
        metric_downloaded((double)(clock_mono_us() - a->download_started_us) / 1e6);
        finish(a, RC_OK);
    }
}

static void download_all(struct attempt *a, const struct transcode_result *r)
{
    a->waiting = r->n_segments;
    a->download_started_us = clock_mono_us();
    for (size_t i = 0; i < r->n_segments; i++) {
        struct download *d = &a->downloads[i];
        struct http_call_conf conf = {.method = "GET",
                                      .url = r->segments[i].url,
                                      .speak = HTTP_SPEAK_1,
                                      .timeout_ms = DOWNLOAD_TIMEOUT_MS,
                                      .max_body = MAX_RENDITION_BYTES,
                                      .collect = true,
                                      .on_done = on_downloaded,
                                      .arg = d};

        d->attempt = a;
        d->index = i;
        a->renditions[i].pixels = r->segments[i].pixels;
        a->result.pixels += r->segments[i].pixels;
        d->call = http_call_start(a->conf.client, &conf);
    }
}

/* An error inside a 200: whose fault is it? */
static enum rc result_error(struct attempt *a, const char *text)
{
    struct err *err = &a->result.err;

    if (fault_is_final_for_gateways(slice_str(text)))
        return err_set(err, RC_UNSUPPORTED, "%s", text);
    if (strcmp(text, "OrchestratorBusy") == 0 || strcmp(text, "OrchestratorCapped") == 0)
        return err_set(err, RC_BUSY, "%s", text);
    return err_set(err, RC_UNAVAILABLE, "%s", text);
}

static enum rc check_result(struct attempt *a, const struct transcode_result *r)
{
    if (r->error)
        return result_error(a, r->error);
    if (!r->has_data)
        return err_set(&a->result.err, RC_BAD_INPUT, "UnknownResponse: neither data nor error");
    if (r->n_segments != a->conf.n_profiles)
        return err_set(&a->result.err, RC_BAD_INPUT, "%zu renditions came back, %zu were asked",
                       r->n_segments, a->conf.n_profiles);
    for (size_t i = 0; i < r->n_segments; i++)
        if (r->segments[i].pixels < 0 || r->segments[i].pixels > MAX_PIXELS)
            return err_set(&a->result.err, RC_BAD_INPUT, "%lld pixels are no count of a segment",
                           (long long)r->segments[i].pixels);
    return RC_OK;
}

static void take_result(struct attempt *a, struct slice body)
{
    struct arena *arena = arena_new(MAX_RESULT_BYTES);
    struct transcode_result r;
    enum rc rc = transcode_result_decode(body, arena, &r, &a->result.err);

    if (rc != RC_OK) {
        metric_failed("ParseResponse");
        finish(a, err_wrap(&a->result.err, rc, "answer to /segment"));
    } else if ((rc = check_result(a, &r)) != RC_OK) {
        metric_failed(rc == RC_BUSY ? "OrchestratorBusy" : "Transcode");
        finish(a, rc);
    } else {
        if (r.has_info)
            session_refreshed(a->conf.session, &r.info);
        download_all(a, &r);
    }
    arena_free(arena);
}

static void refused(struct attempt *a, int status, struct slice body)
{
    struct slice text = slice_trim(body);
    char shown[256];

    metric_failed(slice_eq_str(text, "OrchestratorCapped") ? "OrchestratorCapped" : "Unknown");
    finish(a, err_set(&a->result.err,
                      fault_is_final_for_gateways(text) ? RC_UNSUPPORTED : RC_UNAVAILABLE,
                      "refused with status %d: %s", status, text_printable(text, shown)));
}

/* As a code of operations.md 5: nobody's free text becomes a label. */
static const char *upload_fault(const struct err *err, struct blob *body)
{
    if (err)
        return err->code == RC_TIMEOUT ? "Timeout" : "Unknown";
    return slice_eq_str(slice_trim(blob_slice(body)), "OrchestratorCapped") ? "OrchestratorCapped"
                                                                            : "Unknown";
}

static void on_posted(int status, const struct http_headers *h, struct blob *body,
                      const struct err *err, void *arg)
{
    struct attempt *a = arg;

    (void)h;
    a->post = NULL;
    a->result.round_trip_ms = clock_mono_ms() - a->started_ms;
    if (status != 200)
        metric_upload_failed(upload_fault(err, body), a->conf.session->uri);
    if (err) {
        metric_failed(err->code == RC_TIMEOUT ? "Unknown" : "ReadBody");
        a->result.err = *err;
        finish(a, err->code);
    } else if (status != 200) {
        refused(a, status, blob_slice(body));
    } else {
        take_result(a, blob_slice(body));
    }
}

/* The 200 comes when the upload is complete (video.md 4.2, step 9). */
static void on_posted_headers(int status, const struct http_headers *h, void *arg)
{
    struct attempt *a = arg;

    (void)h;
    if (status == 200)
        metric_uploaded(a->conf.session->uri, (double)(clock_mono_ms() - a->started_ms) / 1000);
}

static void credentials(struct attempt *a, struct buf *out)
{
    const struct segment *s = a->conf.segment;
    struct seg_data *d = xcalloc(1, sizeof(*d));

    d->manifest_id = slice_str(a->conf.manifest_id);
    d->seq = s->seq;
    d->hash = s->hash;
    d->duration_ms = segment_duration_ms(s);
    d->has_caps = true;
    d->caps = *a->conf.need;
    d->has_token = true;
    d->token = a->conf.session->token;
    d->force_session_reinit = s->reinit;
    d->has_clip = segment_is_clip(s);
    d->clip_from_ms = (uint64_t)s->clip_from_ms;
    d->clip_to_ms = (uint64_t)s->clip_to_ms;
    memcpy(d->profiles, a->conf.profiles, a->conf.n_profiles * sizeof(d->profiles[0]));
    d->n_profiles = a->conf.n_profiles;
    segment_header_encode(d, out);
    free(d);
}

static struct http_call *post(struct attempt *a, const char *url, struct slice header)
{
    int32_t duration_ms = segment_duration_ms(a->conf.segment);
    int times = MAX(1, a->conf.timeout_multiplier);
    const struct http_header headers[] = {
        {SLICE_LIT("livepeer-segment"), header},
        {SLICE_LIT("livepeer-payment"), SLICE_LIT("")}, /* off-chain: present and empty */
        {SLICE_LIT("content-type"), SLICE_LIT("video/MP2T")},
    };
    struct http_call_conf conf = {.method = "POST",
                                  .url = url,
                                  .headers = headers,
                                  .n_headers = ARRAY_LEN(headers),
                                  .body = a->conf.segment->media,
                                  .connect_timeout_ms = SEGMENT_CONNECT_MS,
                                  .header_timeout_ms = MAX(2000, duration_ms / 2) * times,
                                  .timeout_ms = MAX(8000, 4 * duration_ms) * times,
                                  .max_body = MAX_RESULT_BYTES,
                                  .collect = true,
                                  .on_headers = on_posted_headers,
                                  .on_done = on_posted,
                                  .arg = a};

    return http_call_start(a->conf.client, &conf);
}

struct attempt *attempt_start(const struct attempt_conf *conf)
{
    struct attempt *a = xcalloc(1, sizeof(*a));
    char url[MAX_URI + 16];
    struct buf header;

    a->conf = *conf;
    segment_ref(conf->segment);
    a->started_ms = clock_mono_ms();
    buf_init(&header, HTTP_MAX_HEADER_BYTES);
    credentials(a, &header);
    snprintf(url, sizeof(url), "%s/segment", conf->session->transcoder);
    a->post = post(a, url, buf_slice(&header));
    buf_cleanup(&header);
    return a;
}

struct session *attempt_session(const struct attempt *a)
{
    return a->conf.session;
}

int64_t attempt_age_ms(const struct attempt *a)
{
    return clock_mono_ms() - a->started_ms;
}

void attempt_free(struct attempt *a)
{
    if (!a)
        return;
    if (a->post)
        http_call_cancel(a->post);
    cancel_downloads(a);
    loop_defer_cancel(a->conf.loop, &a->finish);
    for (size_t i = 0; i < a->conf.n_profiles; i++) {
        blob_unref(&a->renditions[i].media);
        track_cleanup(&a->renditions[i].is.video);
        track_cleanup(&a->renditions[i].is.audio);
    }
    segment_unref(&a->conf.segment);
    free(a);
}
