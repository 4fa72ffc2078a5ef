/* orchestrator/token.h: the auth tokens that name a session (video.md 3.4). Pure but for the
 * clock and randomness. */
#ifndef LEAT_ORCHESTRATOR_TOKEN_H
#define LEAT_ORCHESTRATOR_TOKEN_H

#include "wire/messages.h"

/* A new session id, valid for AUTH_TOKEN_LIFE_S. */
void token_make(const uint8_t key[32], int64_t now_s, struct auth_token *out);

/* RC_DENIED with the network's texts: "missing auth token", "invalid auth token", "expired auth
 * token". t NULL: none came. */
MUST_CHECK enum rc token_check(const uint8_t key[32], int64_t now_s, const struct auth_token *t,
                               struct err *err);

/* Made by this process, expired or not. */
bool token_is_ours(const uint8_t key[32], const struct auth_token *t);

#endif
