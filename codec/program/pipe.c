#include "codec/program/pipe.h"

#include <errno.h>
#include <unistd.h>

bool pipe_read(int fd, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = read(fd, (uint8_t *)p + at, n - at);

        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        at += got > 0 ? (size_t)got : 0;
    }
    return true;
}

bool pipe_write(int fd, struct slice s)
{
    while (s.n) {
        ssize_t put = write(fd, s.p, s.n);

        if (put < 0 && errno != EINTR)
            return false;
        s = slice_skip(s, put > 0 ? (size_t)put : 0);
    }
    return true;
}
