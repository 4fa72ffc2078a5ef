/* The Livepeer-Payment header, and the protobuf's wire format behind it. */
#include <assert.h>

#include "base/err.h"
#include "base/slice.h"
#include "orchestrator/payment.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const uint32_t nested[] = {1, 3, 0};
    struct slice in = slice_of(p, n);
    struct err err = {.text = ""};
    enum rc rc = payment_check(in, &err);

    assert((rc == RC_OK) == !err.text[0]);
    if (protobuf_is_sound(in, nested))
        assert(protobuf_is_sound(in, NULL)); /* a stricter look finds no fewer faults */
    return 0;
}
