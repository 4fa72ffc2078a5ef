/* base/text.h: the encodings that headers and URLs need. Threads: pure. */
#ifndef LEAT_BASE_TEXT_H
#define LEAT_BASE_TEXT_H

#include "base/buf.h"
#include "base/err.h"

void base64_encode(struct buf *out, struct slice bytes); /* standard, with = */

/* These append to *out, and on failure leave a part there. RC_LIMIT: more than out->max. */
MUST_CHECK enum rc base64_decode(struct buf *out, struct slice text, struct err *err);
MUST_CHECK enum rc hex_decode(struct buf *out, struct slice text, struct err *err);

/* %41 -> A, once. RC_BAD_INPUT on a broken escape, NUL or control byte. */
MUST_CHECK enum rc percent_decode(struct buf *out, struct slice text, struct err *err);
void percent_encode(struct buf *out, struct slice bytes); /* all but unreserved, RFC 3986 2.3 */

/* Value of `name` in "a=b&c=d", still percent-encoded; false when absent. */
bool query_get(struct slice query, const char *name, struct slice *value);

/* Bytes made safe for a log line: control and non-ASCII bytes as \xNN, cut after about 200
 * characters. Returns out. */
const char *text_printable(struct slice bytes, char out[256]);

/* &, <, >, ", ' escaped for HTML. */
void html_escape(struct buf *out, struct slice text);

#endif
