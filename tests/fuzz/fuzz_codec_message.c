/* Messages of leat-codec from the other side, which may have been taken over. What is
 * accepted must say the same when it is written again. */
#include <assert.h>

#include "codec/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* again: what the decoded value encodes to. */
static void check_same(struct slice in, struct buf *again)
{
    assert(buf_ok(again) && slice_eq(in, buf_slice(again)));
    buf_cleanup(again);
}

#define ROUND_TRIP(name)                                                                           \
    do {                                                                                           \
        struct msg_##name m;                                                                       \
        struct buf b;                                                                              \
        if (msg_##name##_decode(body, &m, NULL) != RC_OK)                                          \
            break;                                                                                 \
        buf_init(&b, MSG_HEAD_BYTES + MSG_MAX_BODY);                                               \
        msg_##name##_encode(&b, &m);                                                               \
        check_same(in, &b);                                                                        \
    } while (0)

static void try_kind(enum msg_kind kind, struct slice in, struct slice body)
{
    switch (kind) {
    case MSG_READY:
        break;
    case MSG_OPEN:
        ROUND_TRIP(open);
        break;
    case MSG_OPENED:
        ROUND_TRIP(opened);
        break;
    case MSG_DIED:
        ROUND_TRIP(died);
        break;
    case MSG_BUDGET:
        ROUND_TRIP(budget);
        break;
    case MSG_JOB:
        ROUND_TRIP(job);
        break;
    case MSG_RENDITION:
        ROUND_TRIP(rendition);
        break;
    case MSG_DONE:
        ROUND_TRIP(done);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct slice in = slice_of(p, n);
    struct msg_head head;

    if (msg_head_decode(slice_sub(in, 0, MSG_HEAD_BYTES), &head, NULL) == RC_OK &&
        head.body_bytes == n - MSG_HEAD_BYTES)
        try_kind(head.kind, in, slice_skip(in, MSG_HEAD_BYTES));
    return 0;
}
