/* H.264 headers: parameter sets of x264 with FFmpeg's word for what they say, damage at
 * every byte, and the walks over both ways to frame NAL units. */
#include "media_test.h"

/* --- SPS --- */

static const struct {
    const char *name, *sps;
    int width, height, profile, chroma, depth, reorder;
    double fps;
} sets[] = {
    {"baseline", "6742c00dd90141fb011000000300100000030320f142a480", 320, 240, 66, 1, 8, 0, 25},
    {"1080p cropped", "674d402aeca03c0113f2e022000007d20003a9801e30632c", 1920, 1080, 77, 1, 8, 2,
     60000. / 1001},
    {"374x666", "6764001eacd9418055e6930110000003001000000303c0f162d960", 374, 666, 100, 1, 8, 2,
     30},
    {"HRD", "6764001eacd940b424d8088000000300800000193020007a12000f427261807c50a658", 720, 576, 100,
     1, 8, 2, 25},
    {"interlaced", "674d4028f403c0227ef01100000303e90000ea601f162ea0", 1920, 1080, 77, 1, 8, 0,
     30000. / 1001},
    {"4:4:4", "67f4000d919b28283f6022000007d2000177001e28532c", 320, 240, 244, 3, 8, 2,
     24000. / 1001},
    {"4:2:2 10 bit", "677a001fb6cd940a02ff89c044000003000400000301903c60c658", 640, 360, 122, 2, 10,
     2, 50},
    {"monochrome", "67640016f3650280bfe27016c8000003000800000300f078b16cb0", 640, 360, 100, 0, 8, 2,
     15},
    {"no VUI", "6742000dda0507e4", 320, 240, 66, 1, 8, -1, 0},
    {"colours", "6764001eacd940b0126c09a808080a000003000200000300641e2c5b2c", 704, 576, 100, 1, 8,
     2, 25},
};

static void sps_says_what_ffmpeg_reads(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        struct blob *b = from_hex(sets[i].sps);
        struct h264_sps s;

        print_message("%s\n", sets[i].name);
        assert_int_equal(h264_sps_parse(blob_slice(b), &s, NULL), RC_OK);
        assert_int_equal(s.width, sets[i].width);
        assert_int_equal(s.height, sets[i].height);
        assert_int_equal(s.profile_idc, sets[i].profile);
        assert_int_equal(s.chroma_format_idc, sets[i].chroma);
        assert_int_equal(s.bit_depth, sets[i].depth);
        assert_int_equal(s.max_reorder_frames, sets[i].reorder);
        assert_float_equal(s.fps, sets[i].fps, 1e-9);
        blob_unref(&b);
    }
}

/* Cut anywhere before its VUI an SPS is refused, inside the VUI only hints are lost. */
static void sps_cut_short(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        struct blob *b = from_hex(sets[i].sps);
        bool was_ok = false;

        for (size_t n = 0; n <= b->n; n++) {
            struct blob *cut = blob_copy(slice_of(b->p, n));
            struct h264_sps s;
            struct err err;
            enum rc rc = h264_sps_parse(blob_slice(cut), &s, &err);

            if (rc == RC_OK)
                assert_true(s.width == sets[i].width && s.height == sets[i].height);
            else
                assert_int_equal(rc, RC_BAD_INPUT);
            assert_false(was_ok && rc != RC_OK);
            was_ok = rc == RC_OK;
            blob_unref(&cut);
        }
        assert_true(was_ok);
        blob_unref(&b);
    }
}

static void sps_of_strangers(void **state)
{
    static const struct {
        const char *name, *sps, *text;
    } bad[] = {
        {"empty", "", "no SPS"},
        {"a PPS", "68ebe3cb22c0", "no SPS"},
        {"scaling list of 2^31", "6764000dad980000030007fffffff4", "breaks off"},
        {"only zeros", "6742c00d0000000000000000", "breaks off"},
        {"crop of everything", "6742000dda0507f032819740", "crops the picture to -80x240"},
        {"16400 pixels wide", "6742000dda0010047e40", "out of range"},
    };
    uint8_t big[5000] = {0x67};
    struct h264_sps s;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct blob *b = from_hex(bad[i].sps);

        print_message("%s\n", bad[i].name);
        assert_int_equal(h264_sps_parse(blob_slice(b), &s, &err), RC_BAD_INPUT);
        assert_non_null(strstr(err.text, bad[i].text));
        blob_unref(&b);
    }
    assert_int_equal(h264_sps_parse(slice_of(big, sizeof(big)), &s, &err), RC_LIMIT);
    assert_non_null(strstr(err.text, "5000 bytes"));
}

/* --- avcC --- */

static void avcc_becomes_a_track(void **state)
{
    struct track t = track_of(AVCC_NTSC), other = track_of(AVCC_25), same = track_ref(&t);
    char codec[CODEC_STRING_MAX];

    assert_int_equal(t.codec, CODEC_H264);
    assert_int_equal(t.width, 320);
    assert_int_equal(t.height, 240);
    assert_float_equal(t.fps, 30000. / 1001, 1e-9);
    track_codec_string(&t, codec);
    assert_string_equal(codec, "avc1.64000d");
    assert_true(track_same(&t, &same));
    assert_false(track_same(&t, &other));
    track_cleanup(&t);
    track_cleanup(&other);
    track_cleanup(&same);
    assert_int_equal(same.codec, CODEC_NONE);
    track_codec_string(&same, codec);
    assert_string_equal(codec, "");
}

/* Frames have lengths of 4 bytes whatever the sender's had, and the config says so. */
static void avcc_length_size(void **state)
{
    static const char rest[] = "e100186742c00dd90141fb011000000300100000030320f142a480"
                               "01000568cb83cb20";
    static const struct {
        const char *byte;
        enum rc rc;
    } cases[] = {{"fc", RC_OK}, {"fd", RC_OK}, {"fe", RC_BAD_INPUT}, {"ff", RC_OK}, {"03", RC_OK}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *hex = xasprintf("0142c00d%s%s", cases[i].byte, rest);
        struct blob *b = from_hex(hex);
        struct track t;
        struct err err;

        assert_int_equal(h264_track_from_avcc(blob_slice(b), &t, &err), cases[i].rc);
        if (cases[i].rc == RC_OK)
            assert_int_equal(t.config->p[4] & 3, 3);
        else
            assert_non_null(strstr(err.text, "3 bytes"));
        track_cleanup(&t);
        blob_unref(&b);
        free(hex);
    }
}

static void avcc_of_strangers(void **state)
{
    static const struct {
        const char *name, *hex, *text;
    } bad[] = {
        {"empty", "", "version -1"},
        {"Annex B", "000000016742c00d", "version 0"},
        {"no sets", "0142c00dffe000", "without SPS"},
        {"SPS cut", "0142c00dffe100186742c00dd901", "breaks off in its parameter sets"},
        {"PPS missing", "0142c00dffe100186742c00dd90141fb011000000300100000030320f142a480",
         "breaks off in its parameter sets"},
        {"PPS for SPS", "0142c00dffe1000568cb83cb2000", "without SPS"},
        {"broken SPS", "0142c00dffe100046742c00d00", "avcC: SPS of 4 bytes"},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct blob *b = from_hex(bad[i].hex);
        struct track t;
        struct err err;

        print_message("%s\n", bad[i].name);
        assert_int_equal(h264_track_from_avcc(blob_slice(b), &t, &err), RC_BAD_INPUT);
        assert_non_null(strstr(err.text, bad[i].text));
        assert_int_equal(t.codec, CODEC_NONE);
        assert_null(t.config);
        blob_unref(&b);
    }
}

struct kept {
    struct slice sps[4], pps[4];
    size_t n_sps, n_pps;
};

static void keep(struct slice nal, void *arg)
{
    struct kept *k = arg;

    if ((nal.p[0] & 0x1f) == H264_NAL_SPS)
        k->sps[k->n_sps++] = nal;
    else
        k->pps[k->n_pps++] = nal;
}

/* x264's own avcC, taken apart and built again. */
static void avcc_round_trip(void **state)
{
    static const char *const configs[] = {AVCC_NTSC, AVCC_HD, AVCC_25};

    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        struct blob *avcc = from_hex(configs[i]), *built;
        struct kept k = {.n_sps = 0};

        assert_int_equal(h264_avcc_sets(blob_slice(avcc), keep, &k, NULL), RC_OK);
        built = h264_avcc_from_sets(k.sps, k.n_sps, k.pps, k.n_pps);
        assert_bytes(blob_slice(built), configs[i]);
        blob_unref(&built);
        blob_unref(&avcc);
    }
    assert_null(h264_avcc_from_sets(NULL, 0, NULL, 0));
    struct slice garbage = slice_str("gx");
    assert_null(h264_avcc_from_sets(&garbage, 1, NULL, 0));
}

/* --- walks --- */

static void annexb_walk(void **state)
{
    static const struct {
        const char *name, *in, *units;
    } cases[] = {
        {"three and four bytes", "000001670102000000016803000001650405", "670102 6803 650405 "},
        {"bytes before", "aabb0000016701", "6701 "},
        {"trailing zeros", "00000001670100000000", "6701 "},
        {"zeros inside stay", "0000016700000302000001650000", "6700000302 65"},
        {"empty units", "000001000001000000010000016755", "6755 "},
        {"nothing", "", ""},
        {"only a start code", "000001", ""},
        {"no start code", "0000000000", ""},
        {"cut start code", "0000016701020000", "670102 "},
        {"ones", "000001010101010000010101", "0101010 1 0101 "},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct blob *b = from_hex(cases[i].in);
        struct slice s = blob_slice(b), nal;
        struct buf got, want;

        print_message("%s\n", cases[i].name);
        buf_init(&got, 1000);
        buf_init(&want, 1000);
        while (h264_next_annexb(&s, &nal))
            buf_hex(&got, nal);
        for (const char *c = cases[i].units; *c; c++)
            if (*c != ' ')
                buf_u8(&want, (uint8_t)*c);
        assert_string_equal(buf_cstr(&got), buf_cstr(&want));
        assert_int_equal(s.n, 0);
        buf_cleanup(&got);
        buf_cleanup(&want);
        blob_unref(&b);
    }
}

/* Random units without start codes in them come back whole, whichever code stood before. */
static void annexb_finds_all(void **state)
{
    struct dice dice = {1};

    for (int round = 0; round < 200; round++) {
        struct slice units[8];
        uint8_t bytes[4000];
        size_t n = 0, count = 1 + roll(&dice, 8), found = 0;
        struct slice all, nal;

        for (size_t i = 0; i < count; i++) {
            size_t size = 1 + roll(&dice, 400);

            memcpy(bytes + n, "\0\0\0\1", 4);
            n += roll(&dice, 2) ? 4 : (bytes[n + 2] = 1, 3);
            for (size_t k = 0; k < size; k++) /* few values: near misses are frequent */
                bytes[n + k] = (uint8_t)(k % 2 ? 1 + roll(&dice, 2) : roll(&dice, 2));
            bytes[n + size - 1] = 0x80;
            units[i] = slice_of(bytes + n, size);
            n += size;
        }
        all = slice_of(bytes, n);
        while (h264_next_annexb(&all, &nal))
            assert_true(found < count && nal.p == units[found].p && nal.n == units[found++].n);
        assert_int_equal(found, count);
    }
}

static void avc_walk(void **state)
{
    struct blob *b = from_hex("000000026588000000000000000141"
                              "0000");
    struct blob *cut = from_hex("00000001650000000541");
    struct slice s = blob_slice(b), nal;
    bool bad = true;

    assert_true(h264_next_avc(&s, &nal, &bad));
    assert_bytes(nal, "6588");
    assert_true(h264_next_avc(&s, &nal, &bad) && nal.n == 0);
    assert_true(h264_next_avc(&s, &nal, &bad));
    assert_bytes(nal, "41");
    assert_false(h264_next_avc(&s, &nal, &bad)); /* two bytes of padding */
    assert_false(bad);
    s = blob_slice(cut);
    assert_true(h264_next_avc(&s, &nal, &bad));
    assert_false(h264_next_avc(&s, &nal, &bad));
    assert_true(bad);
    blob_unref(&b);
    blob_unref(&cut);
}

static void normalize(void **state)
{
    static const struct {
        const char *name, *in, *out;
        int length_size;
        bool idr;
        enum rc rc;
    } cases[] = {
        {"as it should be", "0000000265880000000141", "0000000265880000000141", 4, true, RC_OK},
        {"two bytes", "0002658800010a", "000000026588000000010a", 2, true, RC_OK},
        {"one byte", "024188", "000000024188", 1, false, RC_OK},
        {"delimiter and empty out", "00000002091000000000000000024188", "000000024188", 4, false,
         RC_OK},
        {"nothing left", "000000020910", NULL, 4, false, RC_OK},
        {"empty", "", NULL, 4, false, RC_OK},
        {"too long", "000000036588", NULL, 4, false, RC_BAD_INPUT},
        {"three bytes", "0000026588", NULL, 3, false, RC_BAD_INPUT},
        {"no size yet", "0000026588", NULL, 0, false, RC_BAD_INPUT},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct blob *in = from_hex(cases[i].in), *out;
        struct err err;
        bool idr;

        print_message("%s\n", cases[i].name);
        assert_int_equal(h264_normalize_avc(blob_slice(in), cases[i].length_size, &out, &idr, &err),
                         cases[i].rc);
        assert_int_equal(idr, cases[i].idr);
        if (cases[i].out)
            assert_bytes(blob_slice(out), cases[i].out);
        else
            assert_null(out);
        blob_unref(&in);
        blob_unref(&out);
    }
}

/* Prefixes of one byte grow to four: the limit holds for what comes out. */
static void normalize_has_a_limit(void **state)
{
    size_t n = MAX_FRAME_BYTES / 5 * 2 + 10;
    struct blob *b = blob_new(n), *out;
    bool idr;
    struct err err;

    for (size_t i = 0; i < n; i += 2)
        memcpy(blob_bytes(b) + i, "\1A", 2);
    assert_int_equal(h264_normalize_avc(blob_slice(b), 1, &out, &idr, &err), RC_LIMIT);
    assert_non_null(strstr(err.text, "at most 8388608"));
    blob_unref(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sps_says_what_ffmpeg_reads),
        cmocka_unit_test(sps_cut_short),
        cmocka_unit_test(sps_of_strangers),
        cmocka_unit_test(avcc_becomes_a_track),
        cmocka_unit_test(avcc_length_size),
        cmocka_unit_test(avcc_of_strangers),
        cmocka_unit_test(avcc_round_trip),
        cmocka_unit_test(annexb_walk),
        cmocka_unit_test(annexb_finds_all),
        cmocka_unit_test(avc_walk),
        cmocka_unit_test(normalize),
        cmocka_unit_test(normalize_has_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
