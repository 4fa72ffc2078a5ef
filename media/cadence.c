#include "media/cadence.h"

#include "media/frame.h"

enum {
    MIN_FPS = 1,
    MAX_FPS = 250, /* what a bitstream may tell and be believed */
    MAX_FPS_DEN = 10000,
    SURE_AFTER = 8, /* frames before a guess may be taken */
    MISSES_MAX = 4, /* of the last 16: the rate varies */
    MISS_WINDOW = 0xffff,
    DRIFT_WINDOW = 64, /* frames: at 30 Hz, 2 ms in them are 940 ppm */
    WATCH_MAX = 10 * TICKS_PER_SECOND,
    ROUNDING = 2, /* ticks: ours, on top of the sender's */
};

/* Frame rates that are worth guessing, as fractions. */
static const struct {
    int32_t num, den;
} rates[] = {
    {30, 1}, {30000, 1001}, {25, 1},  {60, 1},        {60000, 1001}, {50, 1},
    {24, 1}, {24000, 1001}, {15, 1},  {20, 1},        {48, 1},       {15000, 1001},
    {10, 1}, {12, 1},       {25, 2},  {5, 1},         {72, 1},       {75, 1},
    {90, 1}, {100, 1},      {120, 1}, {120000, 1001}, {144, 1},
};
_Static_assert(ARRAY_LEN(rates) + 1 == CADENCE_GUESSES, "one guess more: the hint");

/* ---- grid ---- */

static int64_t div_round(int64_t a, int64_t b)
{
    return (a >= 0 ? a + b / 2 : a - b / 2) / b;
}

static int64_t grid_time(const struct grid *g, int64_t n)
{
    return g->at + div_round(n * g->num, g->den);
}

static int64_t grid_place(const struct grid *g, int64_t t)
{
    return div_round((t - g->at) * g->den, g->num);
}

/* den periods are num ticks exactly, so places can be kept small without rounding. */
static void grid_move(struct grid *g, int64_t n)
{
    g->at += n / g->den * g->num;
    g->n = n % g->den;
}

static int64_t clamp(int64_t v, int64_t max)
{
    return v > max ? max : v < -max ? -max : v;
}

/* ---- video ---- */

void video_cadence_init(struct video_cadence *c, int64_t unit)
{
    *c = (struct video_cadence){.unit = unit};
}

/* fps as the fraction that was meant, by continued fractions: 29.97002997 is 30000/1001. */
static void set_hint(struct video_cadence *c, double fps)
{
    int64_t num[2] = {0, 1}, den[2] = {1, 0};
    double x = fps;

    c->hint_num = c->hint_den = 0;
    if (!(fps >= MIN_FPS && fps <= MAX_FPS))
        return;
    for (int i = 0; i < 8; i++) {
        int64_t whole = (int64_t)x;
        int64_t n = whole * num[1] + num[0], d = whole * den[1] + den[0];

        if (d > MAX_FPS_DEN)
            break;
        num[0] = num[1], num[1] = n;
        den[0] = den[1], den[1] = d;
        double off = fps - (double)n / (double)d;
        if (x - (double)whole < 1e-9 || (off < 1e-9 && off > -1e-9))
            break;
        x = 1 / (x - (double)whole);
    }
    c->hint_num = TICKS_PER_SECOND * den[1];
    c->hint_den = num[1];
}

void video_cadence_start(struct video_cadence *c, double fps)
{
    video_cadence_init(c, c->unit);
    set_hint(c, fps);
}

static struct grid guessed_grid(const struct video_cadence *c, int i)
{
    if (i == 0)
        return (struct grid){.num = c->hint_num, .den = c->hint_den};
    return (struct grid){.num = (int64_t)TICKS_PER_SECOND * rates[i - 1].den,
                         .den = rates[i - 1].num};
}

static void watch_start(struct video_cadence *c, int64_t sent)
{
    c->grid.num = 0;
    c->first = sent;
    c->seen = 1;
    for (int i = 0; i < CADENCE_GUESSES; i++)
        c->guess[i] = (struct guess){.alive = i > 0 || c->hint_num};
}

/* On a grid all distances lie within one rounding. */
static void watch_guess(struct video_cadence *c, int i, int64_t sent)
{
    struct guess *g = &c->guess[i];
    struct grid grid = guessed_grid(c, i);

    grid.at = c->first;
    int64_t place = grid_place(&grid, sent), off = sent - grid_time(&grid, place);
    g->low = MIN(g->low, off);
    g->high = MAX(g->high, off);
    g->single += place == g->last + 1;
    g->alive = place > g->last && g->high - g->low <= c->unit + ROUNDING;
    g->last = place;
}

/* The one guess left that most frames follow step by step; -1 while there are none or more.
 * What the bitstream tells goes first: 30 and 29.97 look alike for a second. */
static int watch_result(const struct video_cadence *c)
{
    int found = -1;

    for (int i = 0; i < CADENCE_GUESSES; i++) {
        if (!c->guess[i].alive || c->guess[i].single * 2 < c->seen)
            continue;
        if (i == 0)
            return 0;
        if (found >= 0)
            return -1;
        found = i;
    }
    return found;
}

static bool any_alive(const struct video_cadence *c)
{
    for (int i = 0; i < CADENCE_GUESSES; i++)
        if (c->guess[i].alive)
            return true;
    return false;
}

static void take_grid(struct video_cadence *c, struct grid grid, int64_t at, int64_t place)
{
    c->grid = grid;
    c->grid.at = at;
    grid_move(&c->grid, place);
    c->misses = 0;
    c->drift = c->drift_frames = 0;
}

/* Without a grid: hold the guesses against one more time. */
static int64_t watch(struct video_cadence *c, int64_t sent)
{
    for (int i = 0; i < CADENCE_GUESSES; i++)
        if (c->guess[i].alive)
            watch_guess(c, i, sent);
    c->seen++;
    int best = c->seen > SURE_AFTER ? watch_result(c) : -1;
    if (best >= 0) {
        const struct guess *g = &c->guess[best];

        take_grid(c, guessed_grid(c, best), c->first, g->last);
        return grid_time(&c->grid, c->grid.n);
    }
    if (!any_alive(c) || sent - c->first > WATCH_MAX)
        watch_start(c, sent);
    return sent;
}

/* Rounding moves a time by less than a unit to either side of the first one's; twice that is
 * forgiven, a quarter period is not. */
static int64_t tolerance(const struct video_cadence *c)
{
    return MIN(2 * c->unit, c->grid.num / c->grid.den / 4);
}

static bool miss(struct video_cadence *c)
{
    c->misses = (c->misses << 1 | 1) & MISS_WINDOW;
    return __builtin_popcount(c->misses) >= MISSES_MAX;
}

/* A sender whose clock drifts is followed; rounding alone never gets beyond one unit. False when
 * so much had to be followed that the period must be another one. */
static bool follow_drift(struct video_cadence *c, int64_t off)
{
    int64_t step = off - clamp(off, c->unit + ROUNDING);

    c->grid.at += step;
    c->drift += step;
    if (++c->drift_frames < DRIFT_WINDOW)
        return true;
    bool is_drift = c->drift <= 2 * c->unit && c->drift >= -2 * c->unit;
    c->drift = c->drift_frames = 0;
    return is_drift;
}

/* With a grid: the frame's place on it, or the time as sent where it is not on it. */
static int64_t follow(struct video_cadence *c, int64_t sent)
{
    struct grid *g = &c->grid;
    int64_t place = grid_place(g, sent), off = sent - grid_time(g, place);

    if (place <= g->n || off > tolerance(c) || off < -tolerance(c)) {
        c->step = 0;
        if (miss(c))
            watch_start(c, sent);
        return sent;
    }
    if (!follow_drift(c, off)) {
        c->hint_num = 0; /* told wrong */
        watch_start(c, sent);
        return sent;
    }
    c->step = MIN(place - g->n, c->last_step ? c->last_step : place - g->n);
    c->last_step = place - g->n;
    c->misses = (c->misses << 1) & MISS_WINDOW;
    grid_move(g, place);
    return grid_time(g, g->n);
}

/* Exact times need no grid; equal steps tell the duration. */
static int64_t pass(struct video_cadence *c, int64_t sent, int64_t *duration)
{
    int64_t delta = sent - c->last_sent, change = delta - c->last_delta;

    if (c->started && delta > 0 && change >= -1 && change <= 1)
        *duration = delta;
    c->last_delta = c->started ? delta : 0;
    c->last_sent = sent;
    c->started = true;
    return sent;
}

int64_t video_cadence_next(struct video_cadence *c, int64_t sent, int64_t *duration)
{
    int64_t out = sent;

    *duration = 0;
    if (c->unit == 1)
        return pass(c, sent, duration);
    if (!c->started) {
        watch_start(c, sent);
        if (c->hint_num) /* believed until a frame says otherwise */
            take_grid(c, guessed_grid(c, 0), sent, 0);
        c->started = true;
    } else {
        out = c->grid.num ? follow(c, sent) : watch(c, sent);
    }
    if (c->grid.num && c->step)
        *duration = grid_time(&c->grid, c->grid.n + c->step) - out;
    return out;
}

int64_t video_cadence_snap(const struct video_cadence *c, int64_t sent)
{
    if (!c->grid.num)
        return sent;
    int64_t t = grid_time(&c->grid, grid_place(&c->grid, sent));
    return sent - t <= tolerance(c) && t - sent <= tolerance(c) ? t : sent;
}

int64_t video_cadence_delay(struct video_cadence *c, int64_t by)
{
    const struct grid *g = &c->grid;

    if (g->num) { /* whole periods, what rounding added or took left aside */
        int64_t places = ((by - tolerance(c)) * g->den + g->num - 1) / g->num;

        by = by > tolerance(c) ? div_round(places * g->num, g->den) : 0;
    }
    c->grid.at -= by;
    c->first -= by;
    c->last_sent -= by;
    return by;
}

/* ---- audio ---- */

enum {
    DRIFT_MAX = TICKS_PER_SECOND / 20, /* 50 ms: beyond, samples are missing */
    WINDOW = 32,                       /* frames, 0.7 s */
    SLEW_STEP = 32,                    /* ticks a frame, 1.7 % */
};

void audio_cadence_init(struct audio_cadence *c, int64_t unit)
{
    *c = (struct audio_cadence){.unit = unit};
}

void audio_cadence_start(struct audio_cadence *c, int sample_rate, int samples_per_frame)
{
    audio_cadence_init(c, c->unit);
    if (sample_rate > 0)
        c->grid = (struct grid){.num = (int64_t)samples_per_frame * TICKS_PER_SECOND,
                                .den = sample_rate};
}

static void window_start(struct audio_cadence *c)
{
    c->window = 0;
    c->low = INT64_MAX;
    c->high = INT64_MIN;
}

/* Senders that stamp two frames alike are right on average; only when a whole window lies on
 * one side is the count of samples off, and is led back slowly. */
static void window_add(struct audio_cadence *c, int64_t off)
{
    int64_t step = clamp(c->slew, SLEW_STEP);

    c->grid.at += step;
    c->slew -= step;
    c->low = MIN(c->low, off);
    c->high = MAX(c->high, off);
    if (++c->window < WINDOW)
        return;
    if (c->low > c->unit + ROUNDING || c->high < -(c->unit + ROUNDING))
        c->slew = (c->low + c->high) / 2;
    window_start(c);
}

int64_t audio_cadence_next(struct audio_cadence *c, int64_t sent, int64_t *duration)
{
    struct grid *g = &c->grid;

    *duration = 0;
    if (!g->num)
        return sent;
    int64_t off = c->started ? sent - grid_time(g, g->n + 1) : 0;
    if (!c->started || c->unit == 1 || off > DRIFT_MAX || off < -DRIFT_MAX) {
        g->at = sent;
        g->n = 0;
        c->slew = 0;
        c->started = true;
        window_start(c);
    } else {
        window_add(c, off);
        grid_move(g, g->n + 1);
    }
    *duration = grid_time(g, g->n + 1) - grid_time(g, g->n);
    return grid_time(g, g->n);
}
