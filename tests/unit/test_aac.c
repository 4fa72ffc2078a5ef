/* AudioSpecificConfig and ADTS: what FFmpeg writes, what cannot be said, damage. */
#include "media_test.h"

#include "media/aac.h"

static const struct {
    const char *name, *asc, *codec, *header; /* header: ADTS of a raw frame of 1 byte */
    int rate, channels;
} configs[] = {
    {"LC 44.1 stereo", "1210", "mp4a.40.2", "fff15080011ffc", 44100, 2},
    {"LC 48 stereo", "1190", "mp4a.40.2", "fff14c80011ffc", 48000, 2},
    {"LC 44.1 mono", "1208", "mp4a.40.2", "fff15040011ffc", 44100, 1},
    {"LC 48 5.1", "11b0", "mp4a.40.2", "fff14d80011ffc", 48000, 6},
    {"LC 48 7.1", "11b8", "mp4a.40.2", "fff14dc0011ffc", 48000, 8},
    {"LC 48 with trailing SBR", "119056e500", "mp4a.40.2", "fff14c80011ffc", 48000, 2},
    {"HE 24/48 stereo", "2b118800", "mp4a.40.5", "fff15880011ffc", 24000, 2},
    {"HE v2 24/48", "eb098800", "mp4a.40.29", "fff15840011ffc", 24000, 1},
    {"LC 8000 in words", "17800fa008", "mp4a.40.2", "fff16c40011ffc", 8000, 1},
    {"main", "0a10", "mp4a.40.1", "fff11080011ffc", 44100, 2},
};

static void config_and_header(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        struct blob *asc = from_hex(configs[i].asc);
        uint8_t header[ADTS_HEADER_BYTES];
        char codec[CODEC_STRING_MAX];
        struct track t;

        print_message("%s\n", configs[i].name);
        assert_int_equal(aac_track_from_config(blob_slice(asc), &t, NULL), RC_OK);
        assert_int_equal(t.codec, CODEC_AAC);
        assert_int_equal(t.sample_rate, configs[i].rate);
        assert_int_equal(t.channels, configs[i].channels);
        track_codec_string(&t, codec);
        assert_string_equal(codec, configs[i].codec);
        assert_true(aac_adts_header(&t, 1, header));
        assert_bytes(slice_of(header, sizeof(header)), configs[i].header);
        track_cleanup(&t);
        blob_unref(&asc);
    }
}

static void config_refused(void **state)
{
    static const struct {
        const char *name, *asc, *text;
        enum rc rc;
    } bad[] = {
        {"empty", "", "cut short", RC_BAD_INPUT},
        {"one byte", "12", "cut short", RC_BAD_INPUT},
        {"xHE-AAC", "f94640", "object type 42", RC_UNSUPPORTED},
        {"reserved rate", "1690", "sample rate 0", RC_BAD_INPUT},
        {"rate of 16 MHz", "17ffffff9000", "sample rate 16777215", RC_BAD_INPUT},
        {"channels elsewhere", "1180", "channel configuration 0", RC_UNSUPPORTED},
        {"channels reserved", "11c0", "channel configuration 8", RC_UNSUPPORTED},
        {"960 samples", "1194", "960", RC_UNSUPPORTED},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct blob *asc = from_hex(bad[i].asc);
        struct track t;
        struct err err;

        print_message("%s\n", bad[i].name);
        assert_int_equal(aac_track_from_config(blob_slice(asc), &t, &err), bad[i].rc);
        assert_non_null(strstr(err.text, bad[i].text));
        assert_int_equal(t.codec, CODEC_NONE);
        blob_unref(&asc);
    }
}

static void config_too_long(void **state)
{
    uint8_t bytes[65] = {0x12, 0x10};
    struct track t;

    assert_int_equal(aac_track_from_config(slice_of(bytes, 64), &t, NULL), RC_OK);
    track_cleanup(&t);
    assert_int_equal(aac_track_from_config(slice_of(bytes, 65), &t, NULL), RC_LIMIT);
}

static void header_limits(void **state)
{
    struct track t = {.codec = CODEC_AAC, .config = from_hex("1210")};
    struct track odd = {.codec = CODEC_AAC, .config = from_hex("178056c210")}, none = {0};
    uint8_t header[ADTS_HEADER_BYTES];

    assert_true(aac_adts_header(&t, 0x1fff - 7, header));
    assert_bytes(slice_of(header, 7), "fff15083fffffc");
    assert_false(aac_adts_header(&t, 0x1fff - 6, header));
    assert_false(aac_adts_header(&odd, 10, header)); /* 44420 Hz has no index */
    assert_false(aac_adts_header(&none, 10, header));
    track_cleanup(&t);
    track_cleanup(&odd);
}

static void adts_round_trip(void **state)
{
    struct dice dice = {7};

    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        struct blob *asc = from_hex(configs[i].asc);
        uint8_t bytes[9000] = {0};
        size_t n = 1 + roll(&dice, 8000);
        struct adts_frame a;
        struct track t, again;

        assert_int_equal(aac_track_from_config(blob_slice(asc), &t, NULL), RC_OK);
        assert_true(aac_adts_header(&t, n, bytes));
        assert_int_equal(aac_adts_parse(slice_of(bytes, n + 7 + 20), &a, NULL), RC_OK);
        assert_int_equal(a.length, n + 7);
        assert_true(a.raw.p == bytes + 7 && a.raw.n == n);
        assert_int_equal(a.sample_rate, t.sample_rate);
        assert_int_equal(a.channels, t.channels);
        assert_int_equal(aac_track_from_config(slice_of(a.asc, 2), &again, NULL), RC_OK);
        assert_int_equal(again.sample_rate, t.sample_rate);
        track_cleanup(&t);
        track_cleanup(&again);
        blob_unref(&asc);
    }
}

static void adts_of_strangers(void **state)
{
    static const struct {
        const char *name, *in;
        enum rc rc;
        size_t raw;
    } cases[] = {
        {"whole", "fff15080011ffc21", RC_OK, 1},
        {"with CRC", "fff05080015ffcabcd21", RC_OK, 1},
        {"MPEG-2", "fff95080011ffc21", RC_OK, 1},
        {"nothing", "", RC_NOT_FOUND, 0},
        {"half a header", "fff15080", RC_NOT_FOUND, 0},
        {"half a frame", "fff15080013ffc21", RC_NOT_FOUND, 0},
        {"no sync", "00f15080011ffc21", RC_BAD_INPUT, 0},
        {"no sync, two bytes", "fe00", RC_BAD_INPUT, 0},
        {"MP3", "fffb9064000f0000", RC_BAD_INPUT, 0},
        {"rate 13", "fff17480011ffc21", RC_BAD_INPUT, 0},
        {"shorter than its header", "fff1508000dffc21", RC_BAD_INPUT, 0},
        {"no longer than its CRC", "fff05080013ffcabcd", RC_BAD_INPUT, 0},
        {"two raw blocks", "fff15080011ffd21", RC_UNSUPPORTED, 0},
        {"channels inside", "fff15000011ffc21", RC_UNSUPPORTED, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct blob *b = from_hex(cases[i].in);
        struct adts_frame a;

        print_message("%s\n", cases[i].name);
        assert_int_equal(aac_adts_parse(blob_slice(b), &a, NULL), cases[i].rc);
        assert_int_equal(a.raw.n, cases[i].raw);
        blob_unref(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_and_header), cmocka_unit_test(config_refused),
        cmocka_unit_test(config_too_long),   cmocka_unit_test(header_limits),
        cmocka_unit_test(adts_round_trip),   cmocka_unit_test(adts_of_strangers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
