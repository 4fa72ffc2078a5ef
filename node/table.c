#include "node/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2, INDENT = 2 };

struct table {
    size_t columns, cells, left_out;
    size_t width[TABLE_MAX_COLUMNS];
    char *cell[(TABLE_MAX_ROWS + 1) * TABLE_MAX_COLUMNS];
};

/* Characters, not bytes: names of streams may be in any script. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static void add(struct table *t, char *TAKES text)
{
    size_t column = t->cells % t->columns;

    t->width[column] = MAX(t->width[column], width_of(text));
    t->cell[t->cells++] = text;
}

struct table *table_new(const char *const *heads)
{
    struct table *t = xcalloc(1, sizeof(*t));

    while (t->columns < TABLE_MAX_COLUMNS && heads[t->columns])
        t->columns++;
    for (size_t i = 0; i < t->columns; i++)
        add(t, xstrdup(heads[i]));
    return t;
}

void table_cell(struct table *t, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    if (t->cells == (TABLE_MAX_ROWS + 1) * t->columns) {
        t->left_out++;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    add(t, xstrdup(text));
}

static void print_row(const struct table *t, char *const *cells, struct buf *out)
{
    buf_printf(out, "%*s", INDENT, "");
    for (size_t i = 0; i < t->columns; i++) {
        size_t pad = t->width[i] - width_of(cells[i]) + GAP;

        buf_printf(out, "%s%*s", cells[i], (int)pad, "");
    }
    while (buf_ok(out) && out->n && out->p[out->n - 1] == ' ')
        out->n--; /* empty cells at the end */
    buf_u8(out, '\n');
}

void table_print(struct table *t, struct buf *out)
{
    if (t->cells > t->columns) {
        buf_u8(out, '\n');
        for (size_t i = 0; i < t->cells; i += t->columns)
            print_row(t, t->cell + i, out);
        if (t->left_out)
            buf_printf(out, "%*sand %zu more\n", INDENT, "", t->left_out / t->columns);
    }
    for (size_t i = 0; i < t->cells; i++)
        free(t->cell[i]);
    free(t);
}
