/* leat publish: sends an FLV file, or the test picture that leat-codec makes, to an RTMP
 * address, in real time. With -count it is many publishers at once: the load of bench/. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "media/flv.h"
#include "media/rtmp/rtmp_client.h"
#include "net/process.h"
#include "node/commands.h"

enum {
    TICK_MS = 20,
    MAX_FILE_BYTES = 512 * 1024 * 1024,
    MAX_PUBLISHERS = 10000,
    MAX_BEHIND_BYTES = 8 * 1024 * 1024,
    GOODBYE_MS = 500
};

struct tag {
    int type;
    uint32_t time_ms;
    struct blob *body;
};

struct publish;

struct publisher {
    struct publish *all;
    struct rtmp_client *client;
    bool ready, over; /* over: refused or cut off */
    size_t next;      /* tag to send */
    int64_t start_ms; /* monotonic time of media time 0 of this round */
    uint32_t base_ms; /* media time of earlier rounds */
};

struct publish {
    struct loop *loop;
    struct flv_file *flv;
    struct process *picture; /* NULL: a file */
    struct tag *tags;
    size_t n_tags, cap_tags;
    bool loops, tells_times;
    const char *size; /* of the test picture; NULL: leat-codec's own */
    struct publisher *publishers;
    size_t count, ended;
    struct timer *tick;
    int exit_status;
    bool leaving;
};

static void leave(void *arg)
{
    loop_stop(((struct publish *)arg)->loop);
}

/* Says goodbye on all connections, gives them a moment to leave, ends. */
static void say_goodbye(struct publish *p)
{
    if (p->leaving)
        return;
    p->leaving = true;
    for (size_t i = 0; i < p->count; i++)
        if (p->publishers[i].client)
            rtmp_client_goodbye(p->publishers[i].client);
    timer_free(p->tick);
    p->tick = timer_new(p->loop, leave, p);
    timer_start(p->tick, GOODBYE_MS);
}

static void on_client_end(const struct err *why, void *arg)
{
    struct publisher *one = arg;
    struct publish *p = one->all;

    one->ready = false;
    one->over = true;
    if (p->leaving)
        return;
    fprintf(stderr, "leat publish: %s\n", why ? why->text : "the server closed the connection");
    p->exit_status = 1;
    if (++p->ended == p->count)
        loop_stop(p->loop);
}

static void on_ready(void *arg)
{
    struct publisher *one = arg;

    one->ready = true;
    one->start_ms = clock_mono_ms();
    /* Many publishers must not all send their key frames in the same millisecond. */
    if (one->all->count > 1)
        one->start_ms += (int64_t)(rand_u64() % 2000);
}

/* --- a file --- */

static void on_file_tag(const struct flv_tag *tag, void *arg)
{
    struct publish *p = arg;

    if (p->n_tags == p->cap_tags) {
        p->cap_tags = MAX(2 * p->cap_tags, (size_t)256);
        p->tags = xrealloc(p->tags, p->cap_tags * sizeof(*p->tags));
    }
    p->tags[p->n_tags++] = (struct tag){tag->type, tag->time_ms, blob_copy(tag->body)};
}

static bool is_header(const struct tag *t)
{
    return t->type != FLV_SCRIPT && t->body->n > 1 && t->body->p[1] == 0 &&
           (t->type == FLV_VIDEO ? (t->body->p[0] & 15) == 7 : t->body->p[0] >> 4 == 10);
}

/* The next round begins one frame after the last tag. */
static void next_round(struct publisher *one)
{
    struct publish *p = one->all;
    uint32_t length = p->tags[p->n_tags - 1].time_ms + 33;

    one->next = 0;
    one->base_ms += length;
    one->start_ms += length;
}

static bool is_key_frame(const struct tag *t)
{
    return t->type == FLV_VIDEO && t->body->n > 1 && t->body->p[0] >> 4 == 1 && t->body->p[1] == 1;
}

/* For benchmarks: when a key frame left, to be compared with when its segment was listed. */
static void tell_time(const struct tag *t)
{
    if (is_key_frame(t))
        fprintf(stderr, "key %.4f\n", (double)clock_wall_ms() / 1000);
}

static void send_due(struct publisher *one)
{
    struct publish *p = one->all;
    int64_t now = clock_mono_ms();

    while (one->ready) {
        const struct tag *t;

        if (one->next == p->n_tags) {
            if (!p->loops)
                return;
            next_round(one);
        }
        t = &p->tags[one->next];
        if (one->start_ms + t->time_ms > now || rtmp_client_queued(one->client) > MAX_BEHIND_BYTES)
            return;
        if (!one->base_ms || !is_header(t))
            rtmp_client_tag(one->client, t->type, one->base_ms + t->time_ms, blob_slice(t->body));
        if (p->tells_times)
            tell_time(t);
        one->next++;
    }
}

static void on_tick(void *arg)
{
    struct publish *p = arg;
    size_t done = 0;

    for (size_t i = 0; i < p->count; i++) {
        send_due(&p->publishers[i]);
        done += p->publishers[i].over || (p->publishers[i].next == p->n_tags && !p->loops);
    }
    if (done == p->count && p->ended < p->count)
        say_goodbye(p);
}

static enum rc read_flv(struct publish *p, const char *path, struct err *err)
{
    FILE *f = fopen(path, "rb");
    uint8_t piece[65536];
    size_t n, total = 0;
    enum rc rc = RC_OK;

    if (!f)
        return err_errno(err, RC_NOT_FOUND, errno, "%s", path);
    while (rc == RC_OK && (n = fread(piece, 1, sizeof(piece), f)) > 0) {
        total += n;
        rc = total > MAX_FILE_BYTES
                 ? err_set(err, RC_LIMIT, "%s is above %d bytes", path, MAX_FILE_BYTES)
                 : flv_file_feed(p->flv, slice_of(piece, n), on_file_tag, p, err);
    }
    fclose(f);
    if (rc == RC_OK && !p->n_tags)
        rc = err_set(err, RC_BAD_INPUT, "%s holds no FLV tag", path);
    return rc;
}

/* --- the test picture --- */

static void on_picture_tag(const struct flv_tag *tag, void *arg)
{
    struct publish *p = arg;

    /* Dropped until the server is ready, and by rtmp_client while it is far behind. */
    if (rtmp_client_queued(p->publishers[0].client) < MAX_BEHIND_BYTES)
        rtmp_client_tag(p->publishers[0].client, tag->type, tag->time_ms, tag->body);
}

static void on_picture_bytes(struct slice bytes, void *arg)
{
    struct publish *p = arg;
    struct err err;

    if (flv_file_feed(p->flv, bytes, on_picture_tag, p, &err) == RC_OK)
        return;
    fprintf(stderr, "leat publish: test picture: %s\n", err.text);
    p->exit_status = 1;
    loop_stop(p->loop);
}

static void on_picture_line(struct slice line, bool is_stderr, void *arg)
{
    (void)is_stderr;
    (void)arg;
    fprintf(stderr, SLICE_FMT "\n", SLICE_ARG(line));
}

static void on_picture_exit(int status, int signum, void *arg)
{
    struct publish *p = arg;

    if (status || signum) {
        fprintf(stderr, "leat publish: leat-codec ended with %s %d\n", signum ? "signal" : "status",
                signum ? signum : status);
        p->exit_status = 1;
    }
    say_goodbye(p);
}

/* Starts with the first Publish.Start, so that nothing is dropped. */
static void on_ready_for_picture(void *arg)
{
    struct publisher *one = arg;
    struct publish *p = one->all;
    char *program = process_sibling("leat-codec");
    const char *const argv[] = {program, "picture", p->size ? "-size" : NULL, p->size, NULL};
    const struct process_conf conf = {.argv = argv,
                                      .pass_fd = -1,
                                      .on_line = on_picture_line,
                                      .on_stdout = on_picture_bytes,
                                      .on_exit = on_picture_exit,
                                      .arg = p};
    struct err err;

    one->ready = true;
    p->picture = process_start(p->loop, &conf, &err);
    if (!p->picture) {
        fprintf(stderr, "leat publish: %s\n", err.text);
        p->exit_status = 1;
        loop_stop(p->loop);
    }
    free(program);
}

/* --- the command --- */

static void connect_all(struct publish *p, const char *url, bool picture)
{
    p->publishers = xcalloc(p->count, sizeof(*p->publishers));
    for (size_t i = 0; i < p->count; i++) {
        struct publisher *one = &p->publishers[i];
        char *numbered = p->count > 1 ? xasprintf("%s%zu", url, i) : xstrdup(url);
        const struct rtmp_client_conf conf = {.url = numbered,
                                              .on_ready = picture ? on_ready_for_picture : on_ready,
                                              .on_end = on_client_end,
                                              .arg = one};

        one->all = p;
        one->client = rtmp_client_new(p->loop, &conf);
        free(numbered);
    }
}

static void on_signal(int signum, void *arg)
{
    (void)signum;
    say_goodbye(arg);
}

static int run(struct publish *p, const char *file, const char *url)
{
    struct err err;

    signal(SIGPIPE, SIG_IGN);
    log_init("publish", LOG_INFO);
    p->loop = loop_new();
    p->flv = flv_file_new();
    loop_on_signal(p->loop, SIGTERM, on_signal, p);
    loop_on_signal(p->loop, SIGINT, on_signal, p);
    if (file && read_flv(p, file, &err) != RC_OK) {
        fprintf(stderr, "leat publish: %s\n", err.text);
        p->exit_status = EXIT_START_FAILED;
    } else {
        connect_all(p, url, !file);
        p->tick = timer_new(p->loop, file ? on_tick : leave, p);
        if (file)
            timer_repeat(p->tick, TICK_MS);
        loop_run(p->loop);
    }
    for (size_t i = 0; p->publishers && i < p->count; i++)
        rtmp_client_free(p->publishers[i].client);
    process_free(p->picture);
    timer_free(p->tick);
    flv_file_free(p->flv);
    loop_free(p->loop);
    free(p->publishers);
    for (size_t i = 0; i < p->n_tags; i++)
        blob_unref(&p->tags[i].body);
    free(p->tags);
    return p->exit_status;
}

static int refuse(void)
{
    fputs(publish_command.usage, stderr);
    return EXIT_START_FAILED;
}

static int run_publish(int argc, char **argv)
{
    struct publish p = {.count = 1};
    const char *words[2] = {NULL, NULL};
    size_t n = 0;
    bool picture = false;
    uint64_t count;

    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];

        if (strncmp(arg, "--", 2) == 0)
            arg++;
        if (strcmp(arg, "-picture") == 0)
            picture = true;
        else if (strcmp(arg, "-loop") == 0)
            p.loops = true;
        else if (strcmp(arg, "-times") == 0)
            p.tells_times = true;
        else if (strcmp(arg, "-size") == 0 && i + 1 < argc)
            p.size = argv[++i];
        else if (strcmp(arg, "-count") == 0 && i + 1 < argc &&
                 slice_u64(slice_str(argv[++i]), MAX_PUBLISHERS, &count) && count)
            p.count = count;
        else if (arg[0] == '-' || n == 2)
            return refuse();
        else
            words[n++] = arg;
    }
    if (n != (picture ? 1 : 2) || (picture && p.count > 1))
        return refuse();
    return run(&p, picture ? NULL : words[0], words[n - 1]);
}

const struct command publish_command = {
    .name = "publish",
    .summary = "send a file or a test picture to an RTMP address",
    .usage = "leat publish [-loop] [-count N] [-times] FILE.flv rtmp://HOST[:PORT]/live/NAME\n"
             "leat publish -picture [-size WxH] rtmp://HOST[:PORT]/live/NAME\n\n"
             "Sends an FLV file (H.264, AAC) or a moving test picture, in real time.\n"
             "  -loop     begin again at the end\n"
             "  -count N  N publishers at once, to NAME0, NAME1, ...\n"
             "  -times    print when each key frame was sent\n"
             "  -picture  a moving picture with counter, clock and tone instead of a file\n"
             "  -size WxH its size\n",
    .flags = "-loop -count -times -picture -size",
    .run = run_publish,
};
