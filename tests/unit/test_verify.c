/* Does a rendition belong to its source? What lies is named with both figures. */
#include "ts_test.h"

#include "gateway/verify.h"

enum { FRAME = 3000, START = 900000 };

/* A segment of n pictures, the first a key frame if asked, from `start`. */
static struct blob *made(int64_t start, int n, bool key, int64_t step)
{
    struct ts_mux *m = ts_mux_new();
    struct track t = track_of(AVCC_HD);
    struct buf out;

    buf_init(&out, 1 << 22);
    ts_mux_track(m, TRACK_VIDEO, &t);
    ts_mux_begin(m, &out, false);
    for (int i = 0; i < n; i++) {
        struct frame f = picture(start + i * step, start + i * step, key && i == 0, 90);

        f.duration = step;
        ts_mux_frame(m, &f, &out);
        frame_cleanup(&f);
    }
    ts_mux_end(m, &out);
    ts_mux_free(m);
    track_cleanup(&t);
    return blob_of_buf(&out);
}

static void verdicts(void **state)
{
    const int64_t wrap = INT64_C(1) << 33;
    const struct {
        const char *what;
        int64_t source_start;
        int64_t start;
        int n;
        bool key;
        int64_t step;
        int64_t clip_to_ms;
        enum rc rc;
        const char *word;
    } rows[] = {
        {"itself", START, START, 60, true, FRAME, 0, RC_OK, ""},
        {"half the rate", START, START, 30, true, 2 * FRAME, 0, RC_OK, ""},
        {"one picture late", START, START + FRAME, 60, true, FRAME, 0, RC_OK, ""},
        {"around the counter's end", wrap - FRAME, wrap - FRAME, 60, true, FRAME, 0, RC_OK, ""},
        {"of another second", START, START + 90000, 60, true, FRAME, 0, RC_BAD_INPUT,
         "begins 1000 ms away"},
        {"from zero", START, 0, 60, true, FRAME, 0, RC_BAD_INPUT, "begins -10000 ms away"},
        {"half as long", START, START, 30, true, FRAME, 0, RC_BAD_INPUT,
         "lasts 1000 ms, its source 2000"},
        {"twice as long", START, START, 120, true, FRAME, 0, RC_BAD_INPUT, "lasts 4000 ms"},
        {"without a key frame", START, START, 60, false, FRAME, 0, RC_BAD_INPUT,
         "holds no picture"}, /* nothing in it can be decoded */
        {"without a picture", START, START, 0, false, FRAME, 0, RC_BAD_INPUT, "no picture"},
        {"a clip has its own clock", START, 0, 30, true, FRAME, 1000, RC_OK, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct segment *s = segment_new();
        struct blob *media = made(rows[i].start, rows[i].n, rows[i].key, rows[i].step);
        struct verified is = {0};
        struct err err = {0};

        s->first_pts = rows[i].source_start;
        s->duration = 60 * FRAME;
        s->fps = 30;
        s->clip_to_ms = rows[i].clip_to_ms;
        assert_int_equal(verify_rendition(s, blob_slice(media), &is, &err), rows[i].rc);
        if (!strstr(err.text, rows[i].word))
            print_error("%s: \"%s\"\n", rows[i].what, err.text);
        assert_non_null(strstr(err.text, rows[i].word));
        if (rows[i].rc == RC_OK) {
            assert_int_equal(is.video.width, 1920);
            assert_true(is.fps > 14 && is.fps < 31);
        }
        track_cleanup(&is.video);
        track_cleanup(&is.audio);
        blob_unref(&media);
        segment_unref(&s);
    }
    assert_int_equal(blob_total_bytes(), 0);
}

static void no_mpegts(void **state)
{
    static const char *const rows[] = {"", "x", "<html>502 Bad Gateway</html>"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct segment *s = segment_new();
        struct verified is;
        struct err err = {0};

        s->duration = 60 * FRAME;
        assert_int_not_equal(verify_rendition(s, slice_str(rows[i]), &is, &err), RC_OK);
        assert_non_null(strstr(err.text, "rendition"));
        segment_unref(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),
        cmocka_unit_test(no_mpegts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
