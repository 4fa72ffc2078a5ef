#include "tests/unit/unit.h"

#include "store/object_url.h"

static void test_good(void **state)
{
    static const struct {
        const char *text, *name, *key, *secret, *region;
    } cases[] = {
        {"/srv/rec", "/srv/rec", "", "", ""},
        {"rec/", "rec", "", "", ""},
        {"/", "/", "", "", ""},
        {"file:///srv/a%20b", "/srv/a b", "", "", ""},
        {"file:/srv", "/srv", "", "", ""},
        {"s3://AK:se%2Fcr%2bet@eu-west-1/b.one", "https://s3.eu-west-1.amazonaws.com/b.one", "AK",
         "se/cr+et", "eu-west-1"},
        {"s3+https://AK:s@Host.Example/b/", "https://host.example/b", "AK", "s", "us-east-1"},
        {"s3+https://AK:s@h:443/b", "https://h/b", "AK", "s", "us-east-1"},
        {"s3+http://AK:a:b@h:80/b", "http://h/b", "AK", "a:b", "us-east-1"},
        {"s3+http://AK:s@127.0.0.1:9000/b/p/q%20r/", "http://127.0.0.1:9000/b/p/q r", "AK", "s",
         "us-east-1"},
        {"s3+http://AK:s@[::1]:9000/b", "http://[::1]:9000/b", "AK", "s", "us-east-1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct object_url u;
        char name[OBJECT_NAME_MAX];

        if (object_url_parse(slice_str(cases[i].text), &u, &err) != RC_OK)
            fail_msg("%s: %s", cases[i].text, err.text);
        object_url_name(&u, name);
        assert_string_equal(name, cases[i].name);
        assert_string_equal(u.key, cases[i].key);
        assert_string_equal(u.secret, cases[i].secret);
        assert_string_equal(u.region, cases[i].region);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        enum rc rc;
        const char *says;
    } cases[] = {
        {"", RC_BAD_INPUT, "folder is empty"},
        {"/a\nb", RC_BAD_INPUT, "control byte"},
        {"file:srv", RC_BAD_INPUT, "file:///PATH"},
        {"file://HIDDEN/srv", RC_BAD_INPUT, "another machine"},
        {"gs://HIDDEN@b", RC_UNSUPPORTED, "HMAC key"},
        {"ipfs://x:HIDDEN@b", RC_UNSUPPORTED, "ipfs://"},
        {"azure://x:HIDDEN@b", RC_UNSUPPORTED, "azure:// is not known"},
        {"s3://region/bucket", RC_BAD_INPUT, "KEY:SECRET@"},
        {"s3://AK:HID/DEN@region/bucket", RC_BAD_INPUT, "%2F"},
        {"s3://HIDDEN@region/bucket", RC_BAD_INPUT, "between key and secret"},
        {"s3://:HIDDEN@region/bucket", RC_BAD_INPUT, "key is empty"},
        {"s3://AK:@region/bucket", RC_BAD_INPUT, "secret is empty"},
        {"s3://AK:HIDDEN%2@region/bucket", RC_BAD_INPUT, "secret has a broken"},
        {"s3://AK:HIDDEN%00@region/bucket", RC_BAD_INPUT, "secret has a broken"},
        {"s3://AK:HIDDEN@/bucket", RC_BAD_INPUT, "region is empty"},
        {"s3://AK:HIDDEN@eu.west/bucket", RC_BAD_INPUT, "region is not of"},
        {"s3://AK:HIDDEN@region", RC_BAD_INPUT, "bucket is empty"},
        {"s3://AK:HIDDEN@region/..", RC_BAD_INPUT, "bucket"},
        {"s3://AK:HIDDEN@region/b?x", RC_BAD_INPUT, "\"?\""},
        {"s3://AK:HIDDEN@region/b/../c", RC_BAD_INPUT, "path after the bucket"},
        {"s3://AK:HIDDEN@region/b//c", RC_BAD_INPUT, "path after the bucket"},
        {"s3+http://AK:HIDDEN@/b", RC_BAD_INPUT, "host"},
        {"s3+http://AK:HIDDEN@h:99999/b", RC_BAD_INPUT, "host"},
        {"s3+http://AK:HIDDEN@a@b/b", RC_BAD_INPUT, "host"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct object_url u;
        enum rc rc = object_url_parse(slice_str(cases[i].text), &u, &err);

        if (rc != cases[i].rc || err.code != rc || !strstr(err.text, cases[i].says))
            fail_msg("%s: %s, \"%s\"", cases[i].text, rc_name(rc), err.text);
        if (strstr(err.text, "HID"))
            fail_msg("%s: the error tells a secret: %s", cases[i].text, err.text);
    }
}

static void assert_bound(const char *before, size_t n, const char *after, bool fits)
{
    struct err err = {0};
    struct object_url u;
    char text[4000];
    size_t at = strlen(before);

    assert_true(at + n + strlen(after) < sizeof(text));
    memcpy(text, before, at);
    memset(text + at, 'a', n);
    strcpy(text + at + n, after);
    if ((object_url_parse(slice_str(text), &u, &err) == RC_OK) != fits)
        fail_msg("%s %zu %s: \"%s\"", before, n, after, err.text);
}

static void test_bounds(void **state)
{
    static const struct {
        const char *before, *after;
        size_t max;
    } cases[] = {
        {"/", "", OBJECT_PATH_MAX - 1},         {"file:///", "", OBJECT_PATH_MAX - 1},
        {"s3://", ":s@r/b", OBJECT_KEY_MAX},    {"s3://k:", "@r/b", OBJECT_SECRET_MAX},
        {"s3://k:s@", "/b", OBJECT_REGION_MAX}, {"s3://k:s@r/", "", OBJECT_BUCKET_MAX},
        {"s3://k:s@r/b/", "", OBJECT_PATH_MAX}, {"s3+http://k:s@", ":9000/b", 255},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_bound(cases[i].before, cases[i].max, cases[i].after, true);
        assert_bound(cases[i].before, cases[i].max + 1, cases[i].after, false);
        assert_bound(cases[i].before, 3000, cases[i].after, false);
    }
}

static void test_names(void **state)
{
    static const char *const good[] = {"a", "a/b.ts", "a b/c", "..a", "\xc3\xa4"};
    static const char *const bad[] = {"", "/a", "a/", "a//b", ".", "..", "a/../b", "a\nb", "\xff"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(object_name_is_fine(slice_str(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(object_name_is_fine(slice_str(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
