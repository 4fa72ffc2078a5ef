#include "codec/program/picture_draw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLACK = 16, WHITE = 235, GREY = 128 };
enum { BLOCKS = 40, START_PATTERN = 0xb2 };
enum { GLYPH_WIDTH = 5, GLYPH_HEIGHT = 7, GLYPH_STEP = 6 };
enum { SCROLL_PER_FRAME = 4 }; /* pixels; even, so that the colours move along */

struct glyph {
    char c;
    uint8_t rows[GLYPH_HEIGHT]; /* five bits each, the left one highest */
};

static const struct glyph glyphs[] = {
    {'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}},
    {'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'2', {0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f}},
    {'3', {0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e}},
    {'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}},
    {'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
    {'6', {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}},
    {'7', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08}},
    {'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}},
    {'9', {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c}},
    {':', {0x00, 0x0c, 0x0c, 0x00, 0x0c, 0x0c, 0x00}},
    {'.', {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c}},
    {'U', {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}},
    {'T', {0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04}},
    {'C', {0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e}},
};

/* One picture twice as wide as the frame that repeats, so that a scrolled row is one copy. */
struct drawing {
    int width, height;
    uint8_t *planes[3];
};

static int plane_width(const struct drawing *d, int plane)
{
    return plane ? d->width / 2 : d->width;
}
static int plane_height(const struct drawing *d, int plane)
{
    return plane ? d->height / 2 : d->height;
}

/* Waves that meet at the seam, and grain: as much detail as a camera sees. */
static uint8_t texture(int plane, double u, double v, unsigned grain)
{
    const double turn = 2 * M_PI;
    double wave = sin(turn * (3 * u + 2 * v)) + sin(turn * (5 * u - 3 * v + plane * 0.3)) +
                  sin(turn * (2 * u + 7 * v + plane * 0.6) + 2 * sin(turn * (u + v)));
    double amplitude = plane ? 22 : 26;

    return (uint8_t)(GREY + amplitude * wave + (plane ? 0 : (int)(grain % 25) - 12));
}

static void paint_plane(struct drawing *d, int plane)
{
    int w = plane_width(d, plane), h = plane_height(d, plane);
    unsigned grain = 12345;

    for (int y = 0; y < h; y++) {
        uint8_t *row = d->planes[plane] + (size_t)y * 2 * (size_t)w;
        for (int x = 0; x < w; x++) {
            grain = grain * 1103515245u + 12345u;
            row[x] = texture(plane, (double)x / w, (double)y / h, grain >> 16);
        }
        memcpy(row + w, row, (size_t)w);
    }
}

struct drawing *drawing_new(int width, int height)
{
    struct drawing *d = xcalloc(1, sizeof(*d));

    d->width = width;
    d->height = height;
    for (int i = 0; i < 3; i++) {
        d->planes[i] = xmalloc(2 * (size_t)plane_width(d, i) * (size_t)plane_height(d, i));
        paint_plane(d, i);
    }
    return d;
}

void drawing_free(struct drawing *d)
{
    if (!d)
        return;
    for (int i = 0; i < 3; i++)
        free(d->planes[i]);
    free(d);
}

/* Bands of the picture go opposite ways. */
static void draw_background(const struct drawing *d, AVFrame *f, uint32_t number)
{
    for (int i = 0; i < 3; i++) {
        int w = plane_width(d, i), h = plane_height(d, i);
        int shift = (int)((uint64_t)number * SCROLL_PER_FRAME / (i ? 2 : 1) % (unsigned)w);

        for (int y = 0; y < h; y++) {
            int from = y * 4 / h % 2 ? (w - shift) % w : shift;
            memcpy(f->data[i] + (size_t)y * (size_t)f->linesize[i],
                   d->planes[i] + (size_t)y * 2 * (size_t)w + from, (size_t)w);
        }
    }
}

/* A rectangle without colour, clipped to the frame; x and y may be odd. */
static void fill(AVFrame *f, int x, int y, int w, int h, uint8_t luma)
{
    int right = MIN(x + w, f->width), bottom = MIN(y + h, f->height);

    for (int row = MAX(y, 0); row < bottom; row++)
        memset(f->data[0] + (size_t)row * (size_t)f->linesize[0] + x, luma, (size_t)(right - x));
    for (int plane = 1; plane < 3; plane++)
        for (int row = MAX(y, 0) / 2; row < bottom / 2; row++)
            memset(f->data[plane] + (size_t)row * (size_t)f->linesize[plane] + x / 2, GREY,
                   (size_t)((right + 1) / 2 - x / 2));
}

static void draw_number_blocks(AVFrame *f, uint32_t number)
{
    uint64_t check = (number ^ number >> 8 ^ number >> 16) & 0xff;
    uint64_t bits = (uint64_t)START_PATTERN << 32 | (uint64_t)(number & 0xffffff) << 8 | check;
    int height = (f->width / BLOCKS + 1) & ~1;

    for (int i = 0; i < BLOCKS; i++) {
        int left = i * f->width / BLOCKS, right = (i + 1) * f->width / BLOCKS;
        bool one = bits >> (BLOCKS - 1 - i) & 1;
        fill(f, left, 0, right - left, height, one ? WHITE : BLACK);
    }
}

static const struct glyph *find_glyph(char c)
{
    for (size_t i = 0; i < ARRAY_LEN(glyphs); i++)
        if (glyphs[i].c == c)
            return &glyphs[i];
    return NULL; /* a space */
}

static void draw_glyph(AVFrame *f, const struct glyph *g, int x, int y, int dot)
{
    for (int row = 0; row < GLYPH_HEIGHT; row++)
        for (int column = 0; column < GLYPH_WIDTH; column++)
            if (g->rows[row] >> (GLYPH_WIDTH - 1 - column) & 1)
                fill(f, x + column * dot, y + row * dot, dot, dot, WHITE);
}

/* Centred, white on a black box; `dot` is the side of one point of a glyph. */
static void draw_text(AVFrame *f, const char *text, int y, int dot)
{
    int n = (int)strlen(text), w = (n * GLYPH_STEP - 1) * dot, x = (f->width - w) / 2;

    fill(f, MAX(x - 2 * dot, 0), y - 2 * dot, w + 4 * dot, (GLYPH_HEIGHT + 4) * dot, BLACK);
    for (int i = 0; i < n; i++) {
        const struct glyph *g = find_glyph(text[i]);
        if (g)
            draw_glyph(f, g, x + i * GLYPH_STEP * dot, y, dot);
    }
}

static void format_clock(int64_t wall_ms, char *out, size_t room)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm t;

    gmtime_r(&seconds, &t);
    snprintf(out, room, "%02d:%02d:%02d.%03d UTC", t.tm_hour, t.tm_min, t.tm_sec,
             (int)(wall_ms % 1000));
}

void drawing_frame(const struct drawing *d, AVFrame *frame, uint32_t number, int64_t wall_ms)
{
    char text[48];
    int big = MAX(2, d->height / 60), small = MAX(1, big / 2);

    draw_background(d, frame, number);
    draw_number_blocks(frame, number);
    snprintf(text, sizeof(text), "%06u", number);
    draw_text(frame, text, d->height / 2 - (GLYPH_HEIGHT + 2) * big, big);
    format_clock(wall_ms, text, sizeof(text));
    draw_text(frame, text, d->height / 2 + 4 * big, small);
}
