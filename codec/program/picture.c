#include "codec/program/picture.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "codec/program/picture_draw.h"
#include "codec/program/picture_out.h"

enum { MIN_WIDTH = 160, MIN_HEIGHT = 90, MAX_WIDTH = 3840, MAX_HEIGHT = 2160 };

/* ---- options ---- */

static bool read_size(const char *s, struct picture_conf *c)
{
    char rest;

    return sscanf(s, "%dx%d%c", &c->width, &c->height, &rest) == 2 && c->width >= MIN_WIDTH &&
           c->width <= MAX_WIDTH && c->height >= MIN_HEIGHT && c->height <= MAX_HEIGHT &&
           c->width % 2 == 0 && c->height % 2 == 0;
}

static bool read_fps(const char *s, struct picture_conf *c)
{
    char rest;
    int n = sscanf(s, "%d/%d%c", &c->fps.num, &c->fps.den, &rest);

    if (n == 1 && !strchr(s, '/'))
        c->fps.den = 1;
    else if (n != 2)
        return false;
    return c->fps.num > 0 && c->fps.den > 0 && c->fps.num / c->fps.den <= 120;
}

/* A whole number, or with k or M behind it. */
static bool read_bitrate(const char *s, struct picture_conf *c)
{
    char *end;
    long long v = strtoll(s, &end, 10);

    if (v <= 0 || v > 100 * 1000 * 1000)
        return false;
    if (*end == 'k')
        v *= 1000, end++;
    else if (*end == 'M')
        v *= 1000 * 1000, end++;
    c->bitrate = v;
    return *end == 0 && v >= 50 * 1000 && v <= 100 * 1000 * 1000;
}

static bool read_seconds(const char *s, double least, double *out)
{
    char *end;

    *out = strtod(s, &end);
    return end != s && *end == 0 && *out >= least && *out <= 1e6;
}

static bool read_gop(const char *s, struct picture_conf *c)
{
    return read_seconds(s, 0.01, &c->gop_s);
}

static bool read_duration(const char *s, struct picture_conf *c)
{
    return read_seconds(s, 0, &c->duration_s);
}

static const struct option {
    const char *name;
    bool (*read)(const char *value, struct picture_conf *conf);
    const char *expected;
} options[] = {
    {"size", read_size, "an even width and height like 1280x720, from 160x90 to 3840x2160"},
    {"fps", read_fps, "frames a second like 30 or 30000/1001, at most 120"},
    {"bitrate", read_bitrate, "bits a second like 3000k, from 50k to 100M"},
    {"gop", read_gop, "seconds between key frames like 2"},
    {"duration", read_duration, "seconds, 0 for an endless stream"},
};

static const struct option *find_option(const char *word)
{
    if (word[0] != '-')
        return NULL;
    word += word[1] == '-' ? 2 : 1;
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (!strcmp(options[i].name, word))
            return &options[i];
    return NULL;
}

static bool read_options(int argc, char **argv, struct picture_conf *conf)
{
    for (int i = 1; i < argc; i += 2) {
        const struct option *o = find_option(argv[i]);

        if (!o) {
            fprintf(stderr, "leat-codec picture: unknown option \"%s\"; the options are:\n%s",
                    argv[i], PICTURE_HELP);
            return false;
        }
        if (i + 1 == argc || !o->read(argv[i + 1], conf)) {
            fprintf(stderr, "leat-codec picture: -%s \"%s\": expected %s\n", o->name,
                    i + 1 < argc ? argv[i + 1] : "", o->expected);
            return false;
        }
    }
    return true;
}

/* ---- the stream ---- */

static void wait_for(int64_t start_us, int64_t number, AVRational fps)
{
    int64_t due_us = start_us + av_rescale(number, (int64_t)1000000 * fps.den, fps.num);
    struct timespec due = {due_us / 1000000, due_us % 1000000 * 1000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        ;
}

static enum rc stream(const struct picture_conf *conf, struct picture_out *out,
                      const struct drawing *drawing, struct err *err)
{
    int64_t frames = conf->duration_s > 0 ? llrint(conf->duration_s * av_q2d(conf->fps))
                                          : INT64_MAX;
    int64_t start_us = clock_mono_us();
    enum rc rc = RC_OK;

    for (int64_t number = 0; rc == RC_OK && number < frames; number++) {
        wait_for(start_us, number, conf->fps);
        AVFrame *frame = picture_out_frame(out, err);
        if (!frame)
            return err->code;
        drawing_frame(drawing, frame, (uint32_t)number, clock_wall_ms());
        rc = picture_out_send(out, number, err);
    }
    return rc;
}

int picture_main(int argc, char **argv)
{
    struct picture_conf conf = {
        .width = 1280, .height = 720, .fps = {30, 1}, .bitrate = 3000 * 1000, .gop_s = 2};
    struct err err;

    if (!read_options(argc, argv, &conf))
        return 2;
    signal(SIGPIPE, SIG_IGN);
    struct picture_out *out = picture_out_new(&conf, &err);
    struct drawing *drawing = drawing_new(conf.width, conf.height);
    enum rc rc = out ? stream(&conf, out, drawing, &err) : err.code;

    drawing_free(drawing);
    picture_out_free(out);
    if (rc == RC_OK || rc == RC_CLOSED)
        return 0;
    fprintf(stderr, "leat-codec picture: %s\n", err.text);
    return 1;
}
