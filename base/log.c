#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { LOG_TEXT_MAX = 1600, LOG_LINE_MAX = 2048 };

static struct {
    char component[32];
    atomic_int least;
    bool colour;
    log_hook hook;
    void *hook_arg;
} state = {.component = "leat", .least = LOG_INFO};

static const struct {
    const char *name, *colour;
} levels[] = {
    [LOG_DEBUG] = {"debug", "\033[2m"},
    [LOG_INFO] = {"info", ""},
    [LOG_PEER] = {"peer", "\033[33m"},
    [LOG_BUG] = {"bug", "\033[1;31m"},
};

void log_tag(struct log_tag *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(t->text, sizeof(t->text), fmt, ap);
    va_end(ap);
}

void log_tag_child(struct log_tag *t, const struct log_tag *parent, const char *fmt, ...)
{
    size_t n = (size_t)snprintf(t->text, sizeof(t->text), "%s ", parent ? parent->text : "");
    va_list ap;

    n = MIN(n, sizeof(t->text) - 1);
    if (!parent || !parent->text[0])
        n = 0;
    va_start(ap, fmt);
    vsnprintf(t->text + n, sizeof(t->text) - n, fmt, ap);
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

/* A peer's text must not forge lines or steer terminals. */
static void disarm(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

static void write_line(enum log_level level, const char *tag, const char *text)
{
    char line[LOG_LINE_MAX], when[CLOCK_TEXT_MAX];
    bool colour = state.colour && levels[level].colour[0];
    int n;

    clock_format_utc(clock_wall_ms(), when);
    n = snprintf(line, sizeof(line), "%s%s %s %s %s%s%s%s\n", colour ? levels[level].colour : "",
                 when, levels[level].name, state.component, tag, tag[0] ? " " : "", text,
                 colour ? "\033[0m" : "");
    n = MIN(n, (int)sizeof(line) - 1);
    line[n - 1] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* nobody is left to tell */
}

void log_line(enum log_level level, const struct log_tag *tag, const char *fmt, ...)
{
    char text[LOG_TEXT_MAX], tag_text[sizeof(tag->text)] = "";
    va_list ap;

    if (level < log_level_get())
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    disarm(text);
    if (tag)
        snprintf(tag_text, sizeof(tag_text), "%s", tag->text);
    disarm(tag_text);
    write_line(level, tag_text, text);
    if (state.hook)
        state.hook(level, tag_text, text, state.hook_arg);
}

bool log_allowed(struct log_limit *l, unsigned per_minute)
{
    int64_t now = clock_mono_ms();

    if (now - l->window_start_ms >= 60000) {
        if (l->left_out)
            log_line(LOG_INFO, NULL, "%u lines like the next were left out", l->left_out);
        *l = (struct log_limit){.window_start_ms = now};
    }
    if (l->in_window >= per_minute) {
        l->left_out++;
        return false;
    }
    l->in_window++;
    return true;
}
