/* Lines are caught where they come out: standard error, replaced by a pipe or a terminal. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

static int saved = -1, reading = -1;
static char caught[1 << 16];

static void replace_stderr(int with)
{
    saved = dup(STDERR_FILENO);
    dup2(with, STDERR_FILENO);
    close(with);
}

static void catch_start(void)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    reading = ends[0];
    replace_stderr(ends[1]);
}

/* What was written since catch_start. Nothing more can come: the other end is closed here. */
static const char *catch_stop(void)
{
    size_t n = 0;
    ssize_t got;

    dup2(saved, STDERR_FILENO);
    close(saved);
    while (n < sizeof(caught) - 1 && (got = read(reading, caught + n, sizeof(caught) - 1 - n)) > 0)
        n += (size_t)got;
    caught[n] = '\0';
    close(reading);
    return caught;
}

/* The line behind its date. */
static const char *undated(const char *line)
{
    assert_true(strlen(line) > 25 && line[10] == 'T' && line[23] == 'Z' && line[24] == ' ');
    return line + 25;
}

static int set_up(void **state)
{
    log_set_hook(NULL, NULL);
    log_init("gateway", LOG_INFO);
    return 0;
}

static void a_line_names_its_object(void **state)
{
    struct log_tag stream, segment;

    log_tag(&stream, "stream=%s", "demo");
    log_tag_child(&segment, &stream, "segment=%d", 17);
    catch_start();
    log_info(&segment, "cut after %d ms", 2000);
    assert_string_equal(undated(catch_stop()),
                        "info gateway stream=demo segment=17 cut after 2000 ms\n");
    catch_start();
    log_peer(NULL, "said nonsense");
    assert_string_equal(undated(catch_stop()), "peer gateway said nonsense\n");
    log_tag_child(&segment, NULL, "alone");
    assert_string_equal(segment.text, "alone");
    catch_start();
    log_bug(&segment, "ours");
    assert_string_equal(undated(catch_stop()), "bug gateway alone ours\n");
}

static void levels_below_the_least_are_silent(void **state)
{
    catch_start();
    log_debug(NULL, "no");
    log_set_level(LOG_BUG);
    log_info(NULL, "no");
    log_peer(NULL, "no");
    assert_string_equal(catch_stop(), "");
    log_set_level(LOG_DEBUG);
    assert_int_equal(log_level_get(), LOG_DEBUG);
    catch_start();
    log_debug(NULL, "yes");
    assert_string_equal(undated(catch_stop()), "debug gateway yes\n");
}

static void peers_cannot_forge_lines(void **state)
{
    static const struct {
        const char *said, *shown;
    } cases[] = {
        {"a\nbug gateway b", "a\\nbug gateway b"},
        {"\r\t\x1b[31m", "\\x0d\\x09\\x1b[31m"},
        {"\x7f", "\\x7f"},
        {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x8e\xa5", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x8e\xa5"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"}, /* a terminal's CSI in one character */
        {"\xc3", "\\xc3"},
        {"\xff\xfe", "\\xff\\xfe"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char want[200];
        struct log_tag tag;

        log_tag(&tag, "id=%s", cases[i].said);
        snprintf(want, sizeof(want), "peer gateway id=%s said %s\n", cases[i].shown,
                 cases[i].shown);
        catch_start();
        log_peer(&tag, "said %s", cases[i].said);
        assert_string_equal(undated(catch_stop()), want);
    }
}

/* However long the text and whatever it grows to: one line, whole, in one piece of a pipe. */
static void long_lines_are_cut(void **state)
{
    static const char *const pieces[] = {"x", "\x01", "\xe2\x82\xac", "\xff"};
    char said[5000];
    struct log_tag tag;

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        said[0] = '\0';
        while (strlen(said) + 4 < sizeof(said))
            strcat(said, pieces[i]);
        log_tag(&tag, "%s", said);
        assert_in_range(strlen(tag.text), sizeof(tag.text) - 3, sizeof(tag.text) - 1);
        catch_start();
        log_info(&tag, "%s", said);
        catch_stop();
        assert_in_range(strlen(caught), 1500, PIPE_BUF);
        assert_string_equal(caught + strlen(caught) - 4, "...\n");
        assert_ptr_equal(strchr(caught, '\n'), caught + strlen(caught) - 1);
        assert_true(slice_is_utf8(slice_str(caught)));
    }
    log_tag_child(&tag, &tag, "more"); /* full already */
    assert_int_equal(strlen(tag.text), sizeof(tag.text) - 1);
    log_tag(&tag, "a");
    log_tag_child(&tag, &tag, "b");
    assert_string_equal(tag.text, "a b");
}

static void on_line(enum log_level level, const char *tag, const char *text, void *arg)
{
    struct buf *b = arg;

    buf_printf(b, "%d|%s|%s;", (int)level, tag, text);
    log_bug(NULL, "from the hook");
}

static void hook_sees_lines_but_not_its_own(void **state)
{
    struct log_tag tag;
    struct buf b;

    buf_init(&b, 1000);
    log_set_hook(on_line, &b);
    log_tag(&tag, "stream=demo");
    catch_start();
    log_peer(&tag, "a\n%d", 1);
    log_debug(&tag, "too low");
    log_info(NULL, "b");
    catch_stop();
    assert_string_equal(buf_cstr(&b), "2|stream=demo|a\\n1;1||b;");
    assert_non_null(strstr(caught, "from the hook"));
    buf_cleanup(&b);
}

static void repeats_are_limited_and_counted(void **state)
{
    struct log_limit l = {0};

    for (int i = 0; i < 10; i++)
        assert_int_equal(log_allowed(&l, 3), i < 3);
    assert_int_equal(l.left_out, 7);
    l.window_start_ms -= 60000; /* a minute later */
    assert_true(log_allowed(&l, 3));
    catch_start();
    log_debug(NULL, "not printed, so it tells nothing");
    log_info(NULL, "refused");
    log_info(NULL, "other");
    catch_stop();
    assert_non_null(strstr(caught, "info gateway refused (7 more like it were left out)\n"));
    assert_non_null(strstr(caught, "info gateway other\n"));
    assert_false(log_allowed(&l, 0));
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 200; i++)
        log_info(NULL, "%s", (const char *)arg);
    return NULL;
}

static void lines_of_threads_stay_whole(void **state)
{
    static const char *const texts[] = {"aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb"};
    struct slice rest, line;
    pthread_t t[2];
    int n = 0;

    catch_start();
    fcntl(reading, F_SETPIPE_SZ, 1 << 16);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, log_many, (void *)texts[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    rest = slice_str(catch_stop());
    while (slice_split(&rest, '\n', &line) && line.n) {
        assert_true(slice_has_suffix(line, texts[0]) || slice_has_suffix(line, texts[1]));
        assert_int_equal(line.n, 25 + strlen("info gateway ") + 20);
        n++;
    }
    assert_int_equal(n, 400);
}

static void colour_only_on_a_terminal_that_wants_it(void **state)
{
    for (int wanted = 0; wanted < 2; wanted++) {
        char text[200] = "";
        int main_end, line_end;
        ssize_t n;

        assert_int_equal(openpty(&main_end, &line_end, NULL, NULL, NULL), 0);
        if (wanted)
            unsetenv("NO_COLOR");
        else
            setenv("NO_COLOR", "1", 1);
        replace_stderr(line_end);
        log_init("gateway", LOG_INFO);
        log_bug(NULL, "ours");
        dup2(saved, STDERR_FILENO);
        close(saved);
        n = read(main_end, text, sizeof(text) - 1);
        close(main_end);
        assert_true(n > 0);
        assert_int_equal(strchr(text, '\x1b') != NULL, wanted);
        if (wanted) /* and back to plain before the line ends */
            assert_non_null(strstr(text, "ours\x1b[0m"));
    }
    unsetenv("NO_COLOR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_names_its_object, set_up),
        cmocka_unit_test_setup(levels_below_the_least_are_silent, set_up),
        cmocka_unit_test_setup(peers_cannot_forge_lines, set_up),
        cmocka_unit_test_setup(long_lines_are_cut, set_up),
        cmocka_unit_test_setup(hook_sees_lines_but_not_its_own, set_up),
        cmocka_unit_test_setup(repeats_are_limited_and_counted, set_up),
        cmocka_unit_test_setup(lines_of_threads_stay_whole, set_up),
        cmocka_unit_test_setup(colour_only_on_a_terminal_that_wants_it, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
