/* HTTP/2, server side: the input is what follows the preface and an empty SETTINGS. Whole and
 * in pieces; what is an error may depend on whether an answer was sent before, so the two
 * stories may differ. */
#include "http_server_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct slice opening = SLICE_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
    struct slice in = slice_of(p, n);

    if (!n || n > FUZZ_MAX)
        return 0;
    start_once();
    (void)tell(opening, in, SIZE_MAX);
    (void)tell(opening, in, piece_of(in));
    return 0;
}
