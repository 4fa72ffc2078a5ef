/* wire/faults.h: whose fault a transcoding error is, by its text (video.md 4.5).
 * Threads: pure. */
#ifndef LEAT_WIRE_FAULTS_H
#define LEAT_WIRE_FAULTS_H

#include "base/slice.h"

/* The input's own: no orchestrator and no worker can help. The text may go on after a colon or a
 * space. "Unrecoverable state, restart process" and "TranscoderIncompatibleDevices" count for a
 * gateway, since the reference stops there; between workers they are one worker's. */
bool fault_is_the_inputs(struct slice text);
bool fault_is_final_for_gateways(struct slice text);

#endif
