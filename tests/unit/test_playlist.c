/* The text of playlists: numbers, gaps, discontinuities, bandwidths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "output/history.h"
#include "output/multivariant.h"
#include "output/playback.h"

enum { SECOND = 90000 };

static struct loop *loop;
static struct playback *playback;
static struct playback_stream *stream;

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    playback = playback_new(loop, &(struct playback_conf){.max_bytes_per_stream = 100000});
    stream = playback_stream_open(playback,
                                  &(struct playback_stream_conf){"demo", 2.002, .first_msn = 1});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    playback_free(playback);
    loop_run(loop);
    loop_free(loop);
    return 0;
}

static int rendition(const char *name, int bitrate)
{
    return playback_rendition_add(stream,
                                  &(struct playback_rendition_conf){name, CONTAINER_TS, bitrate});
}

/* 2 s of `bytes`; 0: a gap. */
static struct playback_segment segment(int64_t msn, size_t bytes)
{
    return (struct playback_segment){.msn = msn,
                                     .url_seq = msn,
                                     .duration = 2 * SECOND,
                                     .wall_ms = 1700000000000 + msn * 2000,
                                     .media = bytes ? blob_new(bytes) : NULL};
}

static enum rc add(int r, struct playback_segment seg, struct err *err)
{
    enum rc rc = playback_segment_add(stream, r, &seg, err);

    blob_unref(&seg.media);
    return rc;
}

static void add_ok(int r, int64_t msn, size_t bytes)
{
    assert_int_equal(add(r, segment(msn, bytes), NULL), RC_OK);
}

static const char *text(const char *path)
{
    static struct buf out;

    buf_cleanup(&out);
    buf_init(&out, 65536);
    if (!playback_text(playback, path, &out))
        return "";
    return buf_cstr(&out);
}

static int count(const char *haystack, const char *needle)
{
    int n = 0;

    for (; (haystack = strstr(haystack, needle)); haystack += strlen(needle))
        n++;
    return n;
}

static void assert_holds(const char *haystack, const char *needle)
{
    assert_non_null(haystack);
    if (!strstr(haystack, needle))
        fail_msg("no \"%s\" in:\n%s", needle, haystack);
}

/* --- one rendition --- */

static void a_media_playlist_in_full(void **state)
{
    int r = rendition("source", 0);
    struct playback_segment seg = segment(7, 1000);

    (void)state;
    seg.duration = 180180;
    seg.url_seq = 3;
    assert_int_equal(add(r, seg, NULL), RC_OK);
    add_ok(r, 8, 0);
    assert_string_equal(text("/stream/demo/source.m3u8"),
                        "#EXTM3U\n"
                        "#EXT-X-VERSION:3\n"
                        "#EXT-X-TARGETDURATION:2\n"
                        "#EXT-X-MEDIA-SEQUENCE:7\n"
                        "#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
                        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:34.000Z\n"
                        "#EXTINF:2.002,\n"
                        "/stream/demo/source/3.ts\n"
                        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:36.000Z\n"
                        "#EXT-X-GAP\n"
                        "#EXTINF:2.000,\n"
                        "/stream/demo/source/8.ts\n");
    playback_rendition_end(stream, r);
    assert_int_equal(count(text("/stream/demo/source.m3u8"), "/8.ts\n#EXT-X-ENDLIST\n"), 1);
    assert_int_equal(add(r, segment(9, 10), NULL), RC_CLOSED);
}

static void the_window_slides(void **state)
{
    int r = rendition("source", 0);
    const char *list = "";

    (void)state;
    for (int64_t msn = 1; msn <= 30; msn++) {
        add_ok(r, msn, 100);
        list = text("/stream/demo/source.m3u8");
        assert_int_equal(count(list, "#EXTINF"), MIN(msn, HLS_WINDOW));
    }
    assert_holds(list, "#EXT-X-MEDIA-SEQUENCE:25\n");
    assert_holds(list, "/stream/demo/source/30.ts\n");
    assert_int_equal(count(list, "#EXT-X-TARGETDURATION:2\n"), 1);
}

static void numbers_only_rise(void **state)
{
    int r = rendition("source", 0);
    struct err err;

    (void)state;
    assert_int_equal(add(r, segment(0, 10), NULL), RC_STALE); /* before the stream's first */
    add_ok(r, 5, 10);
    assert_int_equal(add(r, segment(5, 10), &err), RC_EXISTS);
    assert_string_equal(err.text, "segment already exists");
    add_ok(r, 6, 10);
    assert_int_equal(add(r, segment(5, 10), NULL), RC_STALE);
    assert_int_equal(add(r, segment(4, 10), NULL), RC_STALE);
    assert_int_equal(count(text("/stream/demo/source.m3u8"), "#EXTINF"), 2);
}

static void missed_numbers_are_gaps(void **state)
{
    int source = rendition("source", 0), r = rendition("low", 300000);
    struct playback_segment seg;

    (void)state;
    for (int64_t msn = 1; msn <= 4; msn++) {
        seg = segment(msn, 100);
        seg.duration = SECOND * 2 + msn * 90;
        assert_int_equal(add(source, seg, NULL), RC_OK);
    }
    add_ok(r, 1, 50);
    add_ok(r, 4, 50);
    /* with the source's dates and lengths */
    assert_holds(text("/stream/demo/low.m3u8"),
                 "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:24.000Z\n"
                 "#EXT-X-GAP\n#EXTINF:2.002,\n/stream/demo/low/2.ts\n");
    assert_int_equal(count(text("/stream/demo/low.m3u8"), "#EXT-X-GAP"), 2);
}

static void a_long_absence_is_a_window_of_gaps(void **state)
{
    int source = rendition("source", 0), r = rendition("low", 0);
    struct playback_rendition_stats stats[HLS_MAX_RENDITIONS];

    (void)state;
    add_ok(source, 1, 100);
    add_ok(r, 1, 100);
    for (int64_t msn = 2; msn <= 100; msn++)
        add_ok(source, msn, 100);
    add_ok(r, 100, 100);
    assert_holds(text("/stream/demo/low.m3u8"), "#EXT-X-MEDIA-SEQUENCE:95\n");
    assert_int_equal(count(text("/stream/demo/low.m3u8"), "#EXT-X-GAP"), 5);
    assert_int_equal(playback_stats(stream, stats), 2);
    assert_int_equal(stats[1].gaps, HLS_WINDOW);
    add_ok(source, 100000, 100); /* and of the source itself */
    assert_holds(text("/stream/demo/source.m3u8"), "#EXT-X-MEDIA-SEQUENCE:99995\n");
    assert_int_equal(count(text("/stream/demo/source.m3u8"), "#EXTINF"), HLS_WINDOW);
}

/* A sender that begins anew pushes its numbers again: the URLs must differ. */
static void urls_are_never_used_twice(void **state)
{
    int r = rendition("source", 0);
    struct playback_segment seg;
    static const int64_t pushed[] = {0, 1, 2, 0, 1, 7};
    const char *list;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pushed); i++) {
        seg = segment((int64_t)i + 1, 100);
        seg.url_seq = pushed[i];
        assert_int_equal(add(r, seg, NULL), RC_OK);
    }
    list = text("/stream/demo/source.m3u8");
    for (int i = 0; i < 5; i++) {
        char uri[64];

        snprintf(uri, sizeof(uri), "/source/%d.ts\n", i);
        assert_int_equal(count(list, uri), 1);
    }
    assert_holds(list, "/source/7.ts\n");
}

/* --- renditions agree --- */

static int64_t tag(const char *list, const char *name)
{
    const char *at = strstr(list, name);

    assert_non_null(at);
    return atoll(at + strlen(name));
}

/* Every number's discontinuity sequence: what the list counts for it. */
static void count_discontinuities(const char *path, int64_t of[64])
{
    char *list = xstrdup(text(path)), *rest = list, *line;
    int64_t msn = tag(list, "#EXT-X-MEDIA-SEQUENCE:");
    int64_t n = tag(list, "#EXT-X-DISCONTINUITY-SEQUENCE:");

    while ((line = strsep(&rest, "\n"))) {
        n += strcmp(line, "#EXT-X-DISCONTINUITY") == 0;
        if (line[0] != '/')
            continue;
        if (of[msn] >= 0)
            assert_int_equal(of[msn], n); /* what was said of a number stays */
        of[msn++] = n;
    }
    free(list);
}

static void discontinuities_are_the_same_everywhere(void **state)
{
    int source = rendition("source", 0), low = rendition("low", 0), late = rendition("late", 0);
    int64_t by_source[64], by_low[64], by_late[64];

    (void)state;
    memset(by_source, 0xff, sizeof(by_source));
    memset(by_low, 0xff, sizeof(by_low));
    memset(by_late, 0xff, sizeof(by_late));
    for (int64_t msn = 1; msn <= 40; msn++) {
        struct playback_segment seg = segment(msn, 100);

        seg.discontinuity = msn % 7 == 0 || msn == 22;
        assert_int_equal(add(source, seg, NULL), RC_OK);
        count_discontinuities("/stream/demo/source.m3u8", by_source);
        if (msn > 2 && msn % 7 != 2) { /* two behind, and it misses some */
            add_ok(low, msn - 2, 100);
            count_discontinuities("/stream/demo/low.m3u8", by_low);
        }
        if (msn >= 29) {
            add_ok(late, msn, msn % 3 ? 100 : 0);
            count_discontinuities("/stream/demo/late.m3u8", by_late);
        }
    }
    for (int msn = 1; msn <= 38; msn++)
        assert_int_equal(by_low[msn], by_source[msn]);
    for (int msn = 29; msn <= 40; msn++)
        assert_int_equal(by_late[msn], by_source[msn]);
    assert_int_equal(by_source[40], 6);
}

static void dates_are_the_same_everywhere(void **state)
{
    int source = rendition("source", 0), low = rendition("low", 0);
    struct playback_segment seg = segment(5, 100);

    (void)state;
    add_ok(source, 5, 100);
    seg.wall_ms += 700; /* a rendition does not know better */
    seg.discontinuity = true;
    seg.url_seq = 99;
    assert_int_equal(add(low, seg, NULL), RC_OK);
    assert_int_equal(count(text("/stream/demo/low.m3u8"), "22:13:30.000Z"), 1);
    assert_int_equal(count(text("/stream/demo/low.m3u8"), "#EXT-X-DISCONTINUITY\n"), 0);
    assert_holds(text("/stream/demo/low.m3u8"), "/low/5.ts");
}

static void a_new_run_goes_on_counting(void **state)
{
    struct playback_stream_conf conf = {"again", 2, .first_msn = 50, .discontinuity_sequence = 9};
    struct playback_segment seg = segment(50, 100);

    (void)state;
    stream = playback_stream_open(playback, &conf);
    seg.discontinuity = true;
    assert_int_equal(add(rendition("source", 0), seg, NULL), RC_OK);
    assert_holds(text("/stream/again/source.m3u8"),
                 "#EXT-X-MEDIA-SEQUENCE:50\n#EXT-X-DISCONTINUITY-SEQUENCE:9\n"
                 "#EXT-X-DISCONTINUITY\n");
}

/* --- the multivariant playlist --- */

static void a_multivariant_playlist_in_full(void **state)
{
    static const uint8_t avc[] = {1, 0x64, 0, 0x1f}, aac[] = {0x11, 0x90};
    struct track video = {.codec = CODEC_H264, .width = 1280, .height = 720};
    struct track audio = {.codec = CODEC_AAC, .sample_rate = 48000, .channels = 2};
    int source = rendition("source", 0), low = rendition("low & slow", 300000);
    struct playback_segment seg = segment(1, 50000);

    (void)state;
    rendition("never", 1000000);
    video.config = blob_copy(slice_of(avc, sizeof(avc)));
    audio.config = blob_copy(slice_of(aac, sizeof(aac)));
    assert_string_equal(text("/stream/demo.m3u8"), "");
    seg.video = &video;
    seg.audio = &audio;
    seg.fps = 29.97002997;
    assert_int_equal(add(source, seg, NULL), RC_OK);
    seg = segment(1, 100);
    seg.audio = &audio;
    assert_int_equal(add(low, seg, NULL), RC_OK);
    assert_string_equal(text("/stream/demo.m3u8"),
                        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n"
                        "#EXT-X-STREAM-INF:PROGRAM-ID=0,BANDWIDTH=200000,AVERAGE-BANDWIDTH=200000,"
                        "CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970\n"
                        "demo/source.m3u8\n"
                        "#EXT-X-STREAM-INF:PROGRAM-ID=0,BANDWIDTH=516000,AVERAGE-BANDWIDTH=1000,"
                        "CODECS=\"mp4a.40.2\"\n"
                        "demo/low%20%26%20slow.m3u8\n");
    blob_unref(&video.config);
    blob_unref(&audio.config);
}

/* BANDWIDTH is the peak of neighbours that last 0.5 to 1.5 target durations; a stub of a segment
 * does not count alone. */
static void bandwidth_is_never_below_what_was_measured(void **state)
{
    static const struct {
        double seconds;
        size_t bytes;
    } rows[] = {{2, 25000}, {2, 37500}, {0.1, 20000}, {2, 12500},
                {1, 25000}, {2, 12500}, {6, 90000}};
    int r = rendition("source", 0);
    int64_t bits = 0, peak, average;
    double seconds = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct playback_segment seg = segment((int64_t)i + 1, rows[i].bytes);

        seg.duration = (int64_t)(rows[i].seconds * SECOND);
        assert_int_equal(add(r, seg, NULL), RC_OK);
        bits += (int64_t)rows[i].bytes * 8;
        seconds += rows[i].seconds;
        peak = tag(text("/stream/demo.m3u8"), "BANDWIDTH=");
        average = tag(text("/stream/demo.m3u8"), "AVERAGE-BANDWIDTH=");
        assert_true((double)average >= (double)bits / seconds);
        assert_true((double)average <= (double)bits / seconds * 1.06 + 1000);
        assert_true(peak >= average);
    }
    /* the stub with the segment before it: 57500 bytes in 2.1 s. Alone it is 1.6 Mb/s. */
    assert_true(peak >= 57500 * 8 / 2.1);
    assert_true(peak <= 57500 * 8 / 2.1 * 1.06);
}

static void what_is_shared_is_rendered_once(void **state)
{
    int r = rendition("source", 0);
    struct playlist p;
    struct history h = {.n = 0};
    struct playback_segment seg = segment(1, 10);
    struct blob *first;

    (void)state;
    (void)r;
    playlist_init(&p, &h, "/stream/x", &(struct playback_rendition_conf){"y"});
    assert_null(playlist_text(&p));
    assert_int_equal(playlist_add(&p, &seg, history_note(&h, &seg), NULL), RC_OK);
    first = playlist_text(&p)->plain;
    assert_ptr_equal(playlist_text(&p)->plain, first);
    playlist_end(&p);
    playlist_end(&p);
    assert_non_null(strstr((const char *)playlist_text(&p)->plain->p, "ENDLIST"));
    blob_unref(&seg.media);
    playlist_cleanup(&p);
}

/* --- memory --- */

static void memory_has_an_end(void **state)
{
    int a = rendition("a", 0), b = rendition("b", 0);
    struct playback_rendition_stats stats[HLS_MAX_RENDITIONS];
    size_t kept = 0;

    (void)state;
    for (int64_t msn = 1; msn <= 30; msn++) { /* 100 kB are allowed */
        add_ok(a, msn, 4000);
        add_ok(b, msn, 4000);
    }
    assert_int_equal(playback_stats(stream, stats), 2);
    kept = stats[0].bytes_kept + stats[1].bytes_kept;
    assert_true(kept <= 100000 && kept > 90000);
    assert_int_equal(count(text("/stream/demo/a.m3u8"), "#EXTINF"), HLS_WINDOW);
    for (int64_t msn = 31; msn <= 60; msn++) { /* the list shrinks, to three at least */
        add_ok(a, msn, 12000);
        add_ok(b, msn, 12000);
        assert_true(count(text("/stream/demo/a.m3u8"), "#EXTINF") >= 3);
    }
    playback_stats(stream, stats);
    assert_true(stats[0].bytes_kept + stats[1].bytes_kept <= 100000);
    assert_int_equal(count(text("/stream/demo/a.m3u8"), "#EXTINF"),
                     count(text("/stream/demo/b.m3u8"), "#EXTINF"));
    for (int64_t msn = 61; msn <= 64; msn++) { /* the newest is always there */
        int64_t newest = 0;

        add_ok(a, msn, 70000);
        assert_non_null(playback_latest(stream, a, &newest));
        assert_int_equal(newest, msn);
    }
    playback_stats(stream, stats);
    assert_int_equal(stats[0].bytes_kept, 70000);
}

/* A list that went down to three entries begins at the right number. */
static void a_shrunken_list_says_where_it_begins(void **state)
{
    int r = rendition("a", 0);

    (void)state;
    for (int64_t msn = 1; msn <= 10; msn++)
        add_ok(r, msn, 30000);
    assert_holds(text("/stream/demo/a.m3u8"), "#EXT-X-MEDIA-SEQUENCE:8\n");
    assert_int_equal(count(text("/stream/demo/a.m3u8"), "#EXTINF"), 3);
}

/* Memory that one rendition needs may shrink another's list: its text must say so. */
static void lists_name_nothing_that_is_gone(void **state)
{
    int a = rendition("a", 0), b = rendition("b", 0);

    (void)state;
    for (int64_t msn = 1; msn <= 6; msn++)
        add_ok(b, msn, 10000);
    assert_holds(text("/stream/demo/b.m3u8"), "#EXT-X-MEDIA-SEQUENCE:1\n");
    add_ok(a, 6, 50000);
    assert_holds(text("/stream/demo/b.m3u8"), "#EXT-X-MEDIA-SEQUENCE:2\n");
}

static void blobs_are_given_back(void **state)
{
    size_t before = blob_total_bytes();
    int r = rendition("a", 0);

    (void)state;
    for (int64_t msn = 1; msn <= 10; msn++)
        add_ok(r, msn, 100);
    text("/stream/demo/a.m3u8");
    text("/stream/demo.m3u8");
    playback_stream_close(stream);
    assert_int_equal(blob_total_bytes(), before);
}

/* --- streams --- */

static void names(void **state)
{
    static const char *const odd[] = {"live",    "a.b.c",   "x.m3u8", "ö ü",
                                      "a?b#c%d", "current", "..",     "a:b"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        stream = playback_stream_open(playback, &(struct playback_stream_conf){odd[i], 2, 1});
        add_ok(rendition("source", 0), 1, 10);
        snprintf(path, sizeof(path), "/stream/%s.m3u8", odd[i]);
        assert_holds(text(path), "/source.m3u8\n");
        snprintf(path, sizeof(path), "/stream/%s/source.m3u8", odd[i]);
        assert_holds(text(path), "/source/1.ts\n");
    }
    assert_holds(text("/stream/a?b#c%d/source.m3u8"), "/stream/a%3Fb%23c%25d/source/1.ts\n");
    assert_holds(text("/stream/a:b.m3u8"), "\na%3Ab/source.m3u8\n"); /* no scheme, that is */
}

static void a_name_is_one_streams(void **state)
{
    struct playback_stream_conf conf = {"demo", 2, 1};

    (void)state;
    assert_null(playback_stream_open(playback, &conf)); /* it is live */
    add_ok(rendition("source", 0), 1, 10);
    playback_stream_end(stream);
    assert_holds(text("/stream/demo/source.m3u8"), "#EXT-X-ENDLIST");
    stream = playback_stream_open(playback, &conf);
    assert_non_null(stream);
    assert_string_equal(text("/stream/demo.m3u8"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(a_media_playlist_in_full),
        T(the_window_slides),
        T(numbers_only_rise),
        T(missed_numbers_are_gaps),
        T(a_long_absence_is_a_window_of_gaps),
        T(urls_are_never_used_twice),
        T(discontinuities_are_the_same_everywhere),
        T(dates_are_the_same_everywhere),
        T(a_new_run_goes_on_counting),
        T(a_multivariant_playlist_in_full),
        T(bandwidth_is_never_below_what_was_measured),
        T(what_is_shared_is_rendered_once),
        T(memory_has_an_end),
        T(a_shrunken_list_says_where_it_begins),
        T(lists_name_nothing_that_is_gone),
        T(blobs_are_given_back),
        T(names),
        T(a_name_is_one_streams),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
