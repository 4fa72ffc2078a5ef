/* gRPC, server side: one message in, messages out, the status as trailers. */
#include <string.h>

#include "base/reader.h"
#include "net/grpc.h"
#include "net/http_server_int.h"

/* Statuses beside those of grpc.h that only we answer with. */
enum { GRPC_RESOURCE_EXHAUSTED = 8, GRPC_INTERNAL = 13, PREFIX = 5 };

struct reading {
    grpc_on_message fn;
    void *arg;
};

bool grpc_is_request(const struct http_request *r)
{
    return r->version == 2 &&
           slice_has_prefix(http_header_get(&r->headers, "content-type"), "application/grpc");
}

/* --- the answer --- */

static void start_once(struct http_exchange *x)
{
    if (!x->dead && !x->head_sent)
        http_start(x, 200, "application/grpc", -1);
}

/* Printable ASCII but '%' stays (PROTOCOL-HTTP2, Percent-Encoded). */
static char *encode_message(struct arena *a, const char *text)
{
    char *out = arena_alloc(a, 3 * strlen(text) + 1), *p = out;

    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c >= ' ' && *c <= '~' && *c != '%') {
            *p++ = (char)*c;
            continue;
        }
        *p++ = '%';
        *p++ = "0123456789ABCDEF"[*c >> 4];
        *p++ = "0123456789ABCDEF"[*c & 15];
    }
    return out;
}

static void end_with(struct http_exchange *x, int status, const char *text)
{
    if (x->dead || x->finished)
        return;
    start_once(x);
    http_trailer(x, "grpc-status", arena_printf(x->arena, "%d", status));
    if (*text)
        http_trailer(x, "grpc-message", encode_message(x->arena, text));
    http_finish(x);
}

void grpc_fail(struct http_exchange *x, int status, const char *text)
{
    end_with(x, status, text);
}

void grpc_send(struct http_exchange *x, struct slice message)
{
    uint32_t n = (uint32_t)message.n;
    uint8_t prefix[PREFIX] = {0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                              (uint8_t)n};

    if (message.n > UINT32_MAX) {
        grpc_fail(x, GRPC_INTERNAL, "the answer is larger than a message can be");
        return;
    }
    start_once(x);
    http_write(x, slice_of(prefix, sizeof(prefix)));
    http_write(x, message);
}

void grpc_end(struct http_exchange *x)
{
    end_with(x, GRPC_OK, "");
}

void grpc_reply(struct http_exchange *x, struct slice message)
{
    grpc_send(x, message);
    grpc_end(x);
}

/* --- the request --- */

/* Where the message lies in the body; false when the call was answered with why not. */
static bool find_message(struct http_exchange *x, struct slice body, struct slice *message)
{
    struct reader r = reader_of(body);
    uint8_t compressed = rd_u8(&r);
    uint32_t n = rd_be32(&r);

    if (!r.failed && compressed == 1) {
        grpc_fail(x, GRPC_UNIMPLEMENTED, "compressed messages are not taken");
        return false;
    }
    if (!r.failed && n > GRPC_MAX_MESSAGE) {
        grpc_fail(x, GRPC_RESOURCE_EXHAUSTED, "the message is larger than 4194304 bytes");
        return false;
    }
    *message = rd_bytes(&r, n);
    if (!r.failed && !r.left && !compressed)
        return true;
    grpc_fail(x, GRPC_INTERNAL, "the request is not one whole message");
    return false;
}

static int status_of(enum rc rc)
{
    return rc == RC_LIMIT     ? GRPC_RESOURCE_EXHAUSTED
           : rc == RC_TIMEOUT ? GRPC_DEADLINE_EXCEEDED
                              : GRPC_CANCELLED;
}

static void on_body(struct http_exchange *x, struct blob *body, const struct err *why, void *arg)
{
    struct reading reading = *(struct reading *)arg;
    struct slice message;
    struct blob *part = NULL;

    if (!body)
        grpc_fail(x, status_of(why->code), why->text);
    else if (find_message(x, blob_slice(body), &message))
        part = blob_sub(body, PREFIX, message.n);
    reading.fn(x, part, reading.arg);
    blob_unref(&part);
}

void grpc_read(struct http_exchange *x, grpc_on_message fn, void *arg)
{
    struct reading *reading = arena_alloc(http_arena(x), sizeof(*reading));

    *reading = (struct reading){fn, arg};
    http_read_body(x, PREFIX + GRPC_MAX_MESSAGE, on_body, reading);
}
