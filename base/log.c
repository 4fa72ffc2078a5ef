#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base_int.h"
#include "base/clock.h"

/* A line fits PIPE_BUF, so that even a pipe takes it in one piece. */
enum { LOG_TEXT_MAX = 1600, LEFT_OUT_MAX = 48, LOG_LINE_MAX = 2048 };

static struct {
    char component[32];
    atomic_int least;
    bool colour;
    log_hook hook;
    void *hook_arg;
} state = {.component = "leat", .least = LOG_INFO};

/* What log_allowed suppressed of the place that logs next on this thread. */
static _Thread_local unsigned left_out;
static _Thread_local bool in_hook;

static const struct {
    const char *name, *colour;
} levels[] = {
    [LOG_DEBUG] = {"debug", "\033[2m"},
    [LOG_INFO] = {"info", ""},
    [LOG_PEER] = {"peer", "\033[33m"},
    [LOG_BUG] = {"bug", "\033[1;31m"},
};

/* `parent` may be t itself, and may be full: what does not fit is cut between characters. */
PRINTF_LIKE(3, 0)
static void fill_tag(struct log_tag *t, const char *parent, const char *fmt, va_list ap)
{
    char text[2 * sizeof(t->text)];
    size_t n = (size_t)snprintf(text, sizeof(text), "%s%s", parent, parent[0] ? " " : "");

    vsnprintf(text + n, sizeof(text) - n, fmt, ap);
    n = utf8_cut(slice_str(text), sizeof(t->text) - 1);
    memcpy(t->text, text, n);
    t->text[n] = '\0';
}

void log_tag(struct log_tag *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fill_tag(t, "", fmt, ap);
    va_end(ap);
}

void log_tag_child(struct log_tag *t, const struct log_tag *parent, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fill_tag(t, parent ? parent->text : "", fmt, ap);
    va_end(ap);
}

void log_init(const char *component, enum log_level least)
{
    snprintf(state.component, sizeof(state.component), "%s", component);
    state.colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
    log_set_level(least);
}

void log_set_level(enum log_level least)
{
    atomic_store(&state.least, (int)least);
}

enum log_level log_level_get(void)
{
    return (enum log_level)atomic_load(&state.least);
}

void log_set_hook(log_hook hook, void *arg)
{
    state.hook = hook;
    state.hook_arg = arg;
}

/* Appends text so that a peer can neither forge a line nor steer a terminal: control bytes
 * (C1 ones too), and bytes that are no UTF-8, become \n or \xNN. Text that does not fit ends
 * in "...". Returns the new end. */
static char *put_disarmed(char *to, const char *end, const char *text)
{
    struct slice s = slice_str(text);

    while (s.n) {
        size_t n = utf8_sequence(s);
        bool plain = n && !is_control(s.p[0]) && !(s.p[0] == 0xc2 && s.p[1] < 0xa0);

        if (end - to < 8) /* the longest piece, or the dots, and the NUL */
            return to + snprintf(to, 4, "...");
        if (plain)
            to = mempcpy(to, s.p, n);
        else if (s.p[0] == '\n')
            to += sprintf(to, "\\n");
        else
            to += sprintf(to, "\\x%02x", s.p[0]);
        s = slice_skip(s, plain ? n : 1);
    }
    *to = '\0';
    return to;
}

static void write_fully(const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(STDERR_FILENO, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return; /* nobody is left to tell */
        p += done;
        n -= (size_t)done;
    }
}

/* One write for each line: lines of many threads and processes on one pipe stay whole. */
static void write_line(enum log_level level, const char *tag, const char *text)
{
    char line[LOG_LINE_MAX], when[CLOCK_TEXT_MAX];
    bool colour = state.colour && levels[level].colour[0];
    int n;

    clock_format_utc(clock_wall_ms(), when);
    n = snprintf(line, sizeof(line), "%s%s %s %s%s%s%s%s%s\n", colour ? levels[level].colour : "",
                 when, levels[level].name, state.component, tag[0] ? " " : "", tag,
                 text[0] ? " " : "", text, colour ? "\033[0m" : "");
    write_fully(line, (size_t)n);
}

void log_line(enum log_level level, const struct log_tag *tag, const char *fmt, ...)
{
    char raw[LOG_TEXT_MAX], text[LOG_TEXT_MAX], tag_text[2 * sizeof(tag->text)] = "", *end;
    va_list ap;

    if (level < log_level_get())
        return;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof(raw), fmt, ap);
    va_end(ap);
    end = put_disarmed(text, text + sizeof(text) - LEFT_OUT_MAX, raw);
    if (left_out)
        snprintf(end, LEFT_OUT_MAX, " (%u more like it were left out)", left_out);
    left_out = 0;
    if (tag)
        put_disarmed(tag_text, tag_text + sizeof(tag_text), tag->text);
    write_line(level, tag_text, text);
    if (state.hook && !in_hook) {
        in_hook = true; /* a hook that logs is not called for its own lines */
        state.hook(level, tag_text, text, state.hook_arg);
        in_hook = false;
    }
}

bool log_allowed(struct log_limit *l, unsigned per_minute)
{
    int64_t now = clock_mono_ms();

    if (now - l->window_start_ms >= 60000) {
        left_out = l->left_out;
        *l = (struct log_limit){.window_start_ms = now};
    }
    if (l->in_window >= per_minute) {
        l->left_out++;
        return false;
    }
    l->in_window++;
    return true;
}
