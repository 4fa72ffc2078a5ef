/* The wall clock of a process, moved by a test: loaded before the C library (LD_PRELOAD), adds the
 * seconds that LEAT_CLOCK_SHIFT's file holds (8 bytes, this machine's order) to every reading of
 * the real time. The file is mapped once, so a process in a sandbox follows too. Monotonic time is
 * left alone: that is what the kernel does when somebody sets the clock. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static int (*real_clock_gettime)(clockid_t clock, struct timespec *t);
static const volatile int64_t *shift_s;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("LEAT_CLOCK_SHIFT");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *p = fd >= 0 ? mmap(NULL, sizeof(*shift_s), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    if (p == MAP_FAILED)
        abort(); /* the test would prove nothing */
    shift_s = p;
    close(fd);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *t)
{
    int failed;

    if (!real_clock_gettime)
        *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    failed = real_clock_gettime(clock, t);
    if (!failed && shift_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        t->tv_sec += *shift_s;
    return failed;
}

EXPORT int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

EXPORT time_t time(time_t *t)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (t)
        *t = now.tv_sec;
    return now.tv_sec;
}
