#include "tests/unit/unit.h"

#include "base/reader.h"

static void reads_all_widths(void **state)
{
    static const uint8_t in[] = {1, 2, 3, 4, 5,    6,    7,    8,    9,    10,  11, 0xff,
                                 0, 0, 0, 0, 0x80, 0x44, 0x33, 0x22, 0x91, 'r', 's'};
    struct reader r = reader_of(slice_of(in, sizeof(in)));

    assert_int_equal(rd_peek_u8(&r), 1);
    assert_int_equal(rd_u8(&r), 1);
    assert_int_equal(rd_be16(&r), 0x0203);
    assert_int_equal(rd_be24(&r), 0x040506);
    assert_int_equal(rd_be32(&r), 0x0708090a);
    rd_skip(&r, 1);
    assert_int_equal(rd_bytes(&r, 1).p[0], 0xff);
    rd_skip(&r, 4);
    assert_int_equal(rd_u8(&r), 0x80);
    assert_int_equal(rd_le32(&r), 0x91223344);
    assert_slice(rd_rest(&r), "rs");
    assert_false(r.failed);
    assert_int_equal(r.left, 0);
    assert_int_equal(rd_rest(&r).n, 0);
    assert_false(r.failed);
    r = reader_of(slice_of(in, 8));
    assert_true(rd_be64(&r) == 0x0102030405060708 && !r.failed);
}

/* Each read, one byte short of what it needs: a zero, and nothing but zeros from then on. */
static void cut_short(void **state)
{
    static const uint8_t ones[8] = {255, 255, 255, 255, 255, 255, 255, 255};

    for (int what = 0; what < 9; what++) {
        static const size_t needs[] = {1, 2, 3, 4, 8, 4, 1, 5, 5};
        struct reader r = reader_of(slice_of(ones, needs[what] - 1));
        uint64_t got = 0;

        switch (what) {
        case 0:
            got = rd_u8(&r);
            break;
        case 1:
            got = rd_be16(&r);
            break;
        case 2:
            got = rd_be24(&r);
            break;
        case 3:
            got = rd_be32(&r);
            break;
        case 4:
            got = rd_be64(&r);
            break;
        case 5:
            got = rd_le32(&r);
            break;
        case 6:
            got = rd_peek_u8(&r);
            break;
        case 7:
            got = rd_bytes(&r, 5).n;
            break;
        case 8:
            rd_skip(&r, 5);
            break;
        }
        assert_true(r.failed);
        assert_int_equal(got, 0);
        assert_int_equal(r.left, 0); /* so that `while (r.left)` ends */
        assert_int_equal(rd_u8(&r), 0);
        assert_int_equal(rd_rest(&r).n, 0);
        assert_int_equal(rd_bytes(&r, 0).n, 0);
        assert_true(r.failed);
    }
}

static void hostile_lengths(void **state)
{
    static const size_t lengths[] = {4, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1};
    struct reader none = reader_of(slice_of(NULL, 0));

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct reader r = reader_of(SLICE_LIT("abc"));

        assert_int_equal(rd_bytes(&r, lengths[i]).n, 0);
        assert_true(r.failed);
    }
    rd_skip(&none, 0);
    assert_int_equal(rd_bytes(&none, 0).n, 0);
    assert_false(none.failed);
}

static void bits(void **state)
{
    static const uint8_t in[] = {0xa5, 0x0f, 0xff, 0x00, 0x12, 0x34};
    struct bitreader r = bitreader_of(slice_of(in, sizeof(in)));

    assert_int_equal(rb_bits(&r, 0), 0);
    assert_int_equal(rb_bits(&r, 1), 1);
    assert_int_equal(rb_bits(&r, 3), 2);
    assert_int_equal(rb_bits(&r, 8), 0x50);
    rb_skip(&r, 4);
    assert_int_equal(rb_bits(&r, 32), 0xff001234);
    assert_false(r.failed);
    assert_int_equal(rb_bits(&r, 1), 0);
    assert_true(r.failed);
    r = bitreader_of(slice_of(in, 1));
    assert_int_equal(rb_bits(&r, 9), 0); /* no part of it either */
    assert_true(r.failed);
    assert_int_equal(rb_bits(&r, 1), 0);
    r = bitreader_of(slice_of(in, 1));
    rb_skip(&r, SIZE_MAX);
    assert_true(r.failed);
}

/* H.264 9.1, tables 9-1 to 9-3. The codes are written as texts of bits. */
static void exp_golomb(void **state)
{
    static const struct {
        const char *bits;
        bool ok;
        uint32_t ue;
        int32_t se;
    } cases[] = {
        {"1", true, 0, 0},
        {"010", true, 1, 1},
        {"011", true, 2, -1},
        {"00100", true, 3, 2},
        {"00101", true, 4, -2},
        {"00110", true, 5, 3},
        {"0001000", true, 7, 4},
        {"0001001", true, 8, -4},
        {"0000000000000001111111111111111", true, 65534, -32767},
        {"000000000000000000000000000000010000000000000000000000000000000", true, 2147483647,
         1073741824},
        {"000000000000000000000000000000011111111111111111111111111111111", true, 4294967294,
         -2147483647},
        {"00000000000000000000000000000000100000000000000000000000000000000", false, 0, 0},
        {"0000000000000000000000000000000000000000000000000000000000000000", false, 0, 0},
        {"", false, 0, 0},
        {"00000000", false, 0, 0},
        {"00001110", false, 0, 0}, /* the bits after the one are cut short */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t in[16] = {0};
        size_t n = strlen(cases[i].bits);
        struct bitreader r = bitreader_of(slice_of(in, (n + 7) / 8)), again = r;

        for (size_t b = 0; b < n; b++)
            in[b / 8] |= (uint8_t)((cases[i].bits[b] - '0') << (7 - b % 8));
        assert_int_equal(rb_ue(&r), cases[i].ue);
        assert_int_equal(rb_se(&again), cases[i].se);
        assert_int_equal(r.failed, !cases[i].ok);
        assert_int_equal(again.failed, !cases[i].ok);
        assert_int_equal(r.at, cases[i].ok ? n : r.bits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_widths), cmocka_unit_test(cut_short),
        cmocka_unit_test(hostile_lengths),  cmocka_unit_test(bits),
        cmocka_unit_test(exp_golomb),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
