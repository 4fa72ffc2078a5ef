#include "vector_test.h"

#include <unistd.h>

#include "base/keccak.h"
#include "wire/profiles.h"

static void presets(void **state)
{
    /* size, kb/s, frames a second, first bytes of the name's keccak-256 (video.md 5.1) */
    static const struct {
        const char *name;
        int width, height, kbps;
        uint32_t fps;
        uint8_t id[4];
    } rows[] = {
        {"P720p60fps16x9", 1280, 720, 6000, 60, {0xa7, 0xac, 0x13, 0x7a}},
        {"P720p30fps16x9", 1280, 720, 4000, 30, {0x49, 0xd5, 0x4e, 0xa9}},
        {"P720p25fps16x9", 1280, 720, 3500, 25, {0xe4, 0xa6, 0x40, 0x19}},
        {"P720p30fps4x3", 960, 720, 3500, 30, {0x79, 0x33, 0x2f, 0xe7}},
        {"P576p30fps16x9", 1024, 576, 1500, 30, {0x5e, 0xcf, 0x4b, 0x52}},
        {"P576p25fps16x9", 1024, 576, 1500, 25, {0x8b, 0x18, 0x43, 0xd6}},
        {"P360p30fps16x9", 640, 360, 1200, 30, {0x93, 0xc7, 0x17, 0xe7}},
        {"P360p25fps16x9", 640, 360, 1000, 25, {0x7c, 0xd4, 0x0f, 0xc7}},
        {"P360p30fps4x3", 480, 360, 1000, 30, {0xb6, 0x03, 0x82, 0xa0}},
        {"P240p30fps16x9", 426, 240, 600, 30, {0xc0, 0xa6, 0x51, 0x7a}},
        {"P240p25fps16x9", 426, 240, 600, 25, {0x13, 0x01, 0xa7, 0xd0}},
        {"P240p30fps4x3", 320, 240, 600, 30, {0xd4, 0x35, 0xc5, 0x3a}},
        {"P144p30fps16x9", 256, 144, 400, 30, {0xfc, 0xa4, 0x0b, 0xf9}},
    };
    struct profile p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hash id = keccak_of(slice_str(rows[i].name));

        assert_true(profile_preset(slice_str(rows[i].name), &p));
        assert_string_equal(p.name, rows[i].name);
        assert_int_equal(p.width, rows[i].width);
        assert_int_equal(p.height, rows[i].height);
        assert_int_equal(p.bitrate, rows[i].kbps * 1000);
        assert_int_equal(p.fps, rows[i].fps);
        assert_int_equal(p.fps_den, 0);
        assert_memory_equal(id.b, rows[i].id, 4);
    }
    assert_false(profile_preset(SLICE_LIT("P144p25fps16x9"), &p)); /* not selectable anywhere */
    assert_false(profile_preset(SLICE_LIT("p720p60fps16x9"), &p)); /* case counts */
    assert_false(profile_preset(SLICE_LIT(""), &p));
}

static enum rc from_json(const char *text, struct profile out[MAX_PROFILES], size_t *n,
                         struct err *err)
{
    json_t *root = json_parse(slice_str(text), err);
    enum rc rc;

    assert_non_null(root);
    rc = profiles_from_json(root, out, n, err);
    json_decref(root);
    return rc;
}

static void json_form(void **state)
{
    struct profile p[MAX_PROFILES];
    size_t n;

    (void)state;
    assert_int_equal(
        from_json("[{\"name\":\"low\",\"width\":160,\"height\":90,\"bitrate\":100000,\"fps\":30,"
                  "\"fpsDen\":2,\"profile\":\"h264BASELINE\",\"gop\":\"2.002\",\"quality\":27,"
                  "\"encoder\":\"H.264\",\"colorDepth\":0,\"chromaFormat\":0},"
                  "{\"width\":320,\"height\":180,\"bitrate\":300000,\"gop\":\"intra\","
                  "\"profile\":\"None\"},"
                  "{\"width\":64,\"height\":36,\"bitrate\":9,\"name\":\"\",\"gop\":\"0\","
                  "\"encoder\":\"HEVC\",\"unknown\":[]}]",
                  p, &n, NULL),
        RC_OK);
    assert_int_equal(n, 3);
    assert_string_equal(p[0].name, "low");
    assert_int_equal(p[0].fps, 30);
    assert_int_equal(p[0].fps_den, 2);
    assert_int_equal(p[0].profile, ENCODER_H264_BASELINE);
    assert_int_equal(p[0].gop_ms, 2002);
    assert_int_equal(p[0].quality, 27);
    assert_string_equal(p[1].name, "custom_320x180_300000");
    assert_int_equal(p[1].gop_ms, GOP_INTRA);
    assert_int_equal(p[1].fps, 0);
    assert_string_equal(p[2].name, "custom_64x36_9");
    assert_int_equal(p[2].gop_ms, GOP_DEFAULT);
    assert_int_equal(p[2].encoder, VIDEO_H265);
    assert_int_equal(from_json("[]", p, &n, NULL), RC_OK);
    assert_int_equal(n, 0);
}

#define SIZE "\"width\":64,\"height\":36,\"bitrate\":9"

static void json_faults_are_named(void **state)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"{}", "an array of profiles is expected"},
        {"[{" SIZE "},3]", "profile 1"},
        {"[{\"height\":36,\"bitrate\":9}]", "\"width\""},
        {"[{\"width\":\"64\",\"height\":36,\"bitrate\":9}]", "\"width\""},
        {"[{\"width\":16385,\"height\":36,\"bitrate\":9}]", "16384"},
        {"[{\"width\":-1,\"height\":36,\"bitrate\":9}]", "negative"},
        {"[{" SIZE ",\"profile\":\"h264\"}]", "unknown VideoProfile profile name \"h264\""},
        {"[{" SIZE ",\"encoder\":\"hevc\"}]", "unknown codec name \"hevc\""},
        {"[{" SIZE ",\"gop\":\"-1\"}]", "\"gop\""},
        {"[{" SIZE ",\"gop\":\"nan\"}]", "\"gop\""},
        {"[{" SIZE ",\"gop\":\"1s\"}]", "\"gop\""},
        {"[{" SIZE ",\"gop\":\"301\"}]", "\"gop\""},
        {"[{" SIZE ",\"gop\":2}]", "\"gop\""},
        {"[{" SIZE ",\"name\":\"a/b\"}]", "no slash"},
        {"[{" SIZE ",\"name\":\"..\"}]", "\"..\""},
        {"[{" SIZE ",\"name\":\"a\\u0001\"}]", "control byte"},
        {"[{" SIZE "},{" SIZE ",\"fps\":5}]", "profile 1: the name \"custom_64x36_9\" is taken"},
        {"[{" SIZE ",\"name\":\"source\"}]", "the name \"source\" is taken"},
        {"[{" SIZE ",\"quality\":64}]", "\"quality\""},
    };
    struct profile p[MAX_PROFILES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {RC_OK, ""};
        size_t n = 7;

        assert_int_not_equal(from_json(rows[i].json, p, &n, &err), RC_OK);
        if (!strstr(err.text, rows[i].text))
            fail_msg("%s: %s", rows[i].json, err.text);
        assert_int_equal(n, 0);
    }
}

static void no_more_than_the_networks_renditions(void **state)
{
    struct profile p[MAX_PROFILES];
    struct buf text;
    struct err err;
    size_t n;

    (void)state;
    buf_init(&text, 65536);
    for (int i = 0; i <= MAX_PROFILES; i++)
        buf_printf(&text, "%c{\"width\":64,\"height\":36,\"bitrate\":%d}", i ? ',' : '[', i + 1);
    buf_str(&text, "]");
    assert_int_equal(from_json(buf_cstr(&text), p, &n, &err), RC_LIMIT);
    assert_non_null(strstr(err.text, "11 profiles, at most 10"));
    buf_cleanup(&text);
}

static void option_of_names(void **state)
{
    struct profile p[MAX_PROFILES];
    char *skipped = NULL;
    struct err err;
    size_t n;

    (void)state;
    assert_int_equal(profiles_from_option(" P240p30fps16x9, P999,P360p30fps16x9,P240p30fps16x9,", p,
                                          &n, &skipped, &err),
                     RC_OK);
    assert_int_equal(n, 2);
    assert_string_equal(p[1].name, "P360p30fps16x9");
    assert_string_equal(skipped, "P999, P240p30fps16x9");
    free(skipped);
    assert_int_equal(profiles_from_option("", p, &n, NULL, &err), RC_BAD_INPUT);
    assert_memory_equal(err.text, "No transcoding profiles found", 29);
    assert_int_equal(profiles_from_option("/tmp", p, &n, NULL, &err), RC_BAD_INPUT);
}

static void option_as_json(void **state)
{
    struct profile p[MAX_PROFILES];
    struct err err;
    size_t n;

    (void)state;
    assert_int_equal(profiles_from_option(" [{\"width\":160,\"height\":90,\"bitrate\":1000}]", p,
                                          &n, NULL, &err),
                     RC_OK);
    assert_int_equal(n, 1);
    assert_string_equal(p[0].name, "custom_160x90_1000");
    assert_int_equal(profiles_from_option("[{\"width\":-1}]", p, &n, NULL, &err), RC_BAD_INPUT);
    assert_string_equal(err.text,
                        "[{\"width\":-1}]: profile 0: field \"width\": expected no negative "
                        "number, got -1");
    assert_int_equal(profiles_from_option("[]", p, &n, NULL, &err), RC_BAD_INPUT);
    assert_memory_equal(err.text, "No transcoding profiles found", 29);
}

static enum rc option_file(const char *text, size_t *n, struct err *err)
{
    char path[] = "/tmp/leat-profiles-XXXXXX";
    struct profile p[MAX_PROFILES];
    int fd = mkstemp(path);
    enum rc rc;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    rc = profiles_from_option(path, p, n, NULL, err);
    unlink(path);
    return rc;
}

static void option_of_a_file(void **state)
{
    struct err err;
    size_t n;

    (void)state;
    assert_int_equal(option_file("[{" SIZE "}]", &n, &err), RC_OK);
    assert_int_equal(n, 1);
    assert_int_equal(option_file("[]", &n, &err), RC_BAD_INPUT);
    assert_memory_equal(err.text, "No transcoding profiles found", 29);
    assert_int_equal(option_file("[{" SIZE ",\"fps\":-1}]", &n, &err), RC_BAD_INPUT);
    assert_memory_equal(err.text, "/tmp/leat-profiles-", 19);
    assert_non_null(strstr(err.text, "profile 0: field \"fps\""));
    assert_int_equal(option_file("[{", &n, &err), RC_BAD_INPUT);
}

static void containers(void **state)
{
    (void)state;
    assert_string_equal(container_mime(CONTAINER_TS), "video/mp2t");
    assert_string_equal(container_ext(CONTAINER_TS), ".ts");
    assert_string_equal(container_mime(CONTAINER_MP4), "video/mp4");
    assert_string_equal(container_ext(CONTAINER_MP4), ".mp4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets),
        cmocka_unit_test(json_form),
        cmocka_unit_test(json_faults_are_named),
        cmocka_unit_test(no_more_than_the_networks_renditions),
        cmocka_unit_test(option_of_names),
        cmocka_unit_test(option_as_json),
        cmocka_unit_test(option_of_a_file),
        cmocka_unit_test(containers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
