/* media/rtmp/chunk.c: what peers of all habits write, read whole and byte by byte; limits; and
 * our own chunks read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "media/rtmp/chunk.h"

/* --- bytes as text: "hex hex *N xx" repeats the byte xx N times --- */

static struct buf bytes_of(const char *text)
{
    struct buf b;
    unsigned v, times = 1;
    int used;

    buf_init(&b, 64 << 20);
    for (; *text; text += used) {
        used = 0;
        if (sscanf(text, " *%u%n", &times, &used) == 1 && used)
            continue;
        used = 0;
        if (sscanf(text, " %2x%n", &v, &used) != 1 || !used)
            break;
        while (times--)
            buf_u8(&b, (uint8_t)v);
        times = 1;
    }
    return b;
}

/* What was read, as "type@time/stream:length" with a checksum of nothing but the first and last
 * byte; an error ends it as "!" and its code. */
static char *read_all(struct slice in, size_t piece)
{
    struct chunk_reader r;
    struct rtmp_message m;
    struct buf log;
    enum rc rc = RC_NOT_FOUND;

    chunk_reader_init(&r);
    buf_init(&log, 1 << 16);
    while (in.n && (rc == RC_NOT_FOUND || rc == RC_OK)) {
        struct slice part = slice_sub(in, 0, piece);
        uint8_t *exact = malloc(part.n);

        memcpy(exact, part.p, part.n); /* so that ASan sees an overread */
        in = slice_skip(in, part.n);
        part.p = exact;
        while ((rc = chunk_read(&r, &part, &m, NULL)) == RC_OK) {
            buf_printf(&log, "%s%u@%u/%u:%zu", log.n ? " " : "", m.type, m.time_ms, m.stream_id,
                       m.body->n);
            if (m.body->n)
                buf_printf(&log, "[%02x..%02x]", m.body->p[0], m.body->p[m.body->n - 1]);
            blob_unref(&m.body);
        }
        free(exact);
    }
    if (rc != RC_NOT_FOUND)
        buf_printf(&log, "%s!%s", log.n ? " " : "", rc_name(rc));
    chunk_reader_cleanup(&r);
    buf_cstr(&log);
    return (char *)buf_take(&log, &(size_t){0});
}

static const struct {
    const char *name, *bytes, *messages;
} cases[] = {
    {"id in one byte", "03 000001 000002 14 01000000 aabb", "20@1/1:2[aa..bb]"},
    {"id 63", "3f 000001 000002 14 01000000 aabb", "20@1/1:2[aa..bb]"},
    {"id 64 in two bytes", "00 00 000001 000002 14 01000000 aabb", "20@1/1:2[aa..bb]"},
    {"id 319 in two bytes", "00 ff 000001 000002 14 01000000 aabb", "20@1/1:2[aa..bb]"},
    {"id 65599 in three bytes", "01 ff ff 000001 000002 14 01000000 aabb", "20@1/1:2[aa..bb]"},
    {"two and three bytes mean the same id",
     "00 10 000001 000002 14 01000000 aabb  41 10 00 000002 000001 14 cc",
     "20@1/1:2[aa..bb] 20@3/1:1[cc..cc]"},
    {"stream id is little-endian", "03 000000 000001 08 04030201 aa", "8@0/16909060:1[aa..aa]"},
    {"an empty message", "04 000005 000000 08 01000000", "8@5/1:0"},
    {"continued in bare chunks", "04 000000 000082 09 01000000 *128 aa c4 bbcc",
     "9@0/1:130[aa..cc]"},
    {"two streams interleaved",
     "04 000000 000081 09 01000000 *128 aa  05 000007 000001 08 01000000 bb  c4 cc",
     "8@7/1:1[bb..bb] 9@0/1:129[aa..cc]"},
    {"relative headers",
     "04 0003e8 000001 09 01000000 aa  44 000021 000002 09 bbbb  84 000022 cccc  c4 dddd",
     "9@1000/1:1[aa..aa] 9@1033/1:2[bb..bb] 9@1067/1:2[cc..cc] 9@1101/1:2[dd..dd]"},
    {"a bare chunk after a full one repeats its time as a delta",
     "04 000021 000001 09 01000000 aa  c4 bb  c4 cc",
     "9@33/1:1[aa..aa] 9@66/1:1[bb..bb] 9@99/1:1[cc..cc]"},
    {"... unless that were a jump: then it means the same time",
     "04 00c350 000001 09 01000000 aa  c4 bb", "9@50000/1:1[aa..aa] 9@50000/1:1[bb..bb]"},
    {"time wraps at 2^32", "04 ffffff 000001 09 01000000 fffffff0 aa  44 000020 000001 09 bb",
     "9@4294967280/1:1[aa..aa] 9@16/1:1[bb..bb]"},
    {"extended time, repeated in the continuation",
     "04 ffffff 000082 09 01000000 01000000 *128 aa  c4 01000000 bbcc", "9@16777216/1:130[aa..cc]"},
    {"extended time, left out of the continuation",
     "04 ffffff 000086 09 01000000 01000000 *128 aa  c4 bbccddeeff99", "9@16777216/1:134[aa..99]"},
    {"... with less than four bytes left, a message behind it",
     "04 ffffff 000082 09 01000000 01000000 *128 aa  c4 bbcc  05 000007 000001 08 01000000 dd",
     "9@16777216/1:130[aa..cc] 8@7/1:1[dd..dd]"},
    {"... and once known, without waiting for what is behind it",
     "04 ffffff 000086 09 01000000 01000000 *128 aa  c4 bbccddeeff99"
     "04 ffffff 000082 09 01000000 01000000 *128 aa  c4 bbcc",
     "9@16777216/1:134[aa..99] 9@16777216/1:130[aa..cc]"},
    {"extended delta, repeated as the time it led to",
     "04 000001 000001 09 01000000 aa  44 ffffff 000082 09 01000000 *128 bb  c4 01000001 ccdd",
     "9@1/1:1[aa..aa] 9@16777217/1:130[bb..dd]"},
    {"repeated in 31 bits", "04 ffffff 000082 09 01000000 81000000 *128 aa  c4 01000000 bbcc",
     "9@2164260864/1:130[aa..cc]"},
    {"a new header drops what is unfinished",
     "04 000000 000082 09 01000000 *128 aa  04 000001 000001 09 01000000 bb", "9@1/1:1[bb..bb]"},
    {"abort drops what is unfinished",
     "04 000000 000082 09 01000000 *128 aa  02 000000 000004 02 00000000 00000004  c4 *128 cc c4 "
     "dddd",
     "9@0/1:130[cc..dd]"},
    {"chunk size 1",
     "02 000000 000004 01 00000000 00000001  03 000000 000003 14 00000000 aa c3 bb c3 cc",
     "20@0/0:3[aa..cc]"},
    {"chunk size beyond any message",
     "02 000000 000004 01 00000000 7fffffff  03 000000 000800 14 00000000 *2048 aa",
     "20@0/0:2048[aa..aa]"},
    {"chunk size in the middle of a message",
     "04 000000 000103 09 01000000 *128 aa  02 000000 000004 01 00000000 00000100  c4 *131 bb",
     "9@0/1:259[aa..bb]"},
    {"a ping on a fresh stream 2 with a relative header", "42 000000 000006 04 000600000001",
     "4@0/0:6[00..01]"},

    {"chunk size 0", "02 000000 000004 01 00000000 00000000", "!bad input"},
    {"chunk size with the top bit", "02 000000 000004 01 00000000 80000001", "!bad input"},
    {"chunk size cut short", "02 000000 000002 01 00000000 0001", "!bad input"},
    {"a relative header on a fresh stream", "44 000000 000001 09 aa", "!bad input"},
    {"a bare chunk on a fresh stream", "c4 aa", "!bad input"},
    {"a message above 8 MiB", "04 000000 900000 09 01000000", "!over a limit"},
    {"a command above 64 KiB", "04 000000 010001 14 01000000", "!over a limit"},
};

static void test_reading(void **state)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 2, 3, 5, 7, 13, 127};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = bytes_of(cases[i].bytes);

        print_message("%s\n", cases[i].name);
        for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
            char *got = read_all(buf_slice(&b), pieces[k]);

            assert_string_equal(got, cases[i].messages);
            free(got);
        }
        buf_cleanup(&b);
    }
}

static enum rc feed(struct chunk_reader *r, struct buf b)
{
    struct slice in = buf_slice(&b);
    struct rtmp_message m;
    enum rc rc;

    while ((rc = chunk_read(r, &in, &m, NULL)) == RC_OK)
        blob_unref(&m.body);
    buf_cleanup(&b);
    return rc;
}

static void test_limit_of_streams(void **state)
{
    struct chunk_reader r;
    char text[64];
    enum rc rc = RC_NOT_FOUND;

    (void)state;
    chunk_reader_init(&r);
    for (unsigned id = 0; id < CHUNK_MAX_STREAMS; id++) {
        snprintf(text, sizeof(text), "00 %02x 000000 000001 08 01000000 aa", id);
        assert_int_equal(feed(&r, bytes_of(text)), RC_NOT_FOUND);
    }
    rc = feed(&r, bytes_of("00 f0 000000 000001 08 01000000 aa"));
    assert_int_equal(rc, RC_LIMIT);
    chunk_reader_cleanup(&r);
}

/* 64 unfinished messages of 8 MiB each would be half a gigabyte. */
static void test_limit_of_unfinished(void **state)
{
    struct chunk_reader r;
    char text[64];
    enum rc rc = RC_NOT_FOUND;
    unsigned id = 0;

    (void)state;
    chunk_reader_init(&r);
    assert_int_equal(feed(&r, bytes_of("02 000000 000004 01 00000000 00400000")), RC_NOT_FOUND);
    for (; id < 8 && rc == RC_NOT_FOUND; id++) {
        snprintf(text, sizeof(text), "00 %02x 000000 500000 09 01000000 *4194304 aa", id);
        rc = feed(&r, bytes_of(text));
    }
    assert_int_equal(rc, RC_LIMIT);
    assert_int_equal(id, 5); /* the fifth 4 MiB */
    chunk_reader_cleanup(&r);
}

static void test_memory_follows_bytes(void **state)
{
    struct chunk_reader r;

    (void)state;
    chunk_reader_init(&r);
    assert_int_equal(feed(&r, bytes_of("04 000000 7fffff 09 01000000 aabb")), RC_NOT_FOUND);
    assert_true(r.streams[0].partial.cap <= 16384);
    assert_int_equal(r.partial_bytes, 2);
    assert_int_equal(feed(&r, bytes_of("*126 aa 04 000000 000001 09 01000000 cc")), RC_NOT_FOUND);
    assert_int_equal(r.partial_bytes, 0); /* dropped and finished */
    chunk_reader_cleanup(&r);
}

/* --- writing --- */

static void to_buf(struct slice bytes, void *arg)
{
    buf_add_slice(arg, bytes);
}

static void blob_to_buf(struct blob *b, size_t from, size_t n, void *arg)
{
    assert_true(from + n <= b->n && n > 0);
    buf_add(arg, b->p + from, n);
}

static void check_written(size_t head_n, size_t body_n, uint32_t time_ms, uint32_t chunk_size)
{
    struct buf wire, whole;
    struct chunk_writer w = {{to_buf, blob_to_buf, &wire}, chunk_size};
    struct blob *body = body_n ? blob_new(body_n) : NULL;
    uint8_t *head = malloc(head_n + 1);
    struct chunk_reader r;
    struct rtmp_message m;
    struct slice in;

    buf_init(&wire, 64 << 20);
    buf_init(&whole, 64 << 20);
    for (size_t i = 0; i < head_n; i++)
        head[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < body_n; i++)
        blob_bytes(body)[i] = (uint8_t)(i * 13 + 1);
    buf_add(&whole, head, head_n);
    buf_add_slice(&whole, blob_slice(body));
    chunk_write(&w, &(struct chunk_to){LANE_VIDEO, RTMP_VIDEO, time_ms, 1}, slice_of(head, head_n),
                body);

    chunk_reader_init(&r);
    r.chunk_size = chunk_size;
    in = buf_slice(&wire);
    assert_int_equal(chunk_read(&r, &in, &m, NULL), RC_OK);
    assert_int_equal(in.n, 0);
    assert_int_equal(m.type, RTMP_VIDEO);
    assert_int_equal(m.time_ms, time_ms);
    assert_int_equal(m.stream_id, 1);
    assert_true(slice_eq(blob_slice(m.body), buf_slice(&whole)));
    blob_unref(&m.body);
    chunk_reader_cleanup(&r);
    blob_unref(&body);
    buf_cleanup(&wire);
    buf_cleanup(&whole);
    free(head);
}

static void test_writing(void **state)
{
    static const size_t heads[] = {0, 2, 5, 32, 33, 127, 128, 129, 700};
    static const size_t bodies[] = {0, 1, 123, 124, 128, 65531, 65532, 65536, 200000};
    static const uint32_t times[] = {0, 0xfffffe, 0xffffff, 0x1000000, UINT32_MAX};
    static const uint32_t sizes[] = {1, 128, 4096, 65536};

    (void)state;
    for (size_t h = 0; h < ARRAY_LEN(heads); h++)
        for (size_t b = 0; b < ARRAY_LEN(bodies); b++)
            for (size_t t = 0; t < ARRAY_LEN(times); t++)
                for (size_t s = bodies[b] > 10000 ? 2 : 0; s < ARRAY_LEN(sizes); s++)
                    check_written(heads[h], bodies[b], times[t], sizes[s]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_limit_of_streams),
        cmocka_unit_test(test_limit_of_unfinished),
        cmocka_unit_test(test_memory_follows_bytes),
        cmocka_unit_test(test_writing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
