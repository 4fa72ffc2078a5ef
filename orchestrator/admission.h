/* orchestrator/admission.h: may this segment come in? The checks and their order are the
 * network's (video.md 3.5; step 1 of 4.2 comes first), every refusal its text.   Threads: loop. */
#ifndef LEAT_ORCHESTRATOR_ADMISSION_H
#define LEAT_ORCHESTRATOR_ADMISSION_H

#include "orchestrator/session.h"

/* On RC_OK *seg is filled (its parts lie in `a`) and the session is held. Otherwise *status is
 * the HTTP status and err->text the body of the refusal. */
MUST_CHECK enum rc admission_check(struct orchestrator *o, const struct http_request *r,
                                   struct arena *a, struct seg_data *seg, int *status,
                                   struct err *err);

#endif
