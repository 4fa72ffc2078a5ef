/* orchestrator/payment.h: the Livepeer-Payment header. Off-chain nothing is paid: an empty or
 * any well-formed payment is taken unread. Pure. */
#ifndef LEAT_ORCHESTRATOR_PAYMENT_H
#define LEAT_ORCHESTRATOR_PAYMENT_H

#include "base/err.h"
#include "base/slice.h"

/* RC_BAD_INPUT with the network's text (video.md 4.2, step 1). */
MUST_CHECK enum rc payment_check(struct slice header, struct err *err);

/* Is this the serialised form of some protobuf message whose fields `nested` (numbers, 0 ends)
 * are messages themselves? */
bool protobuf_is_sound(struct slice bytes, const uint32_t *nested);

#endif
