/* What a push's header or the auth webhook says of a stream. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/stream_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct stream_config *c = malloc(2 * sizeof(*c));
    struct err err = {0};

    if (stream_config_read(slice_of(p, n), c, &err) != RC_OK) {
        assert(err.text[0]);
        free(c);
        return 0;
    }
    assert(c->n_profiles <= MAX_PROFILES && c->n_presets <= c->n_profiles);
    assert(c->has_profiles || !c->n_profiles);
    assert(c->timeout_multiplier <= MAX_TIMEOUT_MULTIPLIER);
    for (size_t i = 0; i < c->n_profiles; i++)
        for (size_t k = 0; k < i; k++)
            assert(strcmp(c->profiles[i].name, c->profiles[k].name) != 0);
    memset(&c[1], 0, sizeof(c[1]));
    assert(stream_config_merge(&c[1], &c[0], NULL) == RC_OK && c[1].given == c->given);
    assert(stream_config_merge(&c[1], &c[0], NULL) == RC_OK); /* equal lists never differ */
    free(c);
    return 0;
}
