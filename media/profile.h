/* media/profile.h: what one rendition should be, as a value.
 *
 * Presets, the JSON form and the protobuf form all become this (wire/profiles.h);
 * leat-codec, the gateway and the playlists read it.
 * Source: video.md 2.6 and 5.   Ownership: plain value.
 */
#ifndef LEAT_MEDIA_PROFILE_H
#define LEAT_MEDIA_PROFILE_H

#include "base/base.h"

enum { PROFILE_NAME_MAX = 128, MAX_PROFILES = 10 };

/* The wire's numbers (video.md 2.6). */
enum container { CONTAINER_TS = 0, CONTAINER_MP4 = 1 };
enum encoder_profile {
    ENCODER_DEFAULT = 0,
    ENCODER_H264_BASELINE = 1,
    ENCODER_H264_MAIN = 2,
    ENCODER_H264_HIGH = 3,
    ENCODER_H264_CONSTRAINED_HIGH = 4
};
enum video_encoder { VIDEO_H264 = 0, VIDEO_H265 = 1, VIDEO_VP8 = 2, VIDEO_VP9 = 3 };

enum { GOP_DEFAULT = 0, GOP_INTRA = -1 };

struct profile {
    char name[PROFILE_NAME_MAX + 1];
    int width, height;     /* pixels, as asked; video.md 12.2 says what is made of them */
    int bitrate;           /* bits a second */
    uint32_t fps, fps_den; /* fps 0: as the source; fps_den 0: 1 */
    int32_t gop_ms;        /* GOP_DEFAULT, GOP_INTRA or milliseconds */
    enum container container;
    enum encoder_profile profile;
    enum video_encoder encoder;
    uint32_t quality; /* like CRF; 0: unset */
};

#endif
