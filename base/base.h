/* base/base.h: the few macros and allocation rules that every file uses.
 *
 * A small allocation that fails ends the process (xmalloc and friends): there is
 * nothing sensible left to do. A size that a peer chose goes through try_malloc
 * with a ceiling and can be refused.
 */
#ifndef LEAT_BASE_BASE_H
#define LEAT_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN _Noreturn
#define TAKES /* on a parameter: the callee owns it from here on, success or not */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n); /* at most n bytes, up to a NUL */
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* NULL when n is above `ceiling` or memory is short. */
MUST_CHECK void *try_malloc(size_t n, size_t ceiling);

/* Checked arithmetic: false (and *out untouched) on overflow. */
static inline bool size_mul(size_t *out, size_t a, size_t b)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool size_add(size_t *out, size_t a, size_t b)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

#endif
