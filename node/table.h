/* node/table.h: rows of text in columns as wide as what they hold, for people.
 *
 * Ownership: the table owns its cells.   Threads: one.
 */
#ifndef LEAT_NODE_TABLE_H
#define LEAT_NODE_TABLE_H

#include "base/buf.h"

enum { TABLE_MAX_COLUMNS = 8, TABLE_MAX_ROWS = 1000 }; /* further rows are counted only */

struct table;

/* heads ends with NULL; they stay the caller's. */
struct table *table_new(const char *const *heads);
void table_cell(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3); /* left to right */

/* Appends it with an indent, below an empty line; nothing when there is no row. Frees t. */
void table_print(struct table *TAKES t, struct buf *out);

#endif
