/* Every flag of the table: read from each source, with its default, limits and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/options.h"

static enum rc read_words(struct options *o, struct err *err, const char *const *argv,
                          const char *const *env)
{
    int argc = 0;

    options_init(o);
    while (argv[argc])
        argc++;
    return options_read(o, argc, (char *const *)argv, (char *const *)env, err);
}

static void forms_of_a_flag(void **state)
{
    static const char *const forms[][3] = {
        {"-maxAttempts", "7"}, {"--maxAttempts", "7"}, {"-maxAttempts=7"}, {"--maxAttempts=7"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct options o;
        struct err err;

        assert_int_equal(read_words(&o, &err, forms[i], NULL), RC_OK);
        assert_int_equal(opt_number(&o, OPT_maxAttempts), 7);
        assert_true(opt_given(&o, OPT_maxAttempts));
        options_cleanup(&o);
    }
}

static void flags_that_are_on_or_off(void **state)
{
    const char *const argv[] = {"-gateway", "-httpIngest=false", "-currentManifest=true", NULL};
    struct options o;
    struct err err;

    (void)state;
    assert_int_equal(read_words(&o, &err, argv, NULL), RC_OK);
    assert_true(opt_flag(&o, OPT_gateway));
    assert_false(opt_flag(&o, OPT_httpIngest));
    assert_true(opt_flag(&o, OPT_currentManifest));
    assert_false(opt_flag(&o, OPT_orchestrator));
    options_cleanup(&o);
}

static void refusals_name_flag_value_and_expectation(void **state)
{
    static const struct {
        const char *argv[4];
        const char *needs[3];
    } cases[] = {
        {{"-maxAttempts", "many"}, {"-maxAttempts", "\"many\"", "whole number"}},
        {{"-discoveryTimeout", "5"}, {"-discoveryTimeout", "\"5\"", "500ms"}},
        {{"-discoveryTimeout", "2h"}, {"-discoveryTimeout", "\"2h\"", "60000"}},
        {{"-gateway=maybe"}, {"-gateway", "\"maybe\"", "true"}},
        {{"-gateway", "false"}, {"\"false\"", "-name=false", "no flag"}},
        {{"-maxAtempts", "3"}, {"-maxAtempts", "did you mean", "-maxAttempts"}},
        {{"-zzzzzzzzzzzz", "3"}, {"-zzzzzzzzzzzz", "does not exist", "leat help"}},
        {{"-rtmpAddr"}, {"-rtmpAddr", "needs a value", "HOST:PORT"}},
        {{"---v", "3"}, {"---v", "no flag", "dash"}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct options o;
        struct err err;

        assert_int_equal(read_words(&o, &err, cases[i].argv, NULL), RC_BAD_INPUT);
        for (size_t k = 0; k < ARRAY_LEN(cases[i].needs); k++)
            if (!strstr(err.text, cases[i].needs[k]))
                fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, cases[i].needs[k]);
        options_cleanup(&o);
    }
}

static char *write_file(const char *text)
{
    char *path = strdup("/tmp/leat-options-XXXXXX");
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void command_line_wins_over_environment_over_file(void **state)
{
    char *path = write_file("# a comment\nmaxAttempts 4\n\nrtmpAddr  1.2.3.4:1\ncurrentManifest\n"
                            "cliAddr 5.6.7.8:9\n");
    const char *const argv[] = {"-maxAttempts", "6", "-config", path, NULL};
    const char *const env[] = {"LP_MAXATTEMPTS=5", "LP_RTMPADDR=:2", "LP_UNKNOWN=x", "PATH=/",
                               NULL};
    struct options o;
    struct err err;

    (void)state;
    assert_int_equal(read_words(&o, &err, argv, env), RC_OK);
    assert_int_equal(opt_number(&o, OPT_maxAttempts), 6);
    assert_string_equal(opt_text(&o, OPT_rtmpAddr), ":2");
    assert_string_equal(opt_text(&o, OPT_cliAddr), "5.6.7.8:9");
    assert_true(opt_flag(&o, OPT_currentManifest));
    options_cleanup(&o);
    unlink(path);
    free(path);
}

static void bad_files_are_named(void **state)
{
    char *path = write_file("maxAttempts 4\nnoSuchFlag 1\n");
    const char *const argv[] = {"-config", path, NULL};
    const char *const missing[] = {"-config", "/nonexistent/file", NULL};
    struct options o;
    struct err err;

    (void)state;
    assert_int_equal(read_words(&o, &err, argv, NULL), RC_BAD_INPUT);
    assert_non_null(strstr(err.text, "line 2"));
    assert_non_null(strstr(err.text, "noSuchFlag"));
    options_cleanup(&o);
    assert_int_not_equal(read_words(&o, &err, missing, NULL), RC_OK);
    assert_non_null(strstr(err.text, "/nonexistent/file"));
    options_cleanup(&o);
    unlink(path);
    free(path);
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"500ms", 500},     {"5s", 5000},   {"25m", 1500000},
                {"1h30m", 5400000}, {"1.5s", 1500}, {"0", 0}};
    static const char *const bad[] = {"", "5", "s", "-5s", "5 s", "5sx", "1e99h", "+1s"};
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(duration_parse(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (duration_parse(bad[i], &ms))
            fail_msg("\"%s\" was taken for a time", bad[i]);
}

static void secrets_are_not_printed(void **state)
{
    const char *const argv[] = {"-orchSecret", "hunter2", "-maxAttempts", "9", NULL};
    struct options o;
    struct err err;
    struct buf out;

    (void)state;
    assert_int_equal(read_words(&o, &err, argv, NULL), RC_OK);
    buf_init(&out, 65536);
    options_print_changed(&out, &o);
    assert_null(strstr(buf_cstr(&out), "hunter2"));
    assert_non_null(strstr(buf_cstr(&out), "***"));
    assert_non_null(strstr(buf_cstr(&out), "maxAttempts"));
    buf_cleanup(&out);
    options_cleanup(&o);
}

static void help_tells_every_flag_within_80_columns(void **state)
{
    static const struct {
        const char *name, *kind;
    } all[] = {
#define OPTION(name, type, otherwise, min, max, roles, kind, ...) {#name, #kind},
#include "node/options.def"
#undef OPTION
    };
    struct buf out;
    struct slice rest, line;

    (void)state;
    buf_init(&out, 1 << 20);
    options_help(&out, ROLE_ALL);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char start[64];

        snprintf(start, sizeof(start), "  -%s", all[i].name);
        if (!strstr(buf_cstr(&out), start) == (strcmp(all[i].kind, "REFUSED") != 0))
            fail_msg("-%s is wrongly explained or wrongly not", all[i].name);
    }
    rest = buf_slice(&out);
    while (slice_split(&rest, '\n', &line))
        if (line.n > 80 && line.p[2] == ' ')
            fail_msg("line of %zu columns: " SLICE_FMT, line.n, SLICE_ARG(line));
    buf_cleanup(&out);
}

static void a_value_may_be_a_file(void **state)
{
    char *path = write_file("  from a file\n"), *value = option_value_or_file(path);

    (void)state;
    assert_string_equal(value, "from a file");
    free(value);
    value = option_value_or_file("plain");
    assert_string_equal(value, "plain");
    free(value);
    unlink(path);
    free(path);
}

static void flags_of_other_roles_are_refused(void **state)
{
    const char *const argv[] = {"-rtmpAddr", ":1", NULL};
    struct options o;
    struct err err;

    (void)state;
    assert_int_equal(read_words(&o, &err, argv, NULL), RC_OK);
    assert_int_equal(options_check_role(&o, ROLE_G, &err), RC_OK);
    assert_int_equal(options_check_role(&o, ROLE_T, &err), RC_BAD_INPUT);
    assert_non_null(strstr(err.text, "-rtmpAddr"));
    options_cleanup(&o);
}

/* A value that differs from the default and is well formed. */
static const char *other_value(const char *name, char type)
{
    static const char *const on[] = {"httpIngest", "testTranscoder", "startupAvailabilityCheck",
                                     "autoAdjustPrice", "monitor"};

    if (type != 'b')
        return type == 'd' ? "7s" : type == 'f' ? "0.25" : "8"; /* 8 is a text too */
    for (size_t i = 0; i < ARRAY_LEN(on); i++)
        if (strcmp(on[i], name) == 0)
            return "false";
    return "true";
}

static void check_network_flag(const char *name, char type, const char *answer)
{
    char arg[128], variable[128];
    const char *const argv[] = {arg, NULL}, *const none[] = {NULL}, *const env[] = {variable, NULL};
    bool works = strcmp(answer, "works") == 0;

    snprintf(arg, sizeof(arg), "-%s=%s", name, other_value(name, type));
    snprintf(variable, sizeof(variable), "LP_%s=%s", name, other_value(name, type));
    for (int source = 0; source < 2; source++) {
        struct options o;
        struct err err = {0};
        enum rc rc = read_words(&o, &err, source ? none : argv, source ? env : NULL);

        options_cleanup(&o);
        if (rc != (works ? RC_OK : RC_UNSUPPORTED))
            fail_msg("%s: %s %s", source ? variable : arg, rc_name(rc), err.text);
        if (!works && !strstr(err.text, name))
            fail_msg("%s is not named: %s", name, err.text);
        if (!works && !strstr(err.text, answer))
            fail_msg("-%s: the reason \"%s\" is missing: %s", name, answer, err.text);
    }
}

static void every_flag_of_the_network_works_or_is_refused_with_the_reason(void **state)
{
    FILE *f = fopen("tests/vectors/operations/flags.txt", "r");
    char line[256], name[64], type, answer[32];
    int n = 0;

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%63s %c %31s", name, &type, answer), 3);
        if (strcmp(name, "config") == 0) /* its value is a file's name: bad_files_are_named() */
            continue;
        check_network_flag(name, type, answer);
        n++;
    }
    fclose(f);
    assert_int_equal(n, 123);
}

static void what_is_so_anyway_is_not_refused(void **state)
{
    const char *const argv[] = {"-pixelsPerUnit=1", "-autoAdjustPrice",    "-localVerify=0",
                                "-ethUrl=",         "-selectRandFreq=0.3", NULL};
    struct options o;
    struct err err;

    (void)state;
    assert_int_equal(read_words(&o, &err, argv, NULL), RC_OK);
    assert_int_equal(options_check_role(&o, ROLE_T, &err), RC_OK);
    options_cleanup(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_of_a_flag),
        cmocka_unit_test(flags_that_are_on_or_off),
        cmocka_unit_test(refusals_name_flag_value_and_expectation),
        cmocka_unit_test(command_line_wins_over_environment_over_file),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(durations),
        cmocka_unit_test(secrets_are_not_printed),
        cmocka_unit_test(help_tells_every_flag_within_80_columns),
        cmocka_unit_test(a_value_may_be_a_file),
        cmocka_unit_test(flags_of_other_roles_are_refused),
        cmocka_unit_test(every_flag_of_the_network_works_or_is_refused_with_the_reason),
        cmocka_unit_test(what_is_so_anyway_is_not_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
