/* What a process inside the sandbox of leat-codec can still do: each case is a fork that
 * enters it and tries. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/program/sandbox.h"

enum { MEMORY = 64 << 20 };

/* In sanitized builds what is forbidden is refused instead of deadly. */
#if defined(__SANITIZE_ADDRESS__)
enum { FORBIDDEN_KILLS = 0 };
#else
enum { FORBIDDEN_KILLS = 1 };
#endif

/* What the attempt came to. */
enum outcome { WORKED = 40, REFUSED, OTHER };

static enum outcome of(long r, int refusal)
{
    return r >= 0 ? WORKED : errno == refusal ? REFUSED : OTHER;
}

/* Wait status of a process that tried it inside. */
static int try_inside(enum outcome (*attempt)(int fd))
{
    struct sandbox *s = sandbox_new(NULL);
    int pair[2], status = 0;

    assert_non_null(s);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        sandbox_close_descriptors(pair[1]);
        if (sandbox_enter(s, MEMORY, NULL) != RC_OK)
            _exit(1);
        _exit((int)attempt(3));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(pair[0]);
    close(pair[1]);
    sandbox_free(s);
    return status;
}

static void assert_outcome(enum outcome (*attempt)(int fd), enum outcome wanted)
{
    int status = try_inside(attempt);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), wanted);
}

static void assert_forbidden(enum outcome (*attempt)(int fd))
{
    int status = try_inside(attempt);

    if (FORBIDDEN_KILLS) {
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    } else {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), REFUSED);
    }
}

/* ---- attempts ---- */

static enum outcome write_to_the_socket(int fd)
{
    return of(write(fd, "x", 1), EPERM);
}

static enum outcome use_memory(int fd)
{
    size_t n = MEMORY / 2;
    char *p = malloc(n);

    if (!p)
        return OTHER;
    memset(p, 1, n);
    free(p);
    return WORKED;
}

static enum outcome open_a_file(int fd)
{
    return of(open("/etc/passwd", O_RDONLY), FORBIDDEN_KILLS ? EACCES : EPERM);
}

static enum outcome write_a_file(int fd)
{
    return of(open("/tmp/leat-codec-escaped", O_CREAT | O_WRONLY, 0600),
              FORBIDDEN_KILLS ? EACCES : EPERM);
}

static enum outcome use_other_descriptors(int fd)
{
    for (int other = 0; other < 1024; other++)
        if (other != fd && !(other == 2 && !FORBIDDEN_KILLS) && write(other, "", 0) == 0)
            return WORKED;
    return REFUSED;
}

static enum outcome use_too_much_memory(int fd)
{
    void *p = mmap(NULL, 2 * (size_t)MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);

    return p == MAP_FAILED && errno == ENOMEM ? REFUSED : WORKED;
}

static enum outcome share_too_much_memory(int fd)
{
    void *p = mmap(NULL, 2 * (size_t)MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                   0);

    return p == MAP_FAILED && errno == ENOMEM ? REFUSED : WORKED;
}

static enum outcome raise_the_limit(int fd)
{
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

    return of(setrlimit(RLIMIT_AS, &all), EPERM);
}

static enum outcome make_a_socket(int fd)
{
    return of(socket(AF_INET, SOCK_STREAM, 0), EPERM);
}

static enum outcome fork_a_process(int fd)
{
    return of(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
}

static enum outcome execute_a_program(int fd)
{
    char *argv[] = {(char *)"/bin/true", NULL};

    return of(execve(argv[0], argv, NULL), EPERM);
}

static enum outcome make_memory_executable(int fd)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                   0);

    return of(p == MAP_FAILED ? -1 : 0, EPERM);
}

static enum outcome trace_the_parent(int fd)
{
    return of(syscall(SYS_ptrace, 16 /* attach */, 1, 0, 0), EPERM);
}

static enum outcome signal_another(int fd)
{
    return of(syscall(SYS_kill, 1, 0), EPERM);
}

static enum outcome gain_privileges_back(int fd)
{
    return of(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EPERM);
}

/* ---- tests ---- */

static void work_is_possible(void **state)
{
    assert_outcome(write_to_the_socket, WORKED);
    assert_outcome(use_memory, WORKED);
}

static void files_are_refused(void **state)
{
    assert_outcome(open_a_file, REFUSED);
    assert_outcome(write_a_file, REFUSED);
}

static void nothing_else_is_left_open(void **state)
{
    assert_outcome(use_other_descriptors, REFUSED);
}

static void memory_is_limited(void **state)
{
    if (!FORBIDDEN_KILLS)
        skip(); /* sanitized builds have no memory limit */
    assert_outcome(use_too_much_memory, REFUSED);
    assert_outcome(share_too_much_memory, REFUSED);
    assert_forbidden(raise_the_limit);
}

static void the_rest_is_forbidden(void **state)
{
    assert_forbidden(make_a_socket);
    assert_forbidden(fork_a_process);
    assert_forbidden(execute_a_program);
    assert_forbidden(make_memory_executable);
    assert_forbidden(trace_the_parent);
    assert_forbidden(signal_another);
    assert_forbidden(gain_privileges_back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_is_possible),          cmocka_unit_test(files_are_refused),
        cmocka_unit_test(nothing_else_is_left_open), cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(the_rest_is_forbidden),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
