/* HTTP/1, server side. The same bytes must tell the handler the same story, whether they come
 * whole or in pieces. */
#include "http_server_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct slice none = {0}, in = slice_of(p, n);
    struct hash whole, pieces;

    if (!n || n > FUZZ_MAX || slice_has_prefix(in, "PRI * HTTP/2.0"))
        return 0; /* the last is fuzz_http2_server's */
    start_once();
    whole = tell(none, in, SIZE_MAX);
    pieces = tell(none, in, piece_of(in));
    assert(memcmp(&whole, &pieces, sizeof(whole)) == 0);
    return 0;
}
