/* base/log.h: one line per event, its level says who must act.
 *
 *   debug  nobody            info  the operator may like to know
 *   peer   someone else misbehaved          bug  we did
 *
 * A line is `2026-11-24T18:10:51.123Z info gateway stream=demo segment=17 text`.
 * The tag carries the object the line is about. Secrets have no printer: never
 * put a key into a tag or a text. Lines go to stderr, each with one write and at most
 * 2 KB; on a terminal in colour unless NO_COLOR is set. What peers wrote is disarmed:
 * control bytes and broken UTF-8 appear as \n or \xNN.
 *
 * Threads: any.
 */
#ifndef LEAT_BASE_LOG_H
#define LEAT_BASE_LOG_H

#include "base/base.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_PEER, LOG_BUG };

/* Made once per object: log_tag(&s->log, "stream=%s", name). */
struct log_tag {
    char text[160];
};

void log_tag(struct log_tag *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* tag = parent's tag + " " + text */
void log_tag_child(struct log_tag *t, const struct log_tag *parent, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* `component` (a literal, "gateway") stands in every line of the process. */
void log_init(const char *component, enum log_level least);
void log_set_level(enum log_level least);
enum log_level log_level_get(void);

/* Called for each line that is written, after it was, on the thread that logs: pages show the
 * last troubles. tag and text are as printed. Not called for lines of the hook itself. Set it
 * before there are threads. */
typedef void (*log_hook)(enum log_level level, const char *tag, const char *text, void *arg);
void log_set_hook(log_hook hook, void *arg);

void log_line(enum log_level level, const struct log_tag *tag, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#define log_debug(tag, ...)                                                                        \
    do {                                                                                           \
        if (log_level_get() <= LOG_DEBUG)                                                          \
            log_line(LOG_DEBUG, tag, __VA_ARGS__);                                                 \
    } while (0)
#define log_info(tag, ...) log_line(LOG_INFO, tag, __VA_ARGS__)
#define log_peer(tag, ...) log_line(LOG_PEER, tag, __VA_ARGS__)
#define log_bug(tag, ...) log_line(LOG_BUG, tag, __VA_ARGS__)

/* For events a peer can cause at will: at most `per_minute` lines a minute from one
 * place; the next line that passes says how many were left out, so log it right after
 * asking. Zero-initialise.   if (log_allowed(&limit, 6)) log_peer(...); */
struct log_limit {
    int64_t window_start_ms;
    unsigned in_window, left_out;
};
bool log_allowed(struct log_limit *l, unsigned per_minute);

#endif
