/* node/options.h: the configuration of a node, from one table (options.def).
 *
 * Command line wins over environment (LP_NAME), environment over the -config file
 * (operations.md 1). One or two dashes, "-name value" or "-name=value"; flags without a
 * value are "-name" or "-name=false". A bad value names the flag, the value and what was
 * expected.
 */
#ifndef LEAT_NODE_OPTIONS_H
#define LEAT_NODE_OPTIONS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

enum { ROLE_G = 1, ROLE_O = 2, ROLE_T = 4, ROLE_U = 8, ROLE_ALL = 15 };

enum option_id {
#define OPTION(name, ...) OPT_##name,
#include "node/options.def"
#undef OPTION
    OPTION_COUNT
};

enum option_source { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_COMMAND_LINE };

struct option_value {
    char *text;     /* as given */
    int64_t number; /* NUMBER, DURATION in ms; FLAG 0 or 1 */
    enum option_source source;
};

struct options {
    struct option_value v[OPTION_COUNT];
};

void options_init(struct options *o); /* defaults */
void options_cleanup(struct options *o);

/* argv without the program and subcommand. RC_BAD_INPUT: a flag that does not exist (the nearest
 * name is suggested), a value out of range, a word that is no flag, an unreadable file.
 * RC_UNSUPPORTED: a flag of the reference that this version does not have; the sentence says why.
 */
MUST_CHECK enum rc options_read(struct options *o, int argc, char *const *argv,
                                char *const *environ, struct err *err);

static inline const char *opt_text(const struct options *o, enum option_id id)
{
    return o->v[id].text;
}
static inline int64_t opt_number(const struct options *o, enum option_id id)
{
    return o->v[id].number;
}
static inline bool opt_flag(const struct options *o, enum option_id id)
{
    return o->v[id].number != 0;
}
static inline bool opt_given(const struct options *o, enum option_id id)
{
    return o->v[id].source != FROM_DEFAULT;
}

/* Flags on the command line that the role does not know: refused by name, or listed as
 * "-a, -b", for the form of the reference, which takes every flag in every role. */
MUST_CHECK enum rc options_check_role(const struct options *o, int role, struct err *err);
void options_list_foreign(const struct options *o, int role, struct buf *out);

void options_help(struct buf *out, int role); /* one role's flags, wrapped to 80 columns */
void options_print_changed(struct buf *out, const struct options *o); /* secrets as *** */
void options_flags(struct buf *out, int roles); /* "-v -version ...": all that one of them takes */
void options_manual(struct buf *out);           /* the flags' section of leat(1), roff */
void options_json(struct json_out *j);          /* "optional": {...}, for MistServer */
void options_roff(struct buf *out, const char *text); /* text as it stands, for roff */

/* Text or, when it names a readable file, what the file holds (trimmed). The caller frees it. */
char *option_value_or_file(const char *value);

/* Splits at commas, trims, drops empties; NULL-terminated; free with texts_free. */
char **texts_split(const char *list);
void texts_free(char **texts);

/* "1m30s", "500ms", "2h" to milliseconds; false when it is no such text. */
MUST_CHECK bool duration_parse(const char *text, int64_t *ms);

#endif
