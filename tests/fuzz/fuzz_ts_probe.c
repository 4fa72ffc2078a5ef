/* A pushed segment of a stranger: what the probe says holds together. */
#include <assert.h>

#include "media/ts/ts_demux.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct ts_probe probe;
    struct err err = {.text = ""};

    if (ts_probe(slice_of(p, n), &probe, &err) == RC_OK) {
        assert(probe.has_video == (probe.video_codec[0] != '\0'));
        assert(probe.key_frames <= probe.video_frames);
        assert(!probe.video_frames == (probe.first_video_pts < 0));
        assert((probe.first_pts < 0) == (probe.duration < 0));
        assert(!(probe.video_frames || probe.audio_frames) == (probe.first_pts < 0));
    } else {
        assert(err.text[0]);
    }
    ts_probe_cleanup(&probe);
    return 0;
}
