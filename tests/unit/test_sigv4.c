/* The examples of "Signature Calculations for the Authorization Header" in Amazon's S3 reference,
 * and what they share. */
#include "tests/unit/unit.h"

#include "store/sigv4.h"

static void check(struct sigv4_request r, const char *signature)
{
    struct buf out;

    r.key = "AKIAIOSFODNN7EXAMPLE";
    r.secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    r.region = "us-east-1";
    r.time = "20130524T000000Z";
    buf_init(&out, 1024);
    sigv4_sign(&r, &out);
    assert_true(slice_has_prefix(buf_slice(&out),
                                 "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/"
                                 "us-east-1/s3/aws4_request, SignedHeaders="));
    if (!slice_has_suffix(buf_slice(&out), signature))
        fail_msg("%s", buf_cstr(&out));
    buf_cleanup(&out);
}

static void test_get(void **state)
{
    char hash[SIGV4_HASH_MAX];
    struct sigv4_header headers[] = {
        {"host", "examplebucket.s3.amazonaws.com"},
        {"range", "bytes=0-9"},
        {"x-amz-content-sha256", hash},
        {"x-amz-date", "20130524T000000Z"},
    };

    (void)state;
    sigv4_hash(SLICE_LIT(""), hash);
    check((struct sigv4_request){.method = "GET",
                                 .path = "/test.txt",
                                 .headers = headers,
                                 .n_headers = 4,
                                 .content_sha256 = hash},
          "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature="
          "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void test_put(void **state)
{
    char hash[SIGV4_HASH_MAX];
    struct sigv4_header headers[] = {
        {"date", "Fri, 24 May 2013 00:00:00 GMT"},
        {"host", "examplebucket.s3.amazonaws.com"},
        {"x-amz-content-sha256", hash},
        {"x-amz-date", "20130524T000000Z"},
        {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
    };

    (void)state;
    sigv4_hash(SLICE_LIT("Welcome to Amazon S3."), hash);
    check((struct sigv4_request){.method = "PUT",
                                 .path = "/test%24file.text",
                                 .headers = headers,
                                 .n_headers = 5,
                                 .content_sha256 = hash},
          ", Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void test_time(void **state)
{
    char time[SIGV4_TIME_MAX];

    (void)state;
    sigv4_time(1369353600999, time);
    assert_string_equal(time, "20130524T000000Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
