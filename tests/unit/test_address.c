/* node/address.h: how each kind is completed, and what a refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/address.h"
#include "node/options.h"

/* video.md 1.1. */
static void completion(void **state)
{
    static const struct {
        enum address_kind kind;
        const char *given, *want;
    } cases[] = {
        {ADDRESS_LISTEN, "", "127.0.0.1:1935"},
        {ADDRESS_LISTEN, ":80", "127.0.0.1:80"},
        {ADDRESS_LISTEN, " host ", "host:1935"},
        {ADDRESS_LISTEN, "0.0.0.0", "0.0.0.0:1935"},
        {ADDRESS_LISTEN, "[::1]", "[::1]:1935"},
        {ADDRESS_LISTEN, "[::1]:80", "[::1]:80"},
        {ADDRESS_LISTEN, "127.0.0.1:0", "127.0.0.1:0"},
        {ADDRESS_LISTEN, "a:65535", "a:65535"},
        {ADDRESS_DOOR, "0.0.0.0:8936", "0.0.0.0:8936"},
        {ADDRESS_DOOR, "http://0.0.0.0:8936", "http://0.0.0.0:8936"},
        {ADDRESS_SERVICE, "", "https://127.0.0.1:1935"},
        {ADDRESS_SERVICE, "me.example", "https://me.example:1935"},
        {ADDRESS_SERVICE, "https://me.example", "https://me.example:1935"},
        {ADDRESS_SERVICE, "http://me.example:80", "http://me.example:80"},
        {ADDRESS_SERVICE, "http://me.example:80/", "http://me.example:80"},
        {ADDRESS_ORCHESTRATOR, "a", "https://a:1935"},
        {ADDRESS_ORCHESTRATOR, "httpbin:80", "https://httpbin:80"},
        {ADDRESS_ORCHESTRATOR, "https://a", "https://a"},
        {ADDRESS_ORCHESTRATOR, "http://a:80/b", "http://a:80/b"},
        {ADDRESS_WEB, "http://a/list?of=orchestrators@home", "http://a/list?of=orchestrators@home"},
        {ADDRESS_NODE, "https://b:8935", "https://b:8935"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        char *got = address_read(cases[i].kind, "flag", cases[i].given, 1935, &err);

        if (!got)
            fail_msg("\"%s\": %s", cases[i].given, err.text);
        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

static void refusals_name_flag_value_and_expectation(void **state)
{
    static const struct {
        enum address_kind kind;
        const char *given, *why;
    } cases[] = {
        {ADDRESS_LISTEN, "a:b", "port \"b\" is no number from 0 to 65535"},
        {ADDRESS_LISTEN, "a:65536", "port \"65536\" is no number"},
        {ADDRESS_LISTEN, "a:", "port \"\" is no number"},
        {ADDRESS_LISTEN, ":", "port \"\" is no number"},
        {ADDRESS_LISTEN, "99999", "\"99999\" is no host; a port alone has a colon"},
        {ADDRESS_LISTEN, "999.1.1.1:80", "\"999.1.1.1\" is no IPv4 address"},
        {ADDRESS_LISTEN, "1.2.3", "\"1.2.3\" is no IPv4 address"},
        {ADDRESS_LISTEN, "::1", "stands in brackets: [::1]"},
        {ADDRESS_LISTEN, "fe80::1", "stands in brackets: [fe80::1]"},
        {ADDRESS_LISTEN, "[::1", "expected [address]"},
        {ADDRESS_LISTEN, "two words", "is no name or address"},
        {ADDRESS_LISTEN, "http://a:80", "it has a scheme"},
        {ADDRESS_DOOR, "ftp://a:80", "scheme is not https"},
        {ADDRESS_DOOR, "http://a:80/b", "it has a path"},
        {ADDRESS_SERVICE, "https://:8935", "host missing"},
        {ADDRESS_ORCHESTRATOR, "http://[", "expected [address]"},
        {ADDRESS_ORCHESTRATOR, "a:0", "port 0"},
        {ADDRESS_ORCHESTRATOR, "https://a:0", "port 0"},
        {ADDRESS_ORCHESTRATOR, "https://", "host missing"},
        {ADDRESS_WEB, "a:80", "it has no scheme"},
        {ADDRESS_NODE, "http://a:80", "scheme is not https"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        char *got = address_read(cases[i].kind, "rtmpAddr", cases[i].given, 1935, &err);

        if (got)
            fail_msg("\"%s\" became \"%s\"", cases[i].given, got);
        assert_int_equal(err.code, RC_BAD_INPUT);
        if (strncmp(err.text, "-rtmpAddr: \"", 12) != 0 || !strstr(err.text, cases[i].given) ||
            !strstr(err.text, cases[i].why) || !strstr(err.text, "; expected "))
            fail_msg("\"%s\": %s", cases[i].given, err.text);
    }
}

static void passwords_are_not_repeated(void **state)
{
    static const char *const texts[] = {"https://me:secret@a:80", "me:secret@a:80"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err err = {0};

        assert_null(address_read(ADDRESS_ORCHESTRATOR, "orchAddr", texts[i], 1935, &err));
        assert_non_null(strstr(err.text, "user name"));
        assert_null(strstr(err.text, "secret"));
    }
}

static void lists(void **state)
{
    static const char *const wrong[] = {",", "a,", ",a", "a,,b", "a, ,b", "a:1,b:x"};
    char **got = address_list_read(ADDRESS_ORCHESTRATOR, "orchAddr", "a, https://b:1", 8935, NULL);
    struct err err;

    (void)state;
    assert_string_equal(got[0], "https://a:8935");
    assert_string_equal(got[1], "https://b:1");
    assert_null(got[2]);
    texts_free(got);
    got = address_list_read(ADDRESS_ORCHESTRATOR, "orchAddr", " ", 8935, NULL);
    assert_null(got[0]);
    texts_free(got);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_null(address_list_read(ADDRESS_ORCHESTRATOR, "orchAddr", wrong[i], 8935, &err));
        assert_non_null(strstr(err.text, "-orchAddr: \""));
    }
    assert_non_null(strstr(err.text, "\"b:x\" is no address"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(completion),
        cmocka_unit_test(refusals_name_flag_value_and_expectation),
        cmocka_unit_test(passwords_are_not_repeated),
        cmocka_unit_test(lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
