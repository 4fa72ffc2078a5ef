/* The network's messages: byte 0 says which, the rest are its bytes. What is read must write to
 * bytes that read the same. */
#include <assert.h>
#include <stdlib.h>

#include "wire/messages.h"

enum { KINDS = 8, MAX_BYTES = 1024 * 1024 };

static void end_session_again(const struct auth_token *t)
{
    struct auth_token back;
    struct buf a, b;

    buf_init(&a, MAX_BYTES);
    buf_init(&b, MAX_BYTES);
    end_session_encode(t, &a);
    assert(end_session_decode(buf_slice(&a), &back, NULL) == RC_OK);
    end_session_encode(&back, &b);
    assert(buf_ok(&a) && slice_eq(buf_slice(&a), buf_slice(&b)));
    buf_cleanup(&a);
    buf_cleanup(&b);
}

static void ping_again(struct slice value, struct arena *arena)
{
    struct slice back;
    struct buf a;

    buf_init(&a, MAX_BYTES);
    ping_encode(value, &a);
    assert(ping_decode(buf_slice(&a), &back, arena, NULL) == RC_OK && slice_eq(value, back));
    buf_cleanup(&a);
}

#define TRY(kind)                                                                                  \
    static void try_##kind(struct slice in, struct arena *arena)                                   \
    {                                                                                              \
        struct kind *m = malloc(sizeof(*m)), *back = malloc(sizeof(*back));                        \
        struct err err;                                                                            \
        struct buf a, b;                                                                           \
                                                                                                   \
        buf_init(&a, MAX_BYTES);                                                                   \
        buf_init(&b, MAX_BYTES);                                                                   \
        if (kind##_decode(in, arena, m, &err) == RC_OK) {                                          \
            kind##_encode(m, &a);                                                                  \
            assert(buf_ok(&a));                                                                    \
            assert(kind##_decode(buf_slice(&a), arena, back, &err) == RC_OK);                      \
            kind##_encode(back, &b);                                                               \
            assert(slice_eq(buf_slice(&a), buf_slice(&b)));                                        \
        } else {                                                                                   \
            assert(err.text[0]);                                                                   \
        }                                                                                          \
        buf_cleanup(&a);                                                                           \
        buf_cleanup(&b);                                                                           \
        free(m);                                                                                   \
        free(back);                                                                                \
    }

TRY(orchestrator_request)
TRY(orchestrator_info)
TRY(seg_data)
TRY(transcode_result)
TRY(register_request)
TRY(notify_segment)

static void try_end_session(struct slice in, struct arena *arena)
{
    struct auth_token t;

    (void)arena;
    if (end_session_decode(in, &t, NULL) == RC_OK)
        end_session_again(&t);
}

static void try_ping(struct slice in, struct arena *arena)
{
    struct slice value;

    if (ping_decode(in, &value, arena, NULL) == RC_OK)
        ping_again(value, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static void (*const kinds[KINDS])(struct slice in, struct arena * arena) = {
        try_orchestrator_request, try_orchestrator_info, try_seg_data,    try_transcode_result,
        try_register_request,     try_notify_segment,    try_end_session, try_ping};
    struct arena *arena = arena_new(4 * 1024 * 1024);

    if (n)
        kinds[p[0] % KINDS](slice_of(p + 1, n - 1), arena);
    arena_free(arena);
    return 0;
}
