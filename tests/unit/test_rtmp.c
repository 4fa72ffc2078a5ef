/* media/rtmp: the server's side of whole conversations, without sockets and on a clock of the
 * test's own. Each runs whole and byte by byte. */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "rtmp_test.h"

static const size_t pieces[] = {SIZE_MAX, 1, 1000};

#define EACH_PIECE(piece)                                                                          \
    for (size_t i_ = 0, piece = pieces[0]; i_ < ARRAY_LEN(pieces);                                 \
         piece = ++i_ < ARRAY_LEN(pieces) ? pieces[i_] : 0)

#define CONNECTED                                                                                  \
    "5:002625a0\n6:002625a002\n"                                                                   \
    "_result(1) NetConnection.Connect.Success\n"
#define ASKED CONNECTED "_result(2)\n_result(3)\n_result(4)=1\n"
#define STARTED                                                                                    \
    ASKED "4:000000000001\n"                                                                       \
          "onFCPublish NetStream.Publish.Start\nonStatus NetStream.Publish.Start\n"

/* --- publishing --- */

static void obs_publishes(void **state)
{
    struct script s;
    struct buf meta;

    script_init(&s);
    say_publish(&s, "live", "demo");
    buf_init(&meta, 1000);
    amf_put_text(&meta, SLICE_LIT("@setDataFrame"));
    amf_put_text(&meta, SLICE_LIT("onMetaData"));
    amf_open_map(&meta, 1);
    put_text_member(&meta, "encoder", "obs-output module");
    amf_close(&meta);
    say_values(&s, RTMP_DATA, 1, &meta);
    say_headers(&s);
    say(&s, RTMP_VIDEO, 0, 1, "1701000021" IDR);
    say(&s, RTMP_AUDIO, 5, 1, "af01211004");
    say(&s, RTMP_VIDEO, 33, 1, "2701000000" SLICE);
    say_command(&s, 1, "FCUnpublish", 6, "demo", NULL);
    say_command(&s, 1, "deleteStream", 7, NULL, NULL);

    EACH_PIECE(piece)
    {
        struct fake f;

        fake_init(&f, ACCEPT);
        f.close_on_end = true; /* which changes nothing */
        fake_feed(&f, slice_sub(buf_slice(&s.bytes), 0, s.bytes.n - 80), piece);
        assert_string_equal(rtmp_session_encoder(f.session), "obs-output module");
        fake_feed(&f, slice_skip(buf_slice(&s.bytes), s.bytes.n - 80), piece);
        assert_log(&f, "publish live/demo?\nvideo 320x240\naudio 44100 Hz\nK0/33:8\na5/5:3\n"
                       "v33/33:7\nend goodbye.\nover\n");
        assert_said(&f, STARTED "onStatus NetStream.Unpublish.Success\n");
        assert_true(f.read_every_ms > 0);
        fake_cleanup(&f);
    }
    script_cleanup(&s);
}

/* FFmpeg's order, from the wire: 128-byte chunks, short headers, csid 8 for publish. */
static void ffmpeg_publishes(void **state)
{
    FILE *file = fopen("tests/vectors/rtmp/ffmpeg-publish.bin", "rb");
    uint8_t *bytes = malloc(1 << 16);
    size_t n;

    assert_non_null(file);
    n = fread(bytes, 1, 1 << 16, file);
    fclose(file);
    EACH_PIECE(piece)
    {
        struct fake f;

        fake_init(&f, ACCEPT);
        fake_feed(&f, slice_of(bytes, n), piece);
        assert_non_null(
            strstr(buf_cstr(&f.log), "publish live/tiny?\nvideo 64x64\naudio 8000 Hz\n"));
        assert_non_null(strstr(buf_cstr(&f.log), "v628/628:"));
        assert_non_null(strstr(buf_cstr(&f.log), "end goodbye.\nover\n"));
        fake_cleanup(&f);
    }
    free(bytes);
}

static void a_repeated_sequence_header_is_no_news(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say_headers(&s);
    say(&s, RTMP_VIDEO, 0, 1, "1701000000" IDR);
    say_headers(&s);
    say(&s, RTMP_VIDEO, 33, 1, "1701000000" IDR);
    say(&s, RTMP_VIDEO, 66, 1, "1700000000" AVCC_HD);
    say(&s, RTMP_VIDEO, 66, 1, "1701000000" IDR);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "publish live/demo?\nvideo 320x240\naudio 44100 Hz\nK0/0:8\nK33/33:8\n"
                   "video 1920x1080\nK66/66:8\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void aggregates_are_taken_apart(void **state)
{
    struct script s;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say_headers(&s);
    /* Two tags whose own clock starts at 5000; the message says 100. The last back pointer is
     * missing. */
    say(&s, RTMP_AGGREGATE, 100, 1,
        "0900000d00138800000000"
        "1701000000" IDR "00000018"
        "0800000500139200000000"
        "af01211004");
    /* Cut in its second tag: the first is taken. */
    say(&s, RTMP_AGGREGATE, 200, 1,
        "0800000500000000000000"
        "af01211004"
        "00000010"
        "0800000500000000000000"
        "af01");
    EACH_PIECE(piece)
    {
        struct fake f;

        fake_init(&f, ACCEPT);
        fake_feed(&f, buf_slice(&s.bytes), piece);
        assert_log(&f, "publish live/demo?\nvideo 320x240\naudio 44100 Hz\nK100/100:8\na110/110:3\n"
                       "a200/200:3\n");
        fake_cleanup(&f);
    }
    script_cleanup(&s);
}

/* Type 17 begins with a format byte, type 15 too; what follows is AMF0 all the same. */
static void amf3_envelopes_are_opened(void **state)
{
    struct script s;
    struct fake f;
    struct buf b;

    script_init(&s);
    say_hello(&s);
    say_connect(&s, "live", "rtmp://host/live");
    buf_init(&b, 1000);
    buf_u8(&b, 0);
    amf_put_text(&b, SLICE_LIT("createStream"));
    amf_put_number(&b, 2);
    buf_u8(&b, 0x11); /* AMF3 from here: null */
    buf_u8(&b, 1);
    say_values(&s, RTMP_COMMAND_AMF3, 0, &b);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_said(&f, CONNECTED "_result(2)=1\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void frames_without_their_header_are_left_out(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say(&s, RTMP_AUDIO, 0, 1, "af01211004");
    say(&s, RTMP_VIDEO, 0, 1, "1701000000" IDR);
    say_headers(&s);
    say(&s, RTMP_VIDEO, 10, 1, "1701000000" IDR);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "publish live/demo?\nvideo 320x240\naudio 44100 Hz\nK10/10:8\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void broken_frames_are_left_out_up_to_a_point(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say_headers(&s);
    for (int i = 0; i < RTMP_BAD_FRAMES_IN_A_ROW - 1; i++)
        say(&s, RTMP_VIDEO, 0, 1,
            "1701000000"
            "0000ffff65");
    say(&s, RTMP_VIDEO, 5, 1, "1701000000" IDR);
    for (int i = 0; i < RTMP_BAD_FRAMES_IN_A_ROW; i++)
        say(&s, RTMP_VIDEO, 6, 1,
            "1701000000"
            "0000ffff65");
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "publish live/demo?\nvideo 320x240\naudio 44100 Hz\nK5/5:8\nend cut\n"
                   "  100 broken frames in a row, the last video: a NAL unit is longer than its "
                   "frame of 5 bytes\nover\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void codecs_are_refused_by_name(void **state)
{
    static const struct {
        uint8_t type;
        const char *body, *why;
    } cases[] = {
        {RTMP_VIDEO, "9068766331aabb",
         "  codec 'hvc1' is not supported; send video as H.264 (avc1)"},
        {RTMP_VIDEO, "1caabb",
         "  video codec 12 (HEVC) is not supported; send video as H.264 (avc1)"},
        {RTMP_AUDIO, "2faabb", "  audio codec 2 (MP3) is not supported; send audio as AAC (mp4a)"},
        {RTMP_VIDEO, "17000000000164", "  sequence header of the video: "},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script s;
        struct fake f;

        script_init(&s);
        say_publish(&s, "live", "demo");
        say(&s, cases[i].type, 0, 1, cases[i].body);
        fake_init(&f, ACCEPT);
        fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
        assert_non_null(strstr(buf_cstr(&f.log), "publish live/demo?\nend cut\n"));
        assert_non_null(strstr(buf_cstr(&f.log), cases[i].why));
        assert_said(&f, STARTED "onStatus NetStream.Publish.Failed\n");
        fake_cleanup(&f);
        script_cleanup(&s);
    }
}

/* --- the owner's answer --- */

/* A client that does not wait loses nothing of what it sent on. */
static void what_comes_before_the_answer_is_kept(void **state)
{
    struct script s;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say_headers(&s);
    say(&s, RTMP_VIDEO, 0, 1, "1701000000" IDR);
    EACH_PIECE(piece)
    {
        struct fake f;

        fake_init(&f, LATER);
        fake_feed(&f, buf_slice(&s.bytes), piece);
        assert_log(&f, "publish live/demo?\n");
        assert_int_equal(f.wakes, 0);
        fake_accept(&f);
        assert_log(&f, "publish live/demo?\n"); /* nothing from inside the call */
        assert_int_equal(f.wakes, 1);
        rtmp_session_resume(f.session);
        assert_log(&f, "publish live/demo?\nvideo 320x240\naudio 44100 Hz\nK0/0:8\n");
        fake_cleanup(&f);
    }
    script_cleanup(&s);
}

static void reading_stops_when_too_much_comes_before_the_answer(void **state)
{
    struct script s;
    struct fake f;
    uint8_t *more = calloc(1, STREAM_READ_MAX);

    script_init(&s);
    say_publish(&s, "live", "demo");
    fake_init(&f, LATER);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    for (int i = 0; i < RTMP_HELD_BYTES / STREAM_READ_MAX; i++)
        fake_feed(&f, slice_of(more, STREAM_READ_MAX), SIZE_MAX);
    assert_int_equal(f.paused, 0);
    fake_feed(&f, slice_of(more, 1000), SIZE_MAX);
    assert_int_equal(f.paused, 1);
    fake_accept(&f);
    rtmp_session_resume(f.session); /* zeros: a chunk on a stream without a header */
    assert_int_equal(f.paused, 0);
    fake_cleanup(&f);

    /* A host that goes on all the same meets a limit. */
    fake_init(&f, LATER);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    for (int i = 0; i < 6 && f.session; i++)
        fake_feed(&f, slice_of(more, STREAM_READ_MAX), SIZE_MAX);
    assert_null(f.session);
    fake_cleanup(&f);
    script_cleanup(&s);
    free(more);
}

static void a_refusal_is_told(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say_headers(&s);
    fake_init(&f, REFUSE);
    f.watch_gone = true; /* not called: the owner knows */
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "publish live/demo?\nover\n");
    assert_said(&f, ASKED "onStatus NetStream.Publish.Unauthorized\n");
    fake_cleanup(&f);

    fake_init(&f, LATER);
    fake_feed(&f, buf_slice(&s.bytes), 7);
    rtmp_refuse(f.session, "NetStream.Publish.BadName", "in use");
    assert_log(&f, "publish live/demo?\nover\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void a_peer_that_leaves_before_the_answer(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    fake_init(&f, LATER);
    f.watch_gone = true;
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    rtmp_session_hangup(f.session, NULL);
    assert_log(&f, "publish live/demo?\ngone\nover\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void owner_closes(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say_headers(&s);
    say(&s, RTMP_VIDEO, 0, 1, "1701000000" IDR);
    say(&s, RTMP_VIDEO, 0, 1, "1701000000" IDR);
    fake_init(&f, ACCEPT);
    f.close_on_frame = true; /* from inside a callback; on_end is not called, no frame follows */
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "publish live/demo?\nvideo 320x240\naudio 44100 Hz\nK0/0:8\nover\n");
    assert_said(&f, STARTED "onStatus NetStream.Publish.Failed\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void the_node_stops(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    rtmp_session_stop(f.session);
    assert_log(&f, "publish live/demo?\nend cut\n  the RTMP server stops\nover\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

/* --- commands --- */

static void unknown_commands_do_no_harm(void **state)
{
    static const char *const silent[] = {"_checkbw",     "getStreamLength", "FCSubscribe",
                                         "receiveAudio", "receiveVideo",    "pause",
                                         "seek",         "deleteStream",    "FCUnpublish"};
    struct script s;
    struct fake f;

    script_init(&s);
    say_hello(&s);
    say_command(&s, 0, "publish", 9, "too early", "live"); /* before connect: nothing */
    say_connect(&s, "live", "rtmp://host/live");
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        say_command(&s, 0, silent[i], 7, NULL, NULL);
    say_command(&s, 0, "frobnicate", 8, NULL, NULL);
    say_command(&s, 0, "frobnicate", 0, NULL, NULL);
    say_command(&s, 0, "connect", 9, NULL, NULL);
    say(&s, RTMP_COMMAND, 0, 0, "ff"); /* no AMF */
    say(&s, RTMP_COMMAND, 0, 0, "");
    say(&s, RTMP_DATA, 0, 0, "0200034142");
    say(&s, 19, 0, 0, "00"); /* shared object */
    say(&s, 99, 0, 0, "00");
    say_command(&s, 0, "createStream", 10, NULL, NULL);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_said(&f, CONNECTED "_error(8) NetConnection.Call.Failed\n"
                              "_error(9) NetConnection.Call.Failed\n_result(10)=1\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void deleting_another_stream_is_no_goodbye(void **state)
{
    struct script s;
    struct fake f;
    struct buf b;

    script_init(&s);
    say_publish(&s, "live", "demo");
    values_begin(&b, "deleteStream", 7);
    amf_put_null(&b);
    amf_put_number(&b, 2);
    say_values(&s, RTMP_COMMAND, 0, &b);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "publish live/demo?\n");
    say_command(&s, 1, "closeStream", 0, NULL, NULL);
    fake_feed(&f, slice_skip(buf_slice(&s.bytes), f.session->bytes_in), SIZE_MAX);
    assert_log(&f, "publish live/demo?\nend goodbye.\nover\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void enhanced_clients_hear_what_we_can(void **state)
{
    static const struct {
        const char *key;
        bool wants;
    } cases[] = {{"fourCcList", true},
                 {"videoFourCcInfoMap", true},
                 {"capsEx", true},
                 {"videoCodecs", false}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script s;
        struct fake f;
        struct buf b;

        script_init(&s);
        say_hello(&s);
        values_begin(&b, "connect", 1);
        amf_open_map(&b, 0); /* an ECMA array does as well */
        put_text_member(&b, "app", "live");
        amf_put_key(&b, cases[i].key);
        amf_put_number(&b, 1);
        amf_close(&b);
        say_values(&s, RTMP_COMMAND, 0, &b);
        fake_init(&f, ACCEPT);
        fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
        assert_int_equal(memmem(f.out.p, f.out.n, "fourCcList", 10) != NULL, cases[i].wants);
        assert_int_equal(memmem(f.out.p, f.out.n, "avc1", 4) != NULL, cases[i].wants);
        assert_said(&f, CONNECTED);
        fake_cleanup(&f);
        script_cleanup(&s);
    }
}

static void control_messages(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_hello(&s);
    say_connect(&s, "live", "rtmp://host/live");
    say(&s, RTMP_USER_CONTROL, 0, 0, "0006deadbeef");         /* ping: answered */
    say(&s, RTMP_USER_CONTROL, 0, 0, "000300000001000003e8"); /* buffer length: ignored */
    say(&s, RTMP_USER_CONTROL, 0, 0, "0020aabb");             /* undocumented */
    say(&s, RTMP_USER_CONTROL, 0, 0, "0006de");               /* cut short */
    say(&s, RTMP_PEER_BANDWIDTH, 0, 0, "002625a002");         /* what we have: nothing to say */
    say(&s, RTMP_PEER_BANDWIDTH, 0, 0, "0001000002");
    say(&s, RTMP_ACK, 0, 0, "00001000");
    say(&s, RTMP_WINDOW_ACK_SIZE, 0, 0, "00");
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_said(&f, CONNECTED "4:0007deadbeef\n5:00010000\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void bytes_are_acknowledged(void **state)
{
    struct script s;
    struct fake f;
    char *words;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say(&s, RTMP_WINDOW_ACK_SIZE, 0, 0, "00002000"); /* 8192: an answer each 4096 */
    say_headers(&s);
    for (int i = 0; i < 1000; i++)
        say(&s, RTMP_VIDEO, 0, 1, "1701000000" IDR);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), 100);
    words = fake_said(&f);
    assert_non_null(strstr(words, "3:0000"));
    assert_true(s.bytes.n - f.session->acked < 4096);
    free(words);
    fake_cleanup(&f);

    /* A window of one byte does not make us answer each byte. */
    buf_clear(&s.bytes);
    say_publish(&s, "live", "demo");
    say(&s, RTMP_WINDOW_ACK_SIZE, 0, 0, "00000001");
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    buf_clear(&f.out);
    for (int i = 0; i < RTMP_MIN_WINDOW_BYTES / 2 / 12; i++)
        fake_feed(&f, SLICE_LIT("\x04\0\0\0\0\0\0\x08\1\0\0\0"), 1); /* empty audio */
    assert_true(f.out.n <= 2 * 16);
    fake_cleanup(&f);
    script_cleanup(&s);
}

/* --- the handshake --- */

static void server_key_digest(const uint8_t *packet, size_t at, uint8_t out[32], const char *key)
{
    uint8_t rest[HANDSHAKE_PACKET - 32];
    unsigned n = 32;

    memcpy(rest, packet, at);
    memcpy(rest + at, packet + at + 32, sizeof(rest) - at);
    HMAC(EVP_sha256(), key, (int)strlen(key), rest, sizeof(rest), out, &n);
}

static void digests_are_answered_with_digests(void **state)
{
    for (int scheme = 0; scheme < 2; scheme++) {
        uint8_t hello[HANDSHAKE_HELLO] = {3}, answer[HANDSHAKE_ANSWER], want[32];
        uint8_t *c1 = hello + 1, *s1 = answer + 1;
        size_t offset_at = scheme ? 772 : 8, base = scheme ? 776 : 12, at;

        for (int i = 0; i < HANDSHAKE_PACKET; i++)
            c1[i] = (uint8_t)(i * 31 + 7);
        at = base +
             (size_t)(c1[offset_at] + c1[offset_at + 1] + c1[offset_at + 2] + c1[offset_at + 3]) %
                 728;
        server_key_digest(c1, at, c1 + at, "Genuine Adobe Flash Player 001");
        assert_true(handshake_answer(hello, answer));
        assert_int_equal(answer[0], 3);
        assert_memory_equal(s1 + 4, "\0\0\0\0", 4); /* no version: nobody checks unless it can */
        at = base +
             (size_t)(s1[offset_at] + s1[offset_at + 1] + s1[offset_at + 2] + s1[offset_at + 3]) %
                 728;
        server_key_digest(s1, at, want, "Genuine Adobe Flash Media Server 001");
        assert_memory_equal(s1 + at, want, 32);

        c1[100] ^= 1; /* no longer valid, or the digest's own place: then the echo */
        if (!handshake_answer(hello, answer))
            assert_memory_equal(answer + 1 + HANDSHAKE_PACKET, c1, HANDSHAKE_PACKET);
        else
            fail();
    }
}

static void others_are_answered_with_the_echo(void **state)
{
    uint8_t hello[HANDSHAKE_HELLO], answer[HANDSHAKE_ANSWER];

    handshake_hello(hello);
    assert_false(handshake_answer(hello, answer));
    assert_memory_equal(answer + 1 + HANDSHAKE_PACKET, hello + 1, HANDSHAKE_PACKET);
    hello[5] = 9; /* a version that promises a digest, and none: as some encoders do */
    assert_false(handshake_answer(hello, answer));
    assert_memory_equal(answer + 1 + HANDSHAKE_PACKET, hello + 1, HANDSHAKE_PACKET);
}

static void strangers_on_the_port(void **state)
{
    static const struct {
        const char *bytes, *log;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", "over: not RTMP: the first byte is 0x47, as HTTP begins\n"},
        {"\x16\x03\x01", "over: not RTMP: the first byte is 0x16, as TLS begins; this port speaks "
                         "RTMP without TLS\n"},
        {"\xff\xff", "over: not RTMP: the first byte is 0xff\n"},
        {"\x06", "over: RTMPE (version 6) is obsolete and refused; use RTMPS\n"},
        {"\x03 and then nothing", ""},
        {"\x1f", ""}, /* told that ours is 3 */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fake f;

        fake_init(&f, ACCEPT);
        fake_feed(&f, slice_str(cases[i].bytes), SIZE_MAX);
        assert_log(&f, cases[i].log);
        assert_int_equal(f.out.n, 0);
        fake_cleanup(&f);
    }
}

static void s0_s1_s2_come_with_the_last_byte_of_c1(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_hello(&s);
    fake_init(&f, ACCEPT);
    fake_feed(&f, slice_sub(buf_slice(&s.bytes), 0, HANDSHAKE_HELLO - 1), 100);
    assert_int_equal(f.out.n, 0);
    fake_feed(&f, slice_sub(buf_slice(&s.bytes), HANDSHAKE_HELLO - 1, 1), 1);
    assert_int_equal(f.out.n, HANDSHAKE_ANSWER);
    fake_cleanup(&f);
    script_cleanup(&s);
}

/* --- limits --- */

static void too_many_commands_in_a_second(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_hello(&s);
    say_connect(&s, "live", "rtmp://host/live");
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    buf_clear(&s.bytes);
    for (int i = 0; i < RTMP_COMMANDS_PER_SECOND - 1; i++)
        say(&s, RTMP_USER_CONTROL, 0, 0, "000600000001");
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX); /* with connect, exactly as many as may be */
    assert_non_null(f.session);
    f.now_ms += 1000;
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX); /* a new second */
    assert_non_null(f.session);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "over: more than 100 RTMP commands in a second\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void a_peer_that_does_not_read(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    fake_init(&f, ACCEPT);
    f.queued = RTMP_UNREAD_BYTES;
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_non_null(f.session);
    f.queued++;
    fake_feed(&f, SLICE_LIT("\x04"), SIZE_MAX);
    assert_log(&f, "publish live/demo?\nend cut\n  the peer does not read: 1048577 bytes wait for "
                   "it, at most 1048576 may\nover\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void a_chunk_violation_ends_with_its_sentence(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    buf_add(&s.bytes, "\x04\0\0\0\x90\0\0\x09\1\0\0\0", 12); /* a message of 9 MiB */
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "publish live/demo?\nend cut\n  RTMP message of type 9 has 9437184 bytes, at "
                   "most 8388672 are taken\nover\n");
    assert_said(&f, STARTED "onStatus NetStream.Publish.Failed\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void a_connect_that_is_none(void **state)
{
    struct script s;
    struct fake f;
    struct buf b;

    script_init(&s);
    say_hello(&s);
    say_command(&s, 0, "connect", 1, NULL, NULL);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "over: connect without an AMF0 object\n");
    fake_cleanup(&f);

    buf_clear(&s.bytes);
    say_hello(&s);
    values_begin(&b, "connect", 1);
    amf_open_object(&b);
    amf_put_key(&b, "app");
    amf_put_text(&b, SLICE_LIT("li\0ve"));
    amf_close(&b);
    say_values(&s, RTMP_COMMAND, 0, &b);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "over: app or tcUrl with control bytes or above 1023 bytes\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

/* --- deadlines --- */

/* Lets time pass as the host's timer would. */
static void pass(struct fake *f, int64_t ms)
{
    int64_t until = f->now_ms + ms;

    while (f->session && f->due_ms <= until) {
        int64_t next;

        f->now_ms = f->due_ms;
        next = rtmp_session_tick(f->session);
        assert_int_equal(next == 0, f->session == NULL);
        assert_true(next <= RTMP_TICK_MS);
        f->due_ms += next;
    }
    f->now_ms = until;
}

static void every_wait_ends(void **state)
{
    enum { NOTHING, C0, C1, C2, CONNECT, CREATE, PUBLISH, HEADERS };
    static const struct {
        int upto;
        int64_t ms;
        const char *log;
    } cases[] = {
        {NOTHING, 5000, "over: the RTMP handshake did not come within 5 s\n"},
        {C0, 5000, "over: the RTMP handshake did not come within 5 s\n"},
        {C1, 5000, "over: the end of the RTMP handshake did not come within 5 s\n"},
        {C2, 5000, "over: the command connect did not come within 5 s\n"},
        {CONNECT, 5000, "over: the command publish or play did not come within 5 s\n"},
        {CREATE, 5000, "over: the command publish or play did not come within 5 s\n"},
        {PUBLISH, 15000,
         "publish live/demo?\nend cut\n  the first frame of H.264 or AAC did not come "
         "within 15 s\nover\n"},
        {HEADERS, 15000,
         "publish live/demo?\nvideo 320x240\naudio 44100 Hz\nend cut\n  the first "
         "frame of H.264 or AAC did not come within 15 s\nover\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script s;
        struct fake f;
        struct slice in;

        script_init(&s);
        say_hello(&s);
        if (cases[i].upto >= CONNECT)
            say_connect(&s, "live", "rtmp://host/live");
        if (cases[i].upto >= CREATE)
            say_command(&s, 0, "createStream", 2, NULL, NULL);
        if (cases[i].upto >= PUBLISH)
            say_command(&s, 1, "publish", 3, "demo", "live");
        if (cases[i].upto >= HEADERS)
            say_headers(&s);
        in = buf_slice(&s.bytes);
        if (cases[i].upto < C2)
            in.n = cases[i].upto == NOTHING ? 0 : cases[i].upto == C0 ? 1 : HANDSHAKE_HELLO;
        fake_init(&f, ACCEPT);
        fake_feed(&f, in, SIZE_MAX);
        pass(&f, cases[i].ms - 1);
        assert_non_null(f.session);
        pass(&f, 1);
        assert_null(f.session);
        assert_log(&f, cases[i].log);
        fake_cleanup(&f);
        script_cleanup(&s);
    }
}

static void dripping_does_not_stretch_the_handshake(void **state)
{
    struct fake f;

    fake_init(&f, ACCEPT);
    fake_feed(&f, SLICE_LIT("\3"), SIZE_MAX);
    for (int i = 0; i < 60 && f.session; i++) {
        pass(&f, 100);
        fake_feed(&f, SLICE_LIT("x"), SIZE_MAX);
    }
    assert_log(&f, "over: the RTMP handshake did not come within 5 s\n");
    fake_cleanup(&f);
}

static void the_answer_has_no_deadline_of_ours(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "demo");
    fake_init(&f, LATER);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    pass(&f, 60000);
    assert_non_null(f.session);
    fake_accept(&f); /* and the first frame's deadline begins only now */
    pass(&f, 14999);
    assert_non_null(f.session);
    pass(&f, 1);
    assert_null(f.session);
    fake_cleanup(&f);
    script_cleanup(&s);
}

static void silence_is_pinged_and_ends(void **state)
{
    struct script s;
    struct fake f;
    char *words;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say_headers(&s);
    say(&s, RTMP_VIDEO, 0, 1, "1701000000" IDR);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    pass(&f, 4999);
    assert_said(&f, STARTED);
    pass(&f, 1);
    words = fake_said(&f);
    assert_non_null(strstr(words, "4:0006"));
    free(words);
    pass(&f, 20000);
    say(&s, RTMP_USER_CONTROL, 0, 0, "000700000000"); /* still there */
    fake_feed(&f, slice_skip(buf_slice(&s.bytes), f.session->bytes_in), SIZE_MAX);
    pass(&f, 29999);
    assert_non_null(f.session);
    pass(&f, 1);
    assert_log(&f, "publish live/demo?\nvideo 320x240\naudio 44100 Hz\nK0/0:8\nend cut\n"
                   "  nothing came for 30 s, not even an answer to pings\nover\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

/* --- what the peer asked for --- */

static void targets(void **state)
{
    static const struct {
        const char *app, *tc_url, *name, *path, *query; /* path NULL: refused */
    } cases[] = {
        {"live", "rtmp://h/live", "demo", "live/demo", ""},
        {"live", "rtmp://h/live", "demo/key", "live/demo/key", ""},
        {"live/demo", "rtmp://h/live/demo", "", "live/demo", ""},
        {"/live//", "", "//demo/", "live/demo", ""},
        {"", "rtmp://h", "", "", ""},
        {"live", "", "a%20b%2Fc", "live/a b/c", ""},
        {"live", "", "100%2525", "live/100%25", ""}, /* once */
        {"live", "", "k\xc3\xa9y", "live/k\xc3\xa9y", ""},
        {"live", "", "demo?user=u&pass=p", "live/demo", "user=u&pass=p"},
        {"live?x=1", "rtmp://h/live?x=1", "demo", "live/demo", "x=1"},
        {"live?x=1", "rtmp://h/live?x=1&y=2", "demo?x=0&z=3", "live/demo", "x=0&z=3&y=2"},
        {"live", "rtmp://h/live?vhost=v", "demo", "live/demo", "vhost=v"},
        {"live", "", "demo?a=%00%41", "live/demo", "a=%00%41"}, /* left encoded */
        {"live", "", "demo?&&a=1&", "live/demo", "a=1"},
        {"live", "", "../etc", NULL, NULL},
        {"live", "", "a/%2e%2E/b", NULL, NULL},
        {"..", "", "a", NULL, NULL},
        {"live", "", "a%00b", NULL, NULL},
        {"live", "", "a%0ab", NULL, NULL},
        {"live", "", "a\nb", NULL, NULL},
        {"live", "", "demo?a=\n", NULL, NULL},
        {"live", "", "a%zz", NULL, NULL},
        {"live", "", "a%4", NULL, NULL},
        {"live", "", "a\xff", NULL, NULL},
        {"live", "", "a%ff", NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rtmp_target t;
        struct err err;
        enum rc rc = rtmp_target_make(cases[i].app, cases[i].tc_url, slice_str(cases[i].name), &t,
                                      &err);

        print_message("%s + %s\n", cases[i].app, cases[i].name);
        assert_int_equal(rc == RC_OK, cases[i].path != NULL);
        if (rc == RC_OK) {
            assert_string_equal(t.path, cases[i].path);
            assert_string_equal(t.query, cases[i].query);
            assert_string_equal(t.tc_url, cases[i].tc_url);
        } else {
            assert_null(strstr(err.text, "etc")); /* names are secrets */
        }
    }
}

static void long_targets(void **state)
{
    static const struct {
        size_t name, query;
        bool fits;
    } cases[] = {{506, 0, true},   {507, 0, false}, {1023, 0, false},
                 {1024, 0, false}, {1, 1020, true}, {500, 2000, false}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rtmp_target t;
        struct buf name;
        struct err err;
        enum rc rc;

        buf_init(&name, 8192);
        for (size_t k = 0; k < cases[i].name; k++)
            buf_u8(&name, 'n');
        for (size_t k = 0; k < cases[i].query; k++)
            buf_u8(&name, k ? 'q' : '?');
        rc = rtmp_target_make("live", "", buf_slice(&name), &t, &err);
        assert_int_equal(rc == RC_OK, cases[i].fits);
        buf_cleanup(&name);
    }
}

static void a_bad_name_is_refused_without_asking(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_publish(&s, "live", "../secret");
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(&f, "over: stream path with '..'\n");
    assert_said(&f, ASKED "onStatus NetStream.Publish.BadName\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

/* --- how often a publisher is read --- */

static void video_comes(struct fake *f, int64_t at_ms, const char *tag)
{
    struct script s;

    f->now_ms = 1000000 + at_ms;
    script_init(&s);
    say(&s, RTMP_VIDEO, 0, 1, tag);
    fake_feed(f, buf_slice(&s.bytes), SIZE_MAX);
    script_cleanup(&s);
}

#define KEY_COMES(f, at_ms) video_comes(f, at_ms, "1701000000" IDR)
#define OTHER_COMES(f, at_ms) video_comes(f, at_ms, "2701000000" SLICE)

static void start_video(struct fake *f)
{
    struct script s;

    script_init(&s);
    say_publish(&s, "live", "demo");
    say(&s, RTMP_VIDEO, 0, 1, "1700000000" AVCC_25);
    fake_init(f, ACCEPT);
    fake_feed(f, buf_slice(&s.bytes), SIZE_MAX);
    script_cleanup(&s);
}

static void reads_follow_the_key_frames(void **state)
{
    struct fake f;
    int unsure;

    (void)state;
    start_video(&f);
    KEY_COMES(&f, 0);
    unsure = f.read_every_ms;
    assert_in_range(unsure, 1, 10);
    KEY_COMES(&f, 2000);
    assert_int_equal(f.read_every_ms, unsure);
    KEY_COMES(&f, 4010); /* two intervals agree */
    assert_true(f.read_every_ms > unsure);
    OTHER_COMES(&f, 5800);
    assert_true(f.read_every_ms > unsure);
    OTHER_COMES(&f, 5990); /* one is due */
    assert_int_equal(f.read_every_ms, 0);
    OTHER_COMES(&f, 6500); /* and stays away */
    assert_int_equal(f.read_every_ms, unsure);
    KEY_COMES(&f, 7000);
    assert_int_equal(f.read_every_ms, unsure);
    fake_cleanup(&f);
}

static void much_at_once_is_read_sooner(void **state)
{
    struct rtmp_rhythm r = {0};

    (void)state;
    for (int i = 0; i < 3; i++)
        rtmp_rhythm_key(&r, 1000000 + 2000 * i);
    int rarely = rtmp_rhythm_read_every(&r, 1004100, 20000);
    assert_true(rtmp_rhythm_read_every(&r, 1004200, 65536) < rarely);
    assert_int_equal(rtmp_rhythm_read_every(&r, 1004300, 20000), rarely);
    assert_true(rtmp_rhythm_read_every(&r, 1004300, 30000) < rarely); /* of the same look */
}

/* --- playback --- */

#define PLAYS                                                                                      \
    CONNECTED "_result(2)=1\n4:000000000001\n"                                                     \
              "onStatus NetStream.Play.Reset\nonStatus NetStream.Play.Start\n"

static void send(struct fake *f, enum track_kind kind, bool key, int64_t dts, int64_t pts)
{
    struct blob *data = from_hex(IDR);
    const struct frame frame = {.kind = kind, .key = key, .dts = dts, .pts = pts, .data = data};

    rtmp_send_frame(f->session, &frame);
    blob_unref(&data);
}

static void start_player(struct fake *f)
{
    struct script s;

    script_init(&s);
    say_play(&s, "live", "demo");
    fake_init(f, ACCEPT);
    fake_feed(f, buf_slice(&s.bytes), SIZE_MAX);
    assert_log(f, "play live/demo?\n");
    assert_int_equal(f->read_every_ms, 0);
    script_cleanup(&s);
}

static void send_audio_track(struct fake *f)
{
    struct blob *asc = from_hex(ASC);
    const struct track audio = {
        .codec = CODEC_AAC, .config = asc, .sample_rate = 44100, .channels = 2};

    rtmp_send_track(f->session, TRACK_AUDIO, &audio);
    blob_unref(&asc);
}

static void send_video_track(struct fake *f, const char *avcc)
{
    struct track video = track_of(avcc);

    rtmp_send_track(f->session, TRACK_VIDEO, &video);
    track_cleanup(&video);
}

static void a_player_starts_at_a_key_frame(void **state)
{
    struct fake f;

    start_player(&f);
    send(&f, TRACK_VIDEO, true, 0, 0); /* no track yet */
    send_video_track(&f, AVCC_25);
    send_audio_track(&f);
    send(&f, TRACK_VIDEO, false, 90000, 90000);
    send(&f, TRACK_AUDIO, true, 90000, 90000);
    assert_said(&f, PLAYS);
    send(&f, TRACK_VIDEO, true, 93000, 99000);
    send(&f, TRACK_AUDIO, true, 92000, 92000); /* from before the picture */
    send(&f, TRACK_AUDIO, true, 93900, 93900);
    send(&f, TRACK_VIDEO, false, 96000, 93000);
    assert_said(&f, PLAYS "onMetaData\nvideo@0:1700000000+40\nvideo@0:1701000043+8\n"
                          "audio@10:af00+5\naudio@10:af01+8\n"
                          "video@33:2701ffffdf+8\n");
    /* A new track is told with its next key frame. */
    send_video_track(&f, AVCC_HD);
    send(&f, TRACK_VIDEO, false, 99000, 99000);
    send(&f, TRACK_VIDEO, true, 102000, 102000);
    assert_said(&f, PLAYS "onMetaData\nvideo@0:1700000000+40\nvideo@0:1701000043+8\n"
                          "audio@10:af00+5\naudio@10:af01+8\n"
                          "video@33:2701ffffdf+8\n"
                          "video@100:1700000000+39\nvideo@100:1701000000+8\n");
    rtmp_session_writable(f.session);
    rtmp_session_close(f.session, "the stream has ended");
    assert_log(&f, "play live/demo?\nwritable\nover\n");
    fake_cleanup(&f);
}

static void audio_alone_starts_at_once(void **state)
{
    struct fake f;

    start_player(&f);
    send_audio_track(&f);
    send(&f, TRACK_AUDIO, true, 5000000, 5000000);
    send(&f, TRACK_AUDIO, true, 5002090, 5002090);
    assert_said(&f, PLAYS "onMetaData\naudio@0:af00+5\naudio@0:af01+8\naudio@23:af01+8\n");
    fake_cleanup(&f);
}

static void a_player_far_behind_is_closed_from_the_loop(void **state)
{
    struct fake f;

    start_player(&f);
    send_audio_track(&f);
    send(&f, TRACK_AUDIO, true, 0, 0);
    f.queued = RTMP_VIEWER_BEHIND_BYTES + 1;
    send(&f, TRACK_AUDIO, true, 2090, 2090);
    send(&f, TRACK_AUDIO, true, 4180, 4180);
    assert_log(&f, "play live/demo?\n"); /* not from inside the call */
    assert_int_equal(f.wakes, 1);
    rtmp_session_resume(f.session);
    assert_log(&f, "play live/demo?\nend cut\n  the player fell more than 8 MiB behind\n"
                   "over: the player fell more than 8 MiB behind\n");
    fake_cleanup(&f);
}

static void a_player_says_goodbye(void **state)
{
    struct script s;
    struct fake f;

    script_init(&s);
    say_play(&s, "live", "demo");
    say_command(&s, 1, "pause", 0, NULL, NULL);
    say(&s, RTMP_VIDEO, 0, 1, "1701000000" IDR); /* a player that sends media: ignored */
    say_command(&s, 1, "deleteStream", 0, NULL, NULL);
    fake_init(&f, ACCEPT);
    fake_feed(&f, buf_slice(&s.bytes), 1);
    assert_log(&f, "play live/demo?\nend goodbye.\nover\n");
    fake_cleanup(&f);
    script_cleanup(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(obs_publishes),
        cmocka_unit_test(ffmpeg_publishes),
        cmocka_unit_test(a_repeated_sequence_header_is_no_news),
        cmocka_unit_test(aggregates_are_taken_apart),
        cmocka_unit_test(amf3_envelopes_are_opened),
        cmocka_unit_test(frames_without_their_header_are_left_out),
        cmocka_unit_test(broken_frames_are_left_out_up_to_a_point),
        cmocka_unit_test(codecs_are_refused_by_name),
        cmocka_unit_test(what_comes_before_the_answer_is_kept),
        cmocka_unit_test(reading_stops_when_too_much_comes_before_the_answer),
        cmocka_unit_test(a_refusal_is_told),
        cmocka_unit_test(a_peer_that_leaves_before_the_answer),
        cmocka_unit_test(owner_closes),
        cmocka_unit_test(the_node_stops),
        cmocka_unit_test(unknown_commands_do_no_harm),
        cmocka_unit_test(deleting_another_stream_is_no_goodbye),
        cmocka_unit_test(enhanced_clients_hear_what_we_can),
        cmocka_unit_test(control_messages),
        cmocka_unit_test(bytes_are_acknowledged),
        cmocka_unit_test(digests_are_answered_with_digests),
        cmocka_unit_test(others_are_answered_with_the_echo),
        cmocka_unit_test(strangers_on_the_port),
        cmocka_unit_test(s0_s1_s2_come_with_the_last_byte_of_c1),
        cmocka_unit_test(too_many_commands_in_a_second),
        cmocka_unit_test(a_peer_that_does_not_read),
        cmocka_unit_test(a_chunk_violation_ends_with_its_sentence),
        cmocka_unit_test(a_connect_that_is_none),
        cmocka_unit_test(every_wait_ends),
        cmocka_unit_test(dripping_does_not_stretch_the_handshake),
        cmocka_unit_test(the_answer_has_no_deadline_of_ours),
        cmocka_unit_test(silence_is_pinged_and_ends),
        cmocka_unit_test(targets),
        cmocka_unit_test(long_targets),
        cmocka_unit_test(a_bad_name_is_refused_without_asking),
        cmocka_unit_test(reads_follow_the_key_frames),
        cmocka_unit_test(much_at_once_is_read_sooner),
        cmocka_unit_test(a_player_starts_at_a_key_frame),
        cmocka_unit_test(audio_alone_starts_at_once),
        cmocka_unit_test(a_player_far_behind_is_closed_from_the_loop),
        cmocka_unit_test(a_player_says_goodbye),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
