/* media/flv.c: tag bodies of all sorts, refusals by name, and whole files against FFmpeg. */
#include <stdio.h>
#include <unistd.h>

#include "media/flv.h"
#include "media_test.h"

#define AUD "0000000209f0"
#define IDR "0000000465888400"
#define SLICE "00000003419a01"
#define SEI "00000003060500"
#define ASC "121056e500"

/* Reads one body after a sequence header with NAL lengths of `length_size`. */
static enum rc read_body(int type, const char *hex, int length_size, struct flv_item *out,
                         struct err *err)
{
    struct blob *body = from_hex(hex);
    enum rc rc = flv_read(type, body, 1000, &length_size, out, err);

    blob_unref(&body);
    return rc;
}

static const struct {
    const char *name;
    int type;
    const char *body;
    enum flv_what what;
    bool key;
    int64_t pts;
    const char *data;
} good[] = {
    {"key frame", FLV_VIDEO, "1701000021" IDR, FLV_FRAME, true, 1033, IDR},
    {"other frame", FLV_VIDEO, "2701000000" SLICE, FLV_FRAME, false, 1000, SLICE},
    {"negative composition", FLV_VIDEO, "2701ffffdf" SLICE, FLV_FRAME, false, 967, SLICE},
    {"disposable frame", FLV_VIDEO, "3701000000" SLICE, FLV_FRAME, false, 1000, SLICE},
    {"called a key frame and none", FLV_VIDEO, "1701000000" SLICE, FLV_FRAME, false, 1000, SLICE},
    {"several units", FLV_VIDEO, "1701000000" SEI IDR SLICE, FLV_FRAME, true, 1000, SEI IDR SLICE},
    {"delimiter taken out", FLV_VIDEO, "1701000000" AUD IDR, FLV_FRAME, true, 1000, IDR},
    {"delimiter behind", FLV_VIDEO, "1701000000" IDR AUD, FLV_FRAME, true, 1000, IDR},
    {"empty unit taken out", FLV_VIDEO, "170100000000000000" IDR, FLV_FRAME, true, 1000, IDR},
    {"padding taken out", FLV_VIDEO, "1701000000" IDR "0000", FLV_FRAME, true, 1000, IDR},
    {"nothing but a delimiter", FLV_VIDEO, "1701000000" AUD, FLV_NOTHING, 0, 0, NULL},
    {"header without a picture", FLV_VIDEO, "1701000000", FLV_NOTHING, 0, 0, NULL},
    {"end of sequence", FLV_VIDEO, "1702000000", FLV_END_OF_SEQUENCE, 0, 0, NULL},
    {"end of sequence, short", FLV_VIDEO, "1702", FLV_NOTHING, 0, 0, NULL},
    {"one byte", FLV_VIDEO, "17", FLV_NOTHING, 0, 0, NULL},
    {"command frame", FLV_VIDEO, "5700", FLV_NOTHING, 0, 0, NULL},
    {"unknown packet", FLV_VIDEO, "1709000000" IDR, FLV_NOTHING, 0, 0, NULL},

    {"extended, coded frames", FLV_VIDEO, "9161766331000021" IDR, FLV_FRAME, true, 1033, IDR},
    {"extended, without composition", FLV_VIDEO, "a361766331" SLICE, FLV_FRAME, false, 1000, SLICE},
    {"extended, with nanoseconds before", FLV_VIDEO, "97020003e80161766331000021" IDR, FLV_FRAME,
     true, 1033, IDR},
    {"extended, two things before", FLV_VIDEO, "9700aa0700bb0361766331" IDR, FLV_FRAME, true, 1000,
     IDR},
    {"extended, a long thing before", FLV_VIDEO, "97ff0001aabb0361766331" IDR, FLV_FRAME, true,
     1000, IDR},
    {"extended, end", FLV_VIDEO, "9261766331", FLV_END_OF_SEQUENCE, 0, 0, NULL},
    {"extended, HDR metadata", FLV_VIDEO, "9461766331020000", FLV_NOTHING, 0, 0, NULL},
    {"extended, command", FLV_VIDEO, "d100", FLV_NOTHING, 0, 0, NULL},
    {"extended, unknown packet", FLV_VIDEO, "9f61766331aa", FLV_NOTHING, 0, 0, NULL},

    {"audio", FLV_AUDIO, "af01211004", FLV_FRAME, true, 1000, "211004"},
    {"audio, wrong rate bits", FLV_AUDIO, "a001211004", FLV_FRAME, true, 1000, "211004"},
    {"silence marker", FLV_AUDIO, "", FLV_NOTHING, 0, 0, NULL},
    {"audio without a frame", FLV_AUDIO, "af01", FLV_NOTHING, 0, 0, NULL},
    {"audio of one byte", FLV_AUDIO, "af", FLV_NOTHING, 0, 0, NULL},
    {"extended audio", FLV_AUDIO, "916d703461211004", FLV_FRAME, true, 1000, "211004"},
    {"extended audio, channels", FLV_AUDIO, "946d7034610102", FLV_NOTHING, 0, 0, NULL},
    {"script", FLV_SCRIPT, "020000", FLV_NOTHING, 0, 0, NULL},
    {"a kind nobody knows", 11, "020000", FLV_NOTHING, 0, 0, NULL},
};

static void bodies_become_frames(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct flv_item item;
        struct err err = {.text = ""};

        print_message("%s\n", good[i].name);
        assert_int_equal(read_body(good[i].type, good[i].body, 4, &item, &err), RC_OK);
        assert_int_equal(item.what, good[i].what);
        if (item.what == FLV_FRAME) {
            assert_int_equal(item.kind, good[i].type == FLV_AUDIO ? TRACK_AUDIO : TRACK_VIDEO);
            assert_int_equal(item.frame.kind, item.kind);
            assert_int_equal(item.frame.dts, 1000);
            assert_int_equal(item.frame.pts, good[i].pts);
            assert_int_equal(item.frame.key, good[i].key);
            assert_bytes(blob_slice(item.frame.data), good[i].data);
        }
        flv_item_cleanup(&item);
    }
}

static const struct {
    const char *name;
    int type;
    const char *body;
    enum rc rc;
    const char *says;
} bad[] = {
    {"H.263", FLV_VIDEO, "12aabb", RC_UNSUPPORTED, "Sorenson H.263"},
    {"HEVC in the old header", FLV_VIDEO, "1c01000000aa", RC_UNSUPPORTED, "HEVC"},
    {"a number without a name", FLV_VIDEO, "1aaa", RC_UNSUPPORTED, "video codec 10"},
    {"HEVC", FLV_VIDEO, "9068766331aabb", RC_UNSUPPORTED,
     "'hvc1' is not supported; send video as H.264"},
    {"AV1", FLV_VIDEO, "9061763031aabb", RC_UNSUPPORTED, "'av01'"},
    {"a name of any bytes", FLV_VIDEO, "900a1b2c3daabb", RC_UNSUPPORTED, "'\\x0a\\x1b,='"},
    {"multitrack", FLV_VIDEO, "960061766331", RC_UNSUPPORTED, "several video tracks"},
    {"extended, cut short", FLV_VIDEO, "906176", RC_BAD_INPUT, "cut short at 3 bytes"},
    {"ModEx without an end", FLV_VIDEO, "97ffffff01", RC_BAD_INPUT, "cut short"},
    {"MP3", FLV_AUDIO, "2faabb", RC_UNSUPPORTED, "MP3"},
    {"Speex", FLV_AUDIO, "b2aabb", RC_UNSUPPORTED, "Speex"},
    {"Opus", FLV_AUDIO, "904f707573aa", RC_UNSUPPORTED,
     "'Opus' is not supported; send audio as AAC"},
    {"audio multitrack", FLV_AUDIO, "95006d703461", RC_UNSUPPORTED, "several audio tracks"},
    {"a unit longer than the frame", FLV_VIDEO,
     "1701000000"
     "000000ff65",
     RC_BAD_INPUT, "NAL unit"},
    {"a unit of 4 GiB", FLV_VIDEO,
     "1701000000"
     "ffffffff65",
     RC_BAD_INPUT, "NAL unit"},
};

static void others_are_refused_by_name(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct flv_item item;
        struct err err;

        print_message("%s\n", bad[i].name);
        assert_int_equal(read_body(bad[i].type, bad[i].body, 4, &item, &err), bad[i].rc);
        assert_non_null(strstr(err.text, bad[i].says));
        assert_int_not_equal(item.what, FLV_TRACK);
        flv_item_cleanup(&item);
    }
}

static void sequence_headers(void **state)
{
    static const struct {
        int type;
        const char *body;
    } headers[] = {
        {FLV_VIDEO, "1700000000" AVCC_25},
        {FLV_VIDEO, "9061766331" AVCC_25},
        {FLV_AUDIO, "af00" ASC},
        {FLV_AUDIO, "906d703461" ASC},
    };
    int length_size = 0;

    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct blob *body = from_hex(headers[i].body);
        struct flv_item item;

        assert_int_equal(flv_read(headers[i].type, body, 0, &length_size, &item, NULL), RC_OK);
        assert_int_equal(item.what, FLV_TRACK);
        assert_int_equal(length_size, 4);
        if (headers[i].type == FLV_VIDEO)
            assert_int_equal(item.track.width, 320);
        else
            assert_int_equal(item.track.sample_rate, 44100);
        flv_item_cleanup(&item);
        blob_unref(&body);
    }
}

/* What cannot be played without is told apart from a frame that can be left out. */
static void a_broken_sequence_header_is_told(void **state)
{
    struct flv_item item;

    assert_int_equal(read_body(FLV_VIDEO, "17000000000164", 4, &item, NULL), RC_BAD_INPUT);
    assert_int_equal(item.what, FLV_TRACK);
    flv_item_cleanup(&item);
    assert_int_equal(read_body(FLV_AUDIO, "af00ff", 4, &item, NULL), RC_BAD_INPUT);
    assert_int_equal(item.what, FLV_TRACK);
    flv_item_cleanup(&item);
}

static void short_nal_lengths_become_four_bytes(void **state)
{
    struct flv_item item;

    assert_int_equal(read_body(FLV_VIDEO,
                               "1701000000"
                               "000465888400"
                               "000209f0",
                               2, &item, NULL),
                     RC_OK);
    assert_bytes(blob_slice(item.frame.data), IDR);
    assert_true(item.frame.key);
    flv_item_cleanup(&item);
    assert_int_equal(read_body(FLV_VIDEO,
                               "1701000000"
                               "0465888400",
                               1, &item, NULL),
                     RC_OK);
    assert_bytes(blob_slice(item.frame.data), IDR);
    flv_item_cleanup(&item);
    assert_int_equal(read_body(FLV_VIDEO, "1701000000" IDR, 0, &item, NULL), RC_OK);
    assert_int_equal(item.what, FLV_NOTHING); /* before a sequence header */
    flv_item_cleanup(&item);
}

static void frames_are_views_of_their_message(void **state)
{
    struct blob *body = from_hex("1701000000" IDR);
    size_t before = blob_total_bytes();
    int length_size = 4;
    struct flv_item item;

    assert_int_equal(flv_read(FLV_VIDEO, body, 0, &length_size, &item, NULL), RC_OK);
    assert_ptr_equal(item.frame.data->p, body->p + 5);
    assert_int_equal(blob_total_bytes(), before);
    blob_unref(&body);
    assert_bytes(blob_slice(item.frame.data), IDR);
    flv_item_cleanup(&item);
}

static void headers_read_back(void **state)
{
    static const int32_t compositions[] = {0, 33, -33, 8388607, -8388608};

    for (size_t i = 0; i < ARRAY_LEN(compositions); i++) {
        struct blob *data = from_hex(IDR);
        struct frame f = {.kind = TRACK_VIDEO, .key = true, .data = data};
        uint8_t head[5];
        size_t n = flv_frame_header(&f, compositions[i], head);
        struct buf b;
        struct blob *body;
        struct flv_item item;
        int length_size = 4;

        buf_init(&b, 100);
        buf_add(&b, head, n);
        buf_add_slice(&b, blob_slice(data));
        body = blob_of_buf(&b);
        assert_int_equal(flv_read(FLV_VIDEO, body, 0, &length_size, &item, NULL), RC_OK);
        assert_int_equal(item.frame.pts, compositions[i]);
        assert_true(item.frame.key);
        assert_true(slice_eq(blob_slice(item.frame.data), blob_slice(data)));
        flv_item_cleanup(&item);
        blob_unref(&body);
        blob_unref(&data);
    }
}

/* --- files --- */

/* One line a packet: stream, dts, pts, size, key. */
struct walk {
    struct buf lines;
    int length_size;
    int tracks;
};

static void on_tag(const struct flv_tag *tag, void *arg)
{
    struct walk *w = arg;
    struct blob *body = blob_copy(tag->body);
    struct flv_item item;

    assert_int_equal(flv_read(tag->type, body, tag->time_ms, &w->length_size, &item, NULL), RC_OK);
    w->tracks += item.what == FLV_TRACK;
    if (item.what == FLV_FRAME)
        buf_printf(&w->lines, "%d|%lld|%lld|%zu|%d\n", item.kind, (long long)item.frame.pts,
                   (long long)item.frame.dts, item.frame.data->n, item.frame.key);
    flv_item_cleanup(&item);
    blob_unref(&body);
}

static struct buf output_of(const char *command)
{
    struct buf b;
    uint8_t piece[4096];
    FILE *f = popen(command, "r");

    buf_init(&b, 64 << 20);
    assert_non_null(f);
    for (size_t n; (n = fread(piece, 1, sizeof(piece), f)) > 0;)
        buf_add(&b, piece, n);
    assert_int_equal(pclose(f), 0);
    return b;
}

static void a_file_in_any_cut_is_what_ffprobe_reads(void **state)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 11, 1000};
    char path[] = "/tmp/leat-flv-XXXXXX";
    int fd = mkstemp(path);
    char *make = xasprintf("ffmpeg -v error -y -f lavfi -i testsrc2=s=128x96:r=30 -f lavfi -i "
                           "sine=r=44100 -t 2 -c:v libx264 -preset veryfast -g 20 -bf 2 -c:a aac "
                           "-f flv %s",
                           path);
    char *probe = xasprintf("ffprobe -v error -show_entries packet=stream_index,pts,dts,size,flags "
                            "-of csv=p=0:s='|' %s | sed 's/K_*$/1/; s/__*$/0/'",
                            path);
    char *cat = xasprintf("cat %s", path);
    struct buf none = output_of(make), want = output_of(probe), file = output_of(cat);

    close(fd);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct flv_file *f = flv_file_new();
        struct walk w = {.tracks = 0};

        buf_init(&w.lines, 1 << 20);
        for (struct slice in = buf_slice(&file); in.n; in = slice_skip(in, pieces[i]))
            assert_int_equal(flv_file_feed(f, slice_sub(in, 0, pieces[i]), on_tag, &w, NULL),
                             RC_OK);
        assert_string_equal(buf_cstr(&w.lines), buf_cstr(&want));
        assert_int_equal(w.tracks, 2);
        buf_cleanup(&w.lines);
        flv_file_free(f);
    }
    unlink(path);
    buf_cleanup(&none);
    buf_cleanup(&want);
    buf_cleanup(&file);
    free(make);
    free(probe);
    free(cat);
}

static void count_tag(const struct flv_tag *tag, void *arg)
{
    (*(int *)arg)++;
}

static void files_that_are_none(void **state)
{
    static const struct {
        const char *name, *bytes;
        enum rc rc;
        int tags;
    } files[] = {
        {"an MP4", "000000206674797069736f6d", RC_BAD_INPUT, 0},
        {"a header that is too short for itself", "464c56010500000001", RC_BAD_INPUT, 0},
        {"a tag above 8 MiB",
         "464c5601050000000900000000"
         "09900000"
         "00000000000000",
         RC_BAD_INPUT, 0},
        {"a header with an annex",
         "464c5601050000000baabb00000000"
         "12000001"
         "00000000000000"
         "aa0000000c",
         RC_OK, 1},
        {"an empty tag",
         "464c5601050000000900000000"
         "08000000"
         "00000000000000"
         "0000000b",
         RC_OK, 1},
        {"cut in a tag",
         "464c5601050000000900000000"
         "08000010"
         "00000000000000"
         "00",
         RC_OK, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct flv_file *f = flv_file_new();
        struct blob *b = from_hex(files[i].bytes);
        int tags = 0;

        print_message("%s\n", files[i].name);
        assert_int_equal(flv_file_feed(f, blob_slice(b), count_tag, &tags, NULL), files[i].rc);
        assert_int_equal(tags, files[i].tags);
        blob_unref(&b);
        flv_file_free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_become_frames),
        cmocka_unit_test(others_are_refused_by_name),
        cmocka_unit_test(sequence_headers),
        cmocka_unit_test(a_broken_sequence_header_is_told),
        cmocka_unit_test(short_nal_lengths_become_four_bytes),
        cmocka_unit_test(frames_are_views_of_their_message),
        cmocka_unit_test(headers_read_back),
        cmocka_unit_test(a_file_in_any_cut_is_what_ffprobe_reads),
        cmocka_unit_test(files_that_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
