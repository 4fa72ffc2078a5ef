/* codec/program/picture.h: the live test stream, `leat-codec picture`. */
#ifndef LEAT_CODEC_PROGRAM_PICTURE_H
#define LEAT_CODEC_PROGRAM_PICTURE_H

#define PICTURE_HELP                                                                               \
    "      -size 1280x720     pixels, both even, from 160x90 to 3840x2160\n"                       \
    "      -fps 30            frames a second, also 30000/1001\n"                                  \
    "      -bitrate 3000k     of the video, bits a second\n"                                       \
    "      -gop 2             seconds between key frames\n"                                        \
    "      -duration 0        seconds until it ends; 0: never\n"

int picture_main(int argc, char **argv);

#endif
