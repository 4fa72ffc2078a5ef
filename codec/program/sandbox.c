#include "codec/program/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifndef HAS_ASAN
#define HAS_ASAN 0
#endif

enum { SESSION_FD = 3 };

struct sandbox {
    struct sock_fprog program;
    struct sock_filter steps[BPF_MAXINSNS];
};

static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(close),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
};

/* Answered with EACCES. abort() asks for some of these and goes on to trap. */
static const int refused[] = {
    SCMP_SYS(open),    SCMP_SYS(openat),   SCMP_SYS(stat),           SCMP_SYS(newfstatat),
    SCMP_SYS(access),  SCMP_SYS(readlink), SCMP_SYS(statx),          SCMP_SYS(getpid),
    SCMP_SYS(gettid),  SCMP_SYS(tgkill),   SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction),
    SCMP_SYS(sysinfo), SCMP_SYS(ioctl),
};

/* What AddressSanitizer uses to find its way and to write a report. */
static const int for_asan[] = {
    SCMP_SYS(getpid),       SCMP_SYS(gettid),      SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigaction), SCMP_SYS(sigaltstack), SCMP_SYS(rt_sigprocmask),
};

static bool add_rules(scmp_filter_ctx f, uint32_t action, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (seccomp_rule_add(f, action, calls[i], 0) < 0)
            return false;
    return true;
}

/* Memory may be mapped and its protection changed, but never into something to execute. */
static bool add_memory_rules(scmp_filter_ctx f)
{
    struct scmp_arg_cmp no_exec = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);

    return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, no_exec) >= 0 &&
           seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_exec) >= 0;
}

static bool export_filter(struct sandbox *s, scmp_filter_ctx f)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);
    ssize_t n = -1;

    if (fd >= 0 && seccomp_export_bpf(f, fd) >= 0)
        n = pread(fd, s->steps, sizeof(s->steps), 0);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    s->program.len = (unsigned short)((size_t)n / sizeof(s->steps[0]));
    s->program.filter = s->steps;
    return true;
}

struct sandbox *sandbox_new(struct err *err)
{
    struct sandbox *s = xcalloc(1, sizeof(*s));
    uint32_t otherwise = HAS_ASAN ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS;
    scmp_filter_ctx f = seccomp_init(otherwise);
    bool ok = f && add_rules(f, SCMP_ACT_ALLOW, allowed, ARRAY_LEN(allowed)) && add_memory_rules(f);

    if (ok && HAS_ASAN)
        ok = add_rules(f, SCMP_ACT_ALLOW, for_asan, ARRAY_LEN(for_asan));
    else if (ok)
        ok = add_rules(f, SCMP_ACT_ERRNO(EACCES), refused, ARRAY_LEN(refused));
    ok = ok && export_filter(s, f);
    seccomp_release(f);
    if (ok)
        return s;
    err_set(err, RC_INTERNAL, "the sandbox's filter cannot be built");
    sandbox_free(s);
    return NULL;
}

void sandbox_free(struct sandbox *s)
{
    free(s);
}

void sandbox_close_descriptors(int keep_fd)
{
    unsigned after = SESSION_FD + 1;

    if (keep_fd != SESSION_FD) {
        dup2(keep_fd, SESSION_FD);
        close(keep_fd);
    }
    syscall(SYS_close_range, after, UINT_MAX, 0);
    for (int fd = 0; fd < SESSION_FD; fd++)
        if (!(HAS_ASAN && fd == STDERR_FILENO))
            close(fd);
}

/* Pages of address space that the process has, from /proc/self/statm. */
static size_t address_space_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;

    if (f && fscanf(f, "%lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* On top of what is mapped now; shared mappings count too. */
static bool limit_memory(size_t bytes)
{
    rlim_t all = address_space_bytes() + bytes;
    struct rlimit as = {all, all}, core = {0, 0};

    if (setrlimit(RLIMIT_CORE, &core) < 0)
        return false;
    return HAS_ASAN || setrlimit(RLIMIT_AS, &as) == 0;
}

enum rc sandbox_enter(const struct sandbox *s, size_t memory_bytes, struct err *err)
{
    if (!limit_memory(memory_bytes))
        return err_errno(err, RC_INTERNAL, errno, "limits of a codec child");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(err, RC_INTERNAL, errno, "no_new_privs");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &s->program, 0, 0) < 0)
        return err_errno(err, RC_INTERNAL, errno, "seccomp");
    return RC_OK;
}
