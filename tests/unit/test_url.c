#include "tests/unit/unit.h"

#include <stdlib.h>

#include "base/url.h"

static void addresses_are_taken_apart(void **state)
{
    static const struct {
        const char *text, *scheme, *host;
        int port;
        const char *path, *query;
    } cases[] = {
        {"https://a:8935/x/y?b=c&d", "https", "a", 8935, "/x/y", "b=c&d"},
        {"http://a", "http", "a", 0, "", ""},
        {"http://a/", "http", "a", 0, "/", ""},
        {"http://a?q", "http", "a", 0, "", "q"},
        {"http://a:1?q?r", "http", "a", 1, "", "q?r"},
        {"http://a#f", "http", "a", 0, "", ""},
        {"http://a/p#f?no", "http", "a", 0, "/p", ""},
        {"http://a/p?q#f", "http", "a", 0, "/p", "q"},
        {"HTTPS://Example.COM/Path", "https", "example.com", 0, "/Path", ""},
        {"rtmp://127.0.0.1:1935/live/key", "rtmp", "127.0.0.1", 1935, "/live/key", ""},
        {"https://[::1]:8935/a", "https", "::1", 8935, "/a", ""},
        {"https://[2001:DB8::1]", "https", "2001:db8::1", 0, "", ""},
        {"https://[::ffff:1.2.3.4]:1", "https", "::ffff:1.2.3.4", 1, "", ""},
        {"git+ssh-2.0://a_b-c.d", "git+ssh-2.0", "a_b-c.d", 0, "", ""},
        {"http://a/x://y:z@w", "http", "a", 0, "/x://y:z@w", ""},
        {"http://a:65535", "http", "a", 65535, "", ""},
        {"http://a/\xc3\xbc", "http", "a", 0, "/\xc3\xbc", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        struct url u;

        if (url_parse(slice_str(cases[i].text), &u, &e) != RC_OK)
            fail_msg("%s: %s", cases[i].text, e.text);
        assert_string_equal(u.scheme, cases[i].scheme);
        assert_string_equal(u.host, cases[i].host);
        assert_int_equal(u.port, cases[i].port);
        assert_slice(u.path, cases[i].path);
        assert_slice(u.query, cases[i].query);
    }
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *text, *about;
    } cases[] = {
        {"", "scheme"},
        {"a:8935", "scheme"},
        {"://a", "scheme"},
        {"/a", "scheme"},
        {"1http://a", "scheme"},
        {"-http://a", "scheme"},
        {"ht tp://a", "scheme"},
        {"abcdefghijklmnop://a", "scheme"}, /* 16 letters */
        {"http:/a", "scheme"},
        {"http://", "host"},
        {"http://:80", "host"},
        {"http:///a", "host"},
        {"http://a b/", "space"},
        {"http://a/x\r\nHost: b", "space or control"},
        {"http://a/\x7f", "space or control"},
        {"http://a\\b", "host"},
        {"http://a%41", "host"},
        {"http://\xc3\xbc", "host"},
        {"http://[::1", "host"},
        {"http://[]", "host"},
        {"http://[a.b]", "host"},
        {"http://[::1]x", "host"},
        {"http://[1:2]", "host"},
        {"http://::1/", "port"},
        {"http://a:", "port"},
        {"http://a:x", "port"},
        {"http://a:-1", "port"},
        {"http://a:65536", "port"},
        {"http://a:99999999999999999999999", "port"},
        {"http://a:80:81", "port"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        struct url u;

        assert_int_equal(url_parse(slice_str(cases[i].text), &u, &e), RC_BAD_INPUT);
        if (!strstr(e.text, cases[i].about))
            fail_msg("%s: \"%s\" does not name the %s", cases[i].text, e.text, cases[i].about);
        assert_int_equal(url_parse(slice_str(cases[i].text), &u, NULL), RC_BAD_INPUT);
    }
}

static void passwords_are_not_repeated(void **state)
{
    static const char *const texts[] = {"http://user:secret@host/", "user:secret@host",
                                        "http://user:secret@ho st/", "http://secret@:80"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err e = {0};
        struct url u;

        assert_int_equal(url_parse(slice_str(texts[i]), &u, &e), RC_BAD_INPUT);
        assert_null(strstr(e.text, "secret"));
    }
}

static void long_hosts(void **state)
{
    char text[8 + 300] = "http://";
    struct url u;

    memset(text + 7, 'a', 255);
    assert_int_equal(url_parse(slice_str(text), &u, NULL), RC_OK);
    assert_int_equal(strlen(u.host), 255);
    memset(text + 7, 'a', 256);
    assert_int_equal(url_parse(slice_str(text), &u, NULL), RC_BAD_INPUT);
    assert_string_equal(u.host, "");
}

/* video.md 1.1. */
static void completion(void **state)
{
    static const struct {
        const char *given, *want;
    } cases[] = {
        {"", "127.0.0.1:1935"},           {":80", "127.0.0.1:80"},     {"host", "host:1935"},
        {"host:80", "host:80"},           {"1.2.3.4", "1.2.3.4:1935"}, {"[::1]", "[::1]:1935"},
        {"[::1]:80", "[::1]:80"},         {"host:", "host:"},          {":", "127.0.0.1:"},
        {"https://host", "https://host"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *got = addr_complete(cases[i].given, "127.0.0.1", 1935);

        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

static void splitting(void **state)
{
    static const struct {
        const char *addr, *host;
        int port; /* -1: refused */
    } cases[] = {
        {"host:80", "host", 80},
        {"[::1]:80", "::1", 80},
        {":80", "", 80},
        {"host:0", "host", 0},
        {"host:65535", "host", 65535},
        {"host", "", -1},
        {"", "", -1},
        {"[::1]", "", -1},
        {"host:", "", -1},
        {"host:65536", "", -1},
        {"host:80x", "", -1},
        {"::1", "", -1},
        {"[::1:80", "", -1},
        {"[x]:80", "", -1},
        {"a b:80", "", -1},
        {"http://a:80", "", -1},
        {"[]:80", "", -1},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char host[URL_HOST_MAX];
        struct err e = {0};
        uint16_t port;
        enum rc rc = addr_split(cases[i].addr, host, &port, &e);

        if ((rc == RC_OK) != (cases[i].port >= 0))
            fail_msg("%s: %s", cases[i].addr, e.text);
        if (rc != RC_OK)
            continue;
        assert_string_equal(host, cases[i].host);
        assert_int_equal(port, cases[i].port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(passwords_are_not_repeated),
        cmocka_unit_test(long_hosts),
        cmocka_unit_test(completion),
        cmocka_unit_test(splitting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
