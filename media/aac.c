#include "media/aac.h"

#include "base/reader.h"

static const int rates[] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                            22050, 16000, 12000, 11025, 8000,  7350};
static const int channels_of[] = {0, 1, 2, 3, 4, 5, 6, 8};

enum { TYPE_MAIN = 1, TYPE_LTP = 4, TYPE_SBR = 5, TYPE_PS = 29, RATE_EXPLICIT = 15 };
enum { MAX_RATE = 96000, MIN_RATE = 7350, MAX_CONFIG_BYTES = 64 };

/* The fields that ADTS and AudioSpecificConfig share. */
struct config {
    unsigned type;     /* audio object type of the core, 1 to 4 here */
    int rate;          /* of the core: 1024 samples of it are a frame, also with SBR */
    unsigned channels; /* channel configuration, 0 to 7 used */
};

static unsigned read_type(struct bitreader *r)
{
    unsigned type = rb_bits(r, 5);

    return type == 31 ? 32 + rb_bits(r, 6) : type;
}

static int read_rate(struct bitreader *r)
{
    unsigned index = rb_bits(r, 4);

    if (index == RATE_EXPLICIT)
        return (int)rb_bits(r, 24);
    return index < ARRAY_LEN(rates) ? rates[index] : 0;
}

static int rate_index(int rate)
{
    for (size_t i = 0; i < ARRAY_LEN(rates); i++)
        if (rates[i] == rate)
            return (int)i;
    return -1;
}

static enum rc config_parse(struct slice asc, struct config *out, struct err *err)
{
    struct bitreader r = bitreader_of(asc);

    out->type = read_type(&r);
    out->rate = read_rate(&r);
    out->channels = rb_bits(&r, 4);
    if (out->type == TYPE_SBR || out->type == TYPE_PS) {
        (void)read_rate(&r); /* of the extension: twice the core's, as a rule */
        out->type = read_type(&r);
    }
    bool short_frames = rb_bits(&r, 1);
    if (r.failed)
        return err_set(err, RC_BAD_INPUT, "AudioSpecificConfig cut short at %zu bytes", asc.n);
    if (out->type < TYPE_MAIN || out->type > TYPE_LTP)
        return err_set(err, RC_UNSUPPORTED, "audio object type %u (AAC of types 1 to 4 is)",
                       out->type);
    if (out->rate < MIN_RATE || out->rate > MAX_RATE)
        return err_set(err, RC_BAD_INPUT, "AAC sample rate %d", out->rate);
    if (!out->channels || out->channels >= ARRAY_LEN(channels_of))
        return err_set(err, RC_UNSUPPORTED, "AAC channel configuration %u", out->channels);
    if (short_frames)
        return err_set(err, RC_UNSUPPORTED, "AAC frames of 960 samples");
    return RC_OK;
}

enum rc aac_track_from_config(struct slice asc, struct track *out, struct err *err)
{
    struct config c;
    enum rc rc;

    *out = (struct track){.codec = CODEC_NONE};
    if (asc.n > MAX_CONFIG_BYTES)
        return err_set(err, RC_LIMIT, "AudioSpecificConfig of %zu bytes, at most %d", asc.n,
                       MAX_CONFIG_BYTES);
    rc = config_parse(asc, &c, err);
    if (rc != RC_OK)
        return rc;
    *out = (struct track){
        .codec = CODEC_AAC,
        .config = blob_copy(asc),
        .sample_rate = c.rate,
        .channels = channels_of[c.channels],
    };
    return RC_OK;
}

bool aac_adts_header(const struct track *t, size_t n, uint8_t out[ADTS_HEADER_BYTES])
{
    size_t length = n + ADTS_HEADER_BYTES;
    struct config c;
    int index;

    if (t->codec != CODEC_AAC || n > 0x1fff - ADTS_HEADER_BYTES ||
        config_parse(blob_slice(t->config), &c, NULL) != RC_OK)
        return false;
    index = rate_index(c.rate);
    if (index < 0)
        return false;
    out[0] = 0xff;
    out[1] = 0xf1; /* MPEG-4, no CRC */
    out[2] = (uint8_t)((c.type - 1) << 6 | (unsigned)index << 2 | c.channels >> 2);
    out[3] = (uint8_t)((c.channels & 3) << 6 | length >> 11);
    out[4] = (uint8_t)(length >> 3);
    out[5] = (uint8_t)((length & 7) << 5 | 0x1f); /* buffer fullness 0x7ff: variable rate */
    out[6] = 0xfc;                                /* and one raw frame */
    return true;
}

static enum rc adts_check(unsigned index, unsigned channels, unsigned blocks, size_t length,
                          size_t header, struct err *err)
{
    if (index >= ARRAY_LEN(rates) || length <= header)
        return err_set(err, RC_BAD_INPUT, "ADTS frame of %zu bytes with rate index %u", length,
                       index);
    if (!channels || blocks)
        return err_set(err, RC_UNSUPPORTED, "ADTS with channel configuration %u, %u raw blocks",
                       channels, blocks + 1);
    return RC_OK;
}

enum rc aac_adts_parse(struct slice in, struct adts_frame *out, struct err *err)
{
    struct bitreader r = bitreader_of(in);
    unsigned sync = rb_bits(&r, 12);

    *out = (struct adts_frame){0};
    rb_skip(&r, 1); /* MPEG-2 or -4 */
    unsigned layer = rb_bits(&r, 2);
    size_t header = rb_bits(&r, 1) ? ADTS_HEADER_BYTES : ADTS_HEADER_BYTES + 2; /* CRC */
    if (!r.failed && (sync != 0xfff || layer))
        return err_set(err, RC_BAD_INPUT, "no ADTS sync word");
    unsigned type = rb_bits(&r, 2) + 1;
    unsigned index = rb_bits(&r, 4);
    rb_skip(&r, 1);
    unsigned channels = rb_bits(&r, 3);
    rb_skip(&r, 4);
    size_t length = rb_bits(&r, 13);
    rb_skip(&r, 11); /* buffer fullness */
    unsigned blocks = rb_bits(&r, 2);
    if (r.failed)
        return err_set(err, RC_NOT_FOUND, "ADTS header needs more bytes than %zu", in.n);
    enum rc rc = adts_check(index, channels, blocks, length, header, err);
    if (rc != RC_OK)
        return rc;
    if (length > in.n)
        return err_set(err, RC_NOT_FOUND, "ADTS frame of %zu bytes, %zu are here", length, in.n);
    out->raw = slice_sub(in, header, length - header);
    out->length = length;
    out->sample_rate = rates[index];
    out->channels = channels_of[channels];
    out->asc[0] = (uint8_t)(type << 3 | index >> 1);
    out->asc[1] = (uint8_t)((index & 1) << 7 | channels << 3);
    return RC_OK;
}
