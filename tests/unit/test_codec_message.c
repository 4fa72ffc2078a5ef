/* The messages of leat-codec: what is written is read back, what breaks a rule is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "codec/message.h"

static struct msg_job full_job(void)
{
    struct msg_job m = {.seq = -7,
                        .duration_ms = 2000,
                        .reinit = true,
                        .clip_from_ms = 5,
                        .clip_to_ms = 900,
                        .segment_bytes = MSG_MAX_SEGMENT,
                        .n_profiles = MSG_MAX_RENDITIONS};

    for (size_t i = 0; i < m.n_profiles; i++) {
        struct profile *p = &m.profiles[i];
        *p = (struct profile){.width = 640,
                              .height = 360,
                              .bitrate = 1200000,
                              .fps = 30000,
                              .fps_den = 1001,
                              .gop_ms = GOP_INTRA,
                              .container = CONTAINER_MP4,
                              .profile = ENCODER_H264_HIGH,
                              .encoder = VIDEO_VP9,
                              .quality = 63};
        memset(p->name, 'a' + (int)i, PROFILE_NAME_MAX);
    }
    return m;
}

static struct slice body_of(const struct buf *b, enum msg_kind kind)
{
    struct msg_head head;

    assert_int_equal(msg_head_decode(slice_sub(buf_slice(b), 0, MSG_HEAD_BYTES), &head, NULL),
                     RC_OK);
    assert_int_equal(head.kind, kind);
    assert_int_equal(head.body_bytes, b->n - MSG_HEAD_BYTES);
    return slice_skip(buf_slice(b), MSG_HEAD_BYTES);
}

static void encode_job(struct buf *b, const struct msg_job *m)
{
    buf_init(b, MSG_HEAD_BYTES + MSG_MAX_BODY);
    msg_job_encode(b, m);
    assert_true(buf_ok(b)); /* the largest job fits */
}

static void a_job_comes_back_whole(void **state)
{
    struct msg_job m = full_job(), got;
    struct buf b;

    encode_job(&b, &m);
    assert_int_equal(msg_job_decode(body_of(&b, MSG_JOB), &got, NULL), RC_OK);
    assert_int_equal(got.seq, m.seq);
    assert_true(got.reinit);
    assert_int_equal(got.clip_from_ms, 5);
    assert_int_equal(got.clip_to_ms, 900);
    assert_int_equal(got.segment_bytes, MSG_MAX_SEGMENT);
    assert_int_equal(got.n_profiles, MSG_MAX_RENDITIONS);
    for (size_t i = 0; i < m.n_profiles; i++) {
        assert_string_equal(got.profiles[i].name, m.profiles[i].name);
        assert_int_equal(got.profiles[i].fps, 30000);
        assert_int_equal(got.profiles[i].fps_den, 1001);
        assert_int_equal(got.profiles[i].gop_ms, GOP_INTRA);
        assert_int_equal(got.profiles[i].container, CONTAINER_MP4);
        assert_int_equal(got.profiles[i].encoder, VIDEO_VP9);
    }
    buf_cleanup(&b);
}

static void a_job_cut_anywhere_is_refused(void **state)
{
    struct msg_job m = full_job(), got;
    struct buf b;

    encode_job(&b, &m);
    struct slice body = body_of(&b, MSG_JOB);
    for (size_t n = 0; n < body.n; n++)
        assert_int_equal(msg_job_decode(slice_sub(body, 0, n), &got, NULL), RC_BAD_INPUT);
    buf_u8(&b, 0);
    assert_int_equal(msg_job_decode(slice_skip(buf_slice(&b), MSG_HEAD_BYTES), &got, NULL),
                     RC_BAD_INPUT);
    buf_cleanup(&b);
}

static bool job_is_taken(const struct msg_job *m)
{
    struct msg_job got;
    struct buf b;

    encode_job(&b, m);
    enum rc rc = msg_job_decode(body_of(&b, MSG_JOB), &got, NULL);
    buf_cleanup(&b);
    return rc == RC_OK;
}

static void a_job_beyond_a_limit_is_refused(void **state)
{
    struct msg_job good = full_job(), m;

    assert_true(job_is_taken(&good));
    m = good, m.segment_bytes = MSG_MAX_SEGMENT + 1;
    assert_false(job_is_taken(&m));
    m = good, m.duration_ms = MSG_MAX_DURATION_MS + 1;
    assert_false(job_is_taken(&m));
    m = good, m.duration_ms = -1;
    assert_false(job_is_taken(&m));
    m = good, m.clip_from_ms = -1;
    assert_false(job_is_taken(&m));
    m = good, m.profiles[3].width = MSG_MAX_SIDE + 1;
    assert_false(job_is_taken(&m));
    m = good, m.profiles[3].bitrate = -1;
    assert_false(job_is_taken(&m));
    m = good, m.profiles[3].container = (enum container)2;
    assert_false(job_is_taken(&m));
    m = good, m.profiles[3].encoder = (enum video_encoder)4;
    assert_false(job_is_taken(&m));
}

static void a_child_cannot_say_more_than_it_may(void **state)
{
    struct msg_rendition m = {.index = MSG_MAX_RENDITIONS - 1,
                              .width = 426,
                              .height = 240,
                              .frames = 60,
                              .pixels = 6134400,
                              .bytes = MSG_MAX_SEGMENT},
                         got;
    struct buf b;

    buf_init(&b, 128);
    msg_rendition_encode(&b, &m);
    assert_int_equal(msg_rendition_decode(body_of(&b, MSG_RENDITION), &got, NULL), RC_OK);
    assert_int_equal(got.pixels, 6134400);

    m.index++;
    buf_clear(&b);
    msg_rendition_encode(&b, &m);
    assert_int_equal(msg_rendition_decode(body_of(&b, MSG_RENDITION), &got, NULL), RC_BAD_INPUT);

    m.index = 0, m.bytes = UINT64_MAX;
    buf_clear(&b);
    msg_rendition_encode(&b, &m);
    assert_int_equal(msg_rendition_decode(body_of(&b, MSG_RENDITION), &got, NULL), RC_BAD_INPUT);

    m.bytes = 1, m.frames = -1;
    buf_clear(&b);
    msg_rendition_encode(&b, &m);
    assert_int_equal(msg_rendition_decode(body_of(&b, MSG_RENDITION), &got, NULL), RC_BAD_INPUT);
    buf_cleanup(&b);
}

static void the_end_of_a_job_carries_both_texts(void **state)
{
    struct msg_done m = {.rc = RC_BAD_INPUT, .decoded_pixels = 99}, got;
    struct buf b;

    memset(m.text, 't', MSG_MAX_TEXT);
    memset(m.detail, 'd', MSG_MAX_TEXT);
    buf_init(&b, MSG_MAX_BODY);
    msg_done_encode(&b, &m);
    assert_int_equal(msg_done_decode(body_of(&b, MSG_DONE), &got, NULL), RC_OK);
    assert_int_equal(got.rc, RC_BAD_INPUT);
    assert_int_equal(got.decoded_pixels, 99);
    assert_string_equal(got.text, m.text);
    assert_string_equal(got.detail, m.detail);

    b.p[MSG_HEAD_BYTES] = RC_COUNT;
    assert_int_equal(msg_done_decode(body_of(&b, MSG_DONE), &got, NULL), RC_BAD_INPUT);
    buf_cleanup(&b);
}

static void control_messages_come_back(void **state)
{
    struct msg_open open = {7, 768 << 20, "stream"}, got_open;
    struct msg_opened opened = {7, -11}, got_opened;
    struct msg_died died = {1234, 139}, got_died;
    struct msg_budget budget = {1234, 9}, got_budget;
    struct buf b;

    buf_init(&b, 256);
    msg_open_encode(&b, &open);
    assert_int_equal(msg_open_decode(body_of(&b, MSG_OPEN), &got_open, NULL), RC_OK);
    assert_string_equal(got_open.id, "stream");
    assert_int_equal(got_open.memory_limit_bytes, 768 << 20);
    buf_clear(&b);
    msg_opened_encode(&b, &opened);
    assert_int_equal(msg_opened_decode(body_of(&b, MSG_OPENED), &got_opened, NULL), RC_OK);
    assert_int_equal(got_opened.pid, -11);
    buf_clear(&b);
    msg_died_encode(&b, &died);
    assert_int_equal(msg_died_decode(body_of(&b, MSG_DIED), &got_died, NULL), RC_OK);
    assert_int_equal(got_died.status, 139);
    buf_clear(&b);
    msg_budget_encode(&b, &budget);
    assert_int_equal(msg_budget_decode(body_of(&b, MSG_BUDGET), &got_budget, NULL), RC_OK);
    assert_int_equal(got_budget.cpu_s, 9);
    buf_clear(&b);
    msg_ready_encode(&b);
    assert_int_equal(body_of(&b, MSG_READY).n, 0);
    buf_cleanup(&b);
}

static void a_head_that_is_none_is_refused(void **state)
{
    static const uint8_t bad[][MSG_HEAD_BYTES] = {{0, 0, 0, 0},
                                                  {9, 0, 0, 0},
                                                  {MSG_JOB, 0, 0x10, 1},
                                                  {MSG_JOB, 1, 0, 0},
                                                  {255, 255, 255, 255}};
    struct msg_head head;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(msg_head_decode(slice_of(bad[i], sizeof(bad[i])), &head, NULL),
                         RC_BAD_INPUT);
    assert_int_equal(msg_head_decode(slice_of(bad[0], 3), &head, NULL), RC_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_comes_back_whole),
        cmocka_unit_test(a_job_cut_anywhere_is_refused),
        cmocka_unit_test(a_job_beyond_a_limit_is_refused),
        cmocka_unit_test(a_child_cannot_say_more_than_it_may),
        cmocka_unit_test(the_end_of_a_job_carries_both_texts),
        cmocka_unit_test(control_messages_come_back),
        cmocka_unit_test(a_head_that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
