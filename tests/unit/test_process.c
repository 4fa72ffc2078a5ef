#include "net_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "net/process.h"

struct child {
    struct process *process;
    struct buf out, err; /* lines, each followed by '|' */
    int exits, status, signum;
    size_t longest;
    bool late_line; /* a line after the exit */
    bool free_on_line;
};

static void on_line(struct slice line, bool is_stderr, void *arg)
{
    struct child *c = arg;
    struct buf *b = is_stderr ? &c->err : &c->out;

    c->late_line |= c->exits > 0;
    c->longest = MAX(c->longest, line.n);
    if (b->n < 100 * 1000) {
        buf_add_slice(b, line);
        buf_str(b, "|");
    }
    if (c->free_on_line) {
        process_free(c->process);
        c->process = NULL;
    }
}

static void on_exit_(int status, int signum, void *arg)
{
    struct child *c = arg;

    c->exits++;
    c->status = status;
    c->signum = signum;
}

static void start(struct child *c, const char *script, int pass_fd)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    const char *env[] = {"LEAT_TEST=from us", NULL};
    struct process_conf conf = {.argv = argv,
                                .env_add = env,
                                .pass_fd = pass_fd,
                                .on_line = on_line,
                                .on_exit = on_exit_,
                                .arg = c};
    struct err err;

    buf_init(&c->out, 1 << 20);
    buf_init(&c->err, 1 << 20);
    c->process = process_start(loop, &conf, &err);
    assert_non_null(c->process);
}

static void child_cleanup(struct child *c)
{
    process_free(c->process);
    buf_cleanup(&c->out);
    buf_cleanup(&c->err);
}

static void test_lines_then_exit_status(void **state)
{
    struct child c = {0};

    (void)state;
    start(&c, "echo one; echo two >&2; printf 'three\\r\\n'; printf unfinished; exit 7", -1);
    assert_true(process_is_running(c.process));
    assert_int_equal(c.exits, 0);
    RUN_UNTIL(c.exits);
    assert_string_equal(buf_cstr(&c.out), "one|three|unfinished|");
    assert_string_equal(buf_cstr(&c.err), "two|");
    assert_int_equal(c.status, 7);
    assert_int_equal(c.signum, 0);
    assert_false(c.late_line);
    assert_false(process_is_running(c.process));
    child_cleanup(&c);
}

static void test_overlong_line_is_cut(void **state)
{
    struct child c = {0};

    (void)state;
    start(&c, "head -c 10000 /dev/zero | tr '\\0' x; echo; echo next", -1);
    RUN_UNTIL(c.exits);
    assert_int_equal(c.longest, 4096);
    assert_true(strstr(buf_cstr(&c.out), "|next|") != NULL);
    child_cleanup(&c);
}

static void on_raw(struct slice bytes, void *arg)
{
    struct child *c = arg;

    buf_add_slice(&c->out, bytes);
}

static void test_raw_output_beside_lines_of_errors(void **state)
{
    const char *argv[] = {"/bin/sh", "-c", "printf 'a\\nb\\0c'; echo trouble >&2", NULL};
    struct child c = {0};
    struct process_conf conf = {.argv = argv,
                                .pass_fd = -1,
                                .on_line = on_line,
                                .on_stdout = on_raw,
                                .on_exit = on_exit_,
                                .arg = &c};

    (void)state;
    buf_init(&c.out, 1 << 20);
    buf_init(&c.err, 1 << 20);
    c.process = process_start(loop, &conf, NULL);
    RUN_UNTIL(c.exits);
    assert_true(slice_eq(buf_slice(&c.out), slice_of("a\nb\0c", 5)));
    assert_string_equal(buf_cstr(&c.err), "trouble|");
    child_cleanup(&c);
}

static void test_signal_ends_it(void **state)
{
    struct child c = {0};

    (void)state;
    start(&c, "echo ready; exec sleep 60", -1);
    RUN_UNTIL(c.out.n);
    process_signal(c.process, SIGTERM);
    RUN_UNTIL(c.exits);
    assert_int_equal(c.signum, SIGTERM);
    child_cleanup(&c);
}

static void test_environment_and_signals_are_clean(void **state)
{
    struct child c = {0};

    (void)state;
    /* SIGPIPE is ignored in our process; a child that inherits that never dies of it */
    start(&c, "echo $LEAT_TEST; grep SigIgn /proc/self/status; grep SigBlk /proc/self/status", -1);
    RUN_UNTIL(c.exits);
    assert_string_equal(buf_cstr(&c.out),
                        "from us|SigIgn:\t0000000000000000|SigBlk:\t0000000000000000|");
    child_cleanup(&c);
}

static void test_nothing_but_the_named_descriptor_is_inherited(void **state)
{
    struct child c = {0};
    int pair[2], leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC on purpose */
    char text[8] = "";

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    start(&c, "echo hi >&3; exec 3>&-; ls /proc/self/fd | tr '\\n' ' '", pair[1]);
    close(pair[1]);
    RUN_UNTIL(c.exits);
    assert_int_equal(read(pair[0], text, sizeof(text) - 1), 3);
    assert_string_equal(text, "hi\n");
    assert_string_equal(buf_cstr(&c.out), "0 1 2 3 |"); /* 3 is ls reading the folder */
    close(pair[0]);
    close(leak);
    child_cleanup(&c);
}

static void test_missing_program_is_an_error(void **state)
{
    const char *argv[] = {"/nonexistent/program", NULL};
    struct process_conf conf = {.argv = argv, .pass_fd = -1, .on_line = on_line};
    struct err err;

    (void)state;
    assert_null(process_start(loop, &conf, &err));
    assert_int_equal(err.code, RC_NOT_FOUND);
    assert_true(strstr(err.text, "/nonexistent/program") != NULL);
}

static void test_free_kills_and_reaps(void **state)
{
    struct child c = {0};
    int pid;

    (void)state;
    start(&c, "echo ready; exec sleep 60", -1);
    RUN_UNTIL(c.out.n);
    pid = process_pid(c.process);
    child_cleanup(&c);
    RUN_UNTIL(kill(pid, 0) != 0); /* gone, not a zombie */
    assert_int_equal(c.exits, 0);
}

static void test_free_inside_a_line(void **state)
{
    struct child c = {.free_on_line = true};

    (void)state;
    start(&c, "echo one; echo two; exec sleep 60", -1);
    RUN_UNTIL(!c.process);
    run_for(20);
    assert_string_equal(buf_cstr(&c.out), "one|");
    child_cleanup(&c);
}

static void test_grandchild_on_the_pipe_delays_little(void **state)
{
    struct child c = {0};
    int64_t began = loop_now_ms(loop);

    (void)state;
    start(&c, "sleep 30 & echo $!; exit 3", -1);
    RUN_UNTIL(c.exits);
    assert_int_equal(c.status, 3);
    assert_true(loop_now_ms(loop) - began < 15000);
    kill(atoi(buf_cstr(&c.out)), SIGKILL);
    child_cleanup(&c);
}

static void test_child_dies_with_its_parent(void **state)
{
    int report[2];
    pid_t parent, child;

    (void)state;
    assert_int_equal(pipe(report), 0);
    parent = fork();
    if (parent == 0) {
        const char *argv[] = {"/bin/sleep", "60", NULL};
        struct process_conf conf = {.argv = argv, .pass_fd = -1};
        struct process *p = process_start(loop_new(), &conf, NULL);
        int pid = p ? process_pid(p) : -1;

        (void)!write(report[1], &pid, sizeof(pid));
        pause();
    }
    assert_int_equal(read(report[0], &child, sizeof(child)), sizeof(child));
    assert_true(child > 0);
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    for (int i = 0; i < 1000 && kill(child, 0) == 0; i++) {
        char path[64], stat[256] = "";
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)child);
        f = fopen(path, "r");
        if (f) {
            (void)!fgets(stat, sizeof(stat), f);
            fclose(f);
        }
        if (strstr(stat, ") Z ")) /* dead; whoever adopted it has not asked yet */
            break;
        usleep(5000);
        assert_true(i < 999);
    }
    close(report[0]);
    close(report[1]);
}

static void test_sibling_path(void **state)
{
    char *path = process_sibling("leat-codec");

    (void)state;
    assert_int_equal(path[0], '/');
    assert_true(slice_has_suffix(slice_str(path), "/leat-codec"));
    free(path);
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, setup_loop, teardown_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_lines_then_exit_status),
        WITH_LOOP(test_overlong_line_is_cut),
        WITH_LOOP(test_raw_output_beside_lines_of_errors),
        WITH_LOOP(test_signal_ends_it),
        WITH_LOOP(test_environment_and_signals_are_clean),
        WITH_LOOP(test_nothing_but_the_named_descriptor_is_inherited),
        WITH_LOOP(test_missing_program_is_an_error),
        WITH_LOOP(test_free_kills_and_reaps),
        WITH_LOOP(test_free_inside_a_line),
        WITH_LOOP(test_grandchild_on_the_pipe_delays_little),
        cmocka_unit_test(test_child_dies_with_its_parent),
        cmocka_unit_test(test_sibling_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
