#include "node/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_type { TEXT, FLAG, NUMBER, DURATION };
enum option_kind { NETWORK, OURS, SECRET, REFUSED };
enum { MAX_CONFIG_BYTES = 1024 * 1024, MAX_VALUE_FILE = 64 * 1024, HELP_COLUMNS = 80 };

struct option {
    const char *name;
    enum option_type type;
    const char *otherwise;
    int64_t min, max;
    int roles;
    enum option_kind kind;
    const char *word, *help; /* help of a REFUSED one: the reason */
};

/* The role letters of the table. */
enum { G = ROLE_G, O = ROLE_O, T = ROLE_T, U = ROLE_U, ALL = ROLE_ALL };

static const struct option table[OPTION_COUNT] = {
#define OPTION(name, type, otherwise, min, max, roles, kind, word, help)                           \
    [OPT_##name] = {#name, type, otherwise, min, max, roles, kind, word, help},
#include "node/options.def"
#undef OPTION
};

/* --- values --- */

bool duration_parse(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"us", .001}, {"ns", .000001}, {"s", 1000}, {"m", 60e3}, {"h", 3600e3}};
    double total = 0;

    if (strcmp(text, "0") == 0) {
        *ms = 0;
        return true;
    }
    if (!isdigit((unsigned char)*text) && *text != '.')
        return false;
    while (*text) {
        char *end;
        double n = strtod(text, &end);
        size_t i = 0;

        if (end == text || *text == '-' || *text == '+')
            return false;
        while (i < ARRAY_LEN(units) && strncmp(end, units[i].unit, strlen(units[i].unit)) != 0)
            i++;
        if (i == ARRAY_LEN(units) || n * units[i].ms > 1e15)
            return false;
        total += n * units[i].ms;
        text = end + strlen(units[i].unit);
    }
    *ms = (int64_t)total;
    return true;
}

static bool number_parse(const char *text, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && !*end && !errno;
}

static bool flag_parse(const char *text, int64_t *out)
{
    static const char *const yes[] = {"true", "1", "t", "T", "TRUE", "True"};
    static const char *const no[] = {"false", "0", "f", "F", "FALSE", "False"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static enum rc parse_value(const struct option *opt, const char *text, int64_t *number,
                           struct err *err)
{
    switch (opt->type) {
    case TEXT:
        return RC_OK;
    case FLAG:
        if (flag_parse(text, number))
            return RC_OK;
        return err_set(err, RC_BAD_INPUT, "-%s: \"%s\" is neither true nor false", opt->name, text);
    case NUMBER:
        if (number_parse(text, number) && *number >= opt->min && *number <= opt->max)
            return RC_OK;
        return err_set(err, RC_BAD_INPUT, "-%s: \"%s\" is no whole number from %lld to %lld",
                       opt->name, text, (long long)opt->min, (long long)opt->max);
    case DURATION:
        if (duration_parse(text, number) && *number >= opt->min && *number <= opt->max)
            return RC_OK;
        return err_set(err, RC_BAD_INPUT,
                       "-%s: \"%s\" is no time from %lld ms to %lld ms; write it like 500ms, 5s or "
                       "1m30s",
                       opt->name, text, (long long)opt->min, (long long)opt->max);
    }
    return RC_INTERNAL;
}

/* A flag of the reference that this version lacks harms nobody while it says what is so anyway. */
static enum rc check_refused(const struct option *opt, const char *text, struct err *err)
{
    int64_t given, usual;

    if (opt->kind != REFUSED || strcmp(text, opt->otherwise) == 0)
        return RC_OK;
    if (opt->type == FLAG && flag_parse(text, &given) && flag_parse(opt->otherwise, &usual) &&
        given == usual)
        return RC_OK;
    return err_set(err, RC_UNSUPPORTED, "-%s is refused: %s", opt->name, opt->help);
}

/* A weaker source never replaces a stronger one. */
static enum rc set(struct options *o, enum option_id id, const char *text,
                   enum option_source source, struct err *err)
{
    struct option_value *v = &o->v[id];
    int64_t number = 0;
    enum rc rc = check_refused(&table[id], text, err);

    if (rc == RC_OK)
        rc = parse_value(&table[id], text, &number, err);
    if (rc != RC_OK || source < v->source)
        return rc;
    free(v->text);
    *v = (struct option_value){xstrdup(text), number, source};
    return RC_OK;
}

void options_init(struct options *o)
{
    memset(o, 0, sizeof(*o));
    for (int id = 0; id < OPTION_COUNT; id++)
        if (set(o, (enum option_id)id, table[id].otherwise, FROM_DEFAULT, NULL) != RC_OK)
            abort(); /* a default outside its own range: the table is wrong */
}

void options_cleanup(struct options *o)
{
    for (int id = 0; id < OPTION_COUNT; id++)
        free(o->v[id].text);
}

/* --- names --- */

static int find(const char *name, size_t n)
{
    if (n == 7 && strncmp(name, "datadir", 7) == 0)
        return OPT_dataDir; /* both spellings are in use */
    for (int id = 0; id < OPTION_COUNT; id++)
        if (strlen(table[id].name) == n && strncmp(table[id].name, name, n) == 0)
            return id;
    return -1;
}

static size_t edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    size_t row[LONGEST + 1], n = strlen(a), m = strlen(b);

    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t differs = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);
            size_t best = MIN(MIN(row[j], row[j - 1]) + 1, diagonal + differs);

            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

static enum rc unknown(const char *name, struct err *err)
{
    size_t best = 1000;
    int nearest = 0;

    for (int id = 0; id < OPTION_COUNT; id++) {
        size_t d = edit_distance(name, table[id].name);

        if (d < best && table[id].kind != REFUSED) {
            best = d;
            nearest = id;
        }
    }
    if (best <= 3)
        return err_set(err, RC_BAD_INPUT, "flag -%s does not exist; did you mean -%s?", name,
                       table[nearest].name);
    return err_set(err, RC_BAD_INPUT, "flag -%s does not exist; `leat help` lists all", name);
}

/* --- command line --- */

static enum rc read_arg(struct options *o, int argc, char *const *argv, int *at, struct err *err)
{
    const char *arg = argv[*at], *name = arg + strspn(arg, "-"), *value;
    size_t dashes = (size_t)(name - arg), n = strcspn(name, "=");
    int id;

    if (dashes < 1 || dashes > 2 || !n)
        return err_set(err, RC_BAD_INPUT,
                       "\"%s\" is no flag: flags begin with a dash, and a flag that is only on or "
                       "off takes no separate value (write -name=false)",
                       arg);
    id = find(name, n);
    if (id < 0) {
        char alone[64];

        snprintf(alone, sizeof(alone), "%.*s", (int)MIN(n, (size_t)60), name);
        return unknown(alone, err);
    }
    if (name[n] == '=')
        value = name + n + 1;
    else if (table[id].type == FLAG)
        value = "true";
    else if (*at + 1 < argc)
        value = argv[++*at];
    else
        return err_set(err, RC_BAD_INPUT, "-%s needs a value: %s", table[id].name, table[id].word);
    return set(o, (enum option_id)id, value, FROM_COMMAND_LINE, err);
}

/* --- environment --- */

static enum rc read_variable(struct options *o, const char *variable, struct err *err)
{
    const char *eq = strchr(variable, '=');
    size_t n = eq ? (size_t)(eq - variable) : 0;
    enum rc rc;

    if (n < 4 || strncmp(variable, "LP_", 3) != 0)
        return RC_OK;
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (strlen(table[id].name) != n - 3 ||
            strncasecmp(table[id].name, variable + 3, n - 3) != 0)
            continue;
        rc = set(o, (enum option_id)id, eq + 1, FROM_ENVIRONMENT, err);
        return rc == RC_OK ? rc : err_wrap(err, rc, "environment variable %.*s", (int)n, variable);
    }
    return RC_OK; /* another program's */
}

/* --- file --- */

static enum rc read_file(const char *path, size_t max, struct buf *out, struct err *err)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    buf_init(out, max);
    if (!f)
        return err_errno(err, RC_NOT_FOUND, errno, "%s cannot be read", path);
    while (buf_reserve(out, 4096) && (n = fread(out->p + out->n, 1, 4096, f)) > 0)
        out->n += n;
    fclose(f);
    if (!buf_ok(out))
        return err_set(err, RC_LIMIT, "%s is larger than %zu bytes", path, max);
    return RC_OK;
}

static enum rc read_line(struct options *o, struct slice line, struct err *err)
{
    struct slice key;
    char *name, *value;
    enum rc rc;
    size_t n;
    int id;

    line = slice_trim(line);
    if (!line.n || line.p[0] == '#')
        return RC_OK;
    for (n = 0; n < line.n && line.p[n] != ' ' && line.p[n] != '\t'; n++)
        ;
    key = slice_sub(line, 0, n);
    name = slice_dup(key);
    id = find(name, n);
    value = n == line.n ? xstrdup("true") : slice_dup(slice_trim(slice_skip(line, n)));
    rc = id < 0 ? unknown(name, err) : set(o, (enum option_id)id, value, FROM_FILE, err);
    free(name);
    free(value);
    return rc;
}

static enum rc read_config(struct options *o, const char *path, struct err *err)
{
    struct buf text;
    struct slice rest, line;
    int number = 0;
    enum rc rc = read_file(path, MAX_CONFIG_BYTES, &text, err);

    rest = buf_slice(&text);
    while (rc == RC_OK && slice_split(&rest, '\n', &line)) {
        number++;
        rc = read_line(o, line, err);
        if (rc != RC_OK)
            rc = err_wrap(err, rc, "%s line %d", path, number);
    }
    buf_cleanup(&text);
    return rc == RC_OK ? rc : err_wrap(err, rc, "Error parsing config");
}

enum rc options_read(struct options *o, int argc, char *const *argv, char *const *environ,
                     struct err *err)
{
    enum rc rc = RC_OK;

    for (int i = 0; rc == RC_OK && i < argc; i++)
        rc = read_arg(o, argc, argv, &i, err);
    for (size_t i = 0; rc == RC_OK && environ && environ[i]; i++)
        rc = read_variable(o, environ[i], err);
    if (rc == RC_OK && opt_text(o, OPT_config)[0])
        rc = read_config(o, opt_text(o, OPT_config), err);
    return rc;
}

/* "gateway, orchestrator": who takes the flag. */
static void write_roles(struct buf *out, const struct option *opt)
{
    static const struct {
        int role;
        const char *name;
    } names[] = {
        {ROLE_G, "gateway"}, {ROLE_O, "orchestrator"}, {ROLE_T, "transcoder"}, {ROLE_U, "up"}};
    bool first = true;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!(opt->roles & names[i].role))
            continue;
        buf_printf(out, "%s%s", first ? "" : ", ", names[i].name);
        first = false;
    }
}

/* Is the flag on the command line, and not for this role? A refused one that says what is so anyway
 * is for everybody. */
static bool is_foreign(const struct options *o, int id, int role)
{
    return o->v[id].source == FROM_COMMAND_LINE && !(table[id].roles & role) &&
           table[id].kind != REFUSED;
}

void options_list_foreign(const struct options *o, int role, struct buf *out)
{
    for (int id = 0; id < OPTION_COUNT; id++)
        if (is_foreign(o, id, role))
            buf_printf(out, "%s-%s", out->n ? ", " : "", table[id].name);
}

enum rc options_check_role(const struct options *o, int role, struct err *err)
{
    struct buf others;
    enum rc rc = RC_OK;

    buf_init(&others, 256);
    for (int id = 0; rc == RC_OK && id < OPTION_COUNT; id++) {
        if (!is_foreign(o, id, role))
            continue;
        write_roles(&others, &table[id]);
        rc = err_set(err, RC_BAD_INPUT, "-%s is not for this role; it is for: %s", table[id].name,
                     buf_cstr(&others));
    }
    buf_cleanup(&others);
    return rc;
}

char *option_value_or_file(const char *value)
{
    struct buf text;
    char *out;

    if (read_file(value, MAX_VALUE_FILE, &text, NULL) == RC_OK && text.n)
        out = slice_dup(slice_trim(buf_slice(&text)));
    else
        out = xstrdup(value);
    buf_cleanup(&text);
    return out;
}

char **texts_split(const char *list)
{
    struct slice rest = slice_str(list), one;
    char **out = xcalloc(strlen(list) + 2, sizeof(*out));
    size_t n = 0;

    while (slice_split(&rest, ',', &one)) {
        one = slice_trim(one);
        if (one.n)
            out[n++] = slice_dup(one);
    }
    return out;
}

void texts_free(char **texts)
{
    for (size_t i = 0; texts && texts[i]; i++)
        free(texts[i]);
    free(texts);
}

/* --- what people read --- */

static void write_wrapped(struct buf *out, const char *text, size_t indent)
{
    struct slice rest = slice_str(text), word;
    size_t column = indent;

    buf_printf(out, "%*s", (int)indent, "");
    while (slice_split(&rest, ' ', &word)) {
        if (column > indent && column + 1 + word.n > HELP_COLUMNS) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            buf_u8(out, ' ');
            column++;
        }
        buf_add_slice(out, word);
        column += word.n;
    }
    buf_u8(out, '\n');
}

static void write_option(struct buf *out, const struct option *opt)
{
    bool tells_default = opt->otherwise[0] && opt->type != FLAG;

    buf_printf(out, "  -%s%s%s", opt->name, opt->word[0] ? " " : "", opt->word);
    if (opt->type == FLAG && strcmp(opt->otherwise, "true") == 0)
        buf_str(out, "  (on; -NAME=false switches it off)");
    if (tells_default)
        buf_printf(out, "  (default %s)", opt->otherwise);
    buf_u8(out, '\n');
    write_wrapped(out, opt->help, 6);
}

static bool is_offered(int id, int roles)
{
    return (table[id].roles & roles) && table[id].kind != REFUSED;
}

void options_help(struct buf *out, int role)
{
    for (int id = 0; id < OPTION_COUNT; id++)
        if (is_offered(id, role))
            write_option(out, &table[id]);
}

void options_print_changed(struct buf *out, const struct options *o)
{
    for (int id = 0; id < OPTION_COUNT; id++)
        if (opt_given(o, (enum option_id)id) && strcmp(o->v[id].text, table[id].otherwise) != 0)
            buf_printf(out, "  %-26s %s\n", table[id].name,
                       table[id].kind == SECRET ? "***" : o->v[id].text);
}

void options_flags(struct buf *out, int roles)
{
    for (int id = 0; id < OPTION_COUNT; id++)
        if (is_offered(id, roles))
            buf_printf(out, "%s-%s", out->n ? " " : "", table[id].name);
}

void options_roff(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '-' || *text == '\\')
            buf_u8(out, '\\');
        buf_u8(out, (uint8_t)*text);
    }
}

void options_json(struct json_out *j)
{
    jo_open(j, "optional", '{');
    for (int id = 0; id < OPTION_COUNT; id++) {
        const struct option *opt = &table[id];
        char flag[64];

        if (!is_offered(id, ROLE_G | ROLE_O | ROLE_T))
            continue;
        snprintf(flag, sizeof(flag), "-%s", opt->name);
        jo_open(j, opt->name, '{');
        jo_text(j, "name", opt->name);
        jo_text(j, "help", opt->help);
        jo_text(j, "option", flag);
        if (opt->type != FLAG) { /* a connector's option without a type is a switch */
            jo_text(j, "type", opt->type == NUMBER ? "int" : "str");
            jo_text(j, "default", opt->otherwise);
        }
        jo_close(j, '}');
    }
    jo_close(j, '}');
}

void options_manual(struct buf *out)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (!is_offered(id, ROLE_ALL))
            continue;
        buf_str(out, ".TP\n\\fB\\-");
        options_roff(out, table[id].name);
        buf_printf(out, "\\fR %s\n", table[id].word);
        options_roff(out, table[id].help);
        if (table[id].otherwise[0] && strcmp(table[id].otherwise, "false") != 0)
            buf_printf(out, " (default %s)", table[id].otherwise);
        if (table[id].roles != ALL) {
            buf_str(out, "\n.br\nOf: ");
            write_roles(out, &table[id]);
        }
        buf_u8(out, '\n');
    }
}
