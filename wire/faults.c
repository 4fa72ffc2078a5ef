#include "wire/faults.h"

static bool begins_with(struct slice text, const char *fault)
{
    size_t n = strlen(fault);

    return slice_has_prefix(text, fault) && (text.n == n || text.p[n] == ':' || text.p[n] == ' ');
}

static bool is_among(struct slice text, const char *const *faults, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (begins_with(text, faults[i]))
            return true;
    return false;
}

bool fault_is_the_inputs(struct slice text)
{
    static const char *const faults[] = {
        "Unsupported input pixel format",
        "Error initializing filtergraph",
        "Too many outputs",
        "Unsupported input codec",
        "No keyframes in input",
        "Encoded frames runaway",
        "Decoder not found",
        "Demuxer not found",
        "Encoder not found",
        "Muxer not found",
        "Option not found",
        "Invalid argument",
        "TranscoderInvalidResolution",
        "TranscoderInvalidVideo",
        "TranscoderInvalidDuration",
        "TranscoderUnrecognizedFormat",
        "TranscoderUnrecognizedProfile",
        "TranscoderInvalidGOP",
    };

    return is_among(text, faults, ARRAY_LEN(faults));
}

bool fault_is_final_for_gateways(struct slice text)
{
    static const char *const faults[] = {"Unrecoverable state, restart process",
                                         "TranscoderIncompatibleDevices"};

    return fault_is_the_inputs(text) || is_among(text, faults, ARRAY_LEN(faults));
}
