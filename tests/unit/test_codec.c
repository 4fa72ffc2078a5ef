/* The client of leat-codec with the real program: what it promises when children work,
 * crash, freeze, eat memory, or are closed under their jobs. */
#include "codec/codec.c"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
enum { MEMORY_IS_LIMITED = 0 };  /* such builds have no memory limit, see sandbox.h */
enum { CRASH_SIGNAL = SIGABRT }; /* they catch SIGSEGV and exit */
#else
enum { MEMORY_IS_LIMITED = 1 };
enum { CRASH_SIGNAL = SIGSEGV };
#endif

enum { LONG_MS = 60000, GUARD_MS = 90000 };

static struct loop *loop;
static struct blob *clip; /* 1 s of 320x180, with sound */

static const struct profile small_profiles[] = {
    {.name = "a", .width = 160, .height = 90, .bitrate = 200000, .fps = 30, .fps_den = 1},
    {.name = "b", .width = 256, .height = 144, .bitrate = 300000, .fps = 30, .fps_den = 1},
};

/* ---- media ---- */

/* What a command prints. */
static struct blob *output_of(const char *command)
{
    FILE *f = popen(command, "re");
    struct buf b;
    size_t n;

    assert_non_null(f);
    buf_init(&b, 64 << 20);
    while (buf_reserve(&b, 65536) && (n = fread(b.p + b.n, 1, 65536, f)) > 0)
        b.n += n;
    assert_int_equal(pclose(f), 0);
    return blob_of_buf(&b);
}

static struct blob *make_clip(const char *size, const char *more)
{
    char command[512];

    snprintf(command, sizeof(command),
             "ffmpeg -v error -nostdin -f lavfi -i testsrc2=size=%s:rate=30 %s -c:v libx264 "
             "-preset ultrafast -f mpegts -",
             size, more);
    return output_of(command);
}

/* ---- asking and waiting ---- */

struct answer {
    int calls;
    enum rc rc;
    char text[ERR_TEXT_MAX];
    size_t n;
    int64_t pixels[CODEC_MAX_RENDITIONS], decoded_pixels;
    int frames[CODEC_MAX_RENDITIONS];
    size_t bytes[CODEC_MAX_RENDITIONS];
    int order;
};

static int answers_so_far;

static void on_answer(const struct codec_result *r, void *arg)
{
    struct answer *a = arg;

    a->calls++;
    a->order = ++answers_so_far;
    a->rc = r->rc;
    snprintf(a->text, sizeof(a->text), "%s", r->err.text);
    a->n = r->n_renditions;
    a->decoded_pixels = r->decoded_pixels;
    for (size_t i = 0; i < r->n_renditions; i++) {
        a->pixels[i] = r->renditions[i].pixels;
        a->frames[i] = r->renditions[i].frames;
        a->bytes[i] = r->renditions[i].media->n;
    }
    if (r->rc == RC_OK)
        assert_true(r->first_byte_us > 0 && r->last_byte_us > r->first_byte_us);
    loop_stop(loop);
}

static void ask(struct codec_session *s, struct blob *segment, int deadline_ms, struct answer *a)
{
    struct codec_job job = {.segment = segment,
                            .profiles = small_profiles,
                            .n_profiles = ARRAY_LEN(small_profiles),
                            .seq = 7,
                            .duration_ms = 1000,
                            .deadline_ms = deadline_ms};

    *a = (struct answer){0};
    codec_transcode(s, &job, on_answer, a);
    assert_int_equal(a->calls, 0); /* never inside the call */
}

static void on_guard(void *arg)
{
    fail_msg("waited too long");
}

static void on_look(void *arg)
{
    bool (*is_so)(void *) = *(bool (**)(void *))arg;

    if (is_so(((void **)arg)[1]))
        loop_stop(loop);
}

/* Runs the loop until is_so(arg). */
static void wait_until(bool (*is_so)(void *), void *arg)
{
    void *look[] = {(void *)is_so, arg};
    struct timer *guard = timer_new(loop, on_guard, NULL);
    struct timer *again = timer_new(loop, on_look, look);

    timer_start(guard, GUARD_MS);
    timer_repeat(again, 2);
    while (!is_so(arg))
        loop_run(loop);
    timer_free(again);
    timer_free(guard);
}

static bool is_answered(void *arg)
{
    return ((struct answer *)arg)->calls > 0;
}

static void wait_answer(struct answer *a)
{
    wait_until(is_answered, a);
}

static bool has_pid(void *arg)
{
    const struct codec_session *s = arg;

    return s->process && s->process->pid > 0 && is_running(s);
}

static bool is_alone(void *arg)
{
    return ((struct codec *)arg)->processes.n == 0;
}

static void assert_transcoded(const struct answer *a)
{
    assert_string_equal(a->text, "");
    assert_int_equal(a->rc, RC_OK);
    assert_int_equal(a->calls, 1);
    assert_int_equal(a->n, 2);
    assert_int_equal(a->decoded_pixels, 30 * 320 * 180);
    assert_int_equal(a->frames[0], 30);
    assert_int_equal(a->pixels[0], 30 * 160 * 90);
    assert_int_equal(a->pixels[1], 30 * 256 * 144);
    assert_true(a->bytes[0] > 188 && a->bytes[1] > 188);
}

static struct codec *start_codec(const struct codec_conf *more)
{
    struct codec_conf conf = more ? *more : (struct codec_conf){0};
    struct err err;

    conf.program = LEAT_CODEC_PROGRAM;
    struct codec *c = codec_new(loop, &conf, &err);
    assert_non_null(c);
    return c;
}

/* A session whose child has worked and is stopped, with a job waiting in it. */
static struct codec_session *frozen_session_on(struct codec *c, const char *id,
                                               struct blob *segment, int deadline_ms,
                                               struct answer *a)
{
    struct codec_session *s = codec_session_open(c, id);

    ask(s, clip, LONG_MS, a);
    wait_answer(a);
    assert_transcoded(a);
    assert_int_equal(kill(s->process->pid, SIGSTOP), 0);
    ask(s, segment, deadline_ms, a);
    wait_until(has_pid, s);
    return s;
}

static struct codec_session *frozen_session(struct codec *c, const char *id, int deadline_ms,
                                            struct answer *a)
{
    return frozen_session_on(c, id, clip, deadline_ms, a);
}

static void crash(struct codec_session *s)
{
    int pid = s->process->pid;

    assert_int_equal(kill(pid, CRASH_SIGNAL), 0);
    assert_int_equal(kill(pid, SIGCONT), 0);
}

/* ---- work ---- */

static void a_missing_program_is_told_with_its_place(void **state)
{
    struct codec_conf conf = {.program = "/nonexistent/leat-codec"};
    struct err err;

    assert_null(codec_new(loop, &conf, &err));
    assert_non_null(strstr(err.text, "/nonexistent/leat-codec"));
}

static void segments_of_a_session_are_done_in_order(void **state)
{
    struct codec *c = start_codec(NULL);
    struct codec_session *s = codec_session_open(c, "order");
    struct answer a[3];
    struct codec_stats stats;

    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        ask(s, clip, LONG_MS, &a[i]);
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        wait_answer(&a[i]);
        assert_transcoded(&a[i]);
    }
    assert_true(a[0].order < a[1].order && a[1].order < a[2].order);
    codec_stats_get(c, &stats);
    assert_int_equal(stats.jobs_done, 3);
    assert_int_equal(stats.children, 1);
    assert_int_equal(stats.children_crashed, 0);
    codec_session_close(s);
    wait_until(is_alone, c);
    codec_free(c);
}

static void what_is_no_video_is_refused_in_the_networks_words(void **state)
{
    static const char *const bad[] = {"", "Hello, this is a text file and not a video.\n", "\x47",
                                      "FLV\x01\x05",
                                      "\0\0\0\x18"
                                      "ftypmp42"};
    struct codec *c = start_codec(NULL);
    struct codec_session *s = codec_session_open(c, "bad");
    struct answer a;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct blob *b = blob_copy(slice_of(bad[i], i == 4 ? 12 : strlen(bad[i])));
        ask(s, b, LONG_MS, &a);
        blob_unref(&b);
        wait_answer(&a);
        assert_int_equal(a.rc, RC_BAD_INPUT);
        assert_string_equal(a.text, "TranscoderInvalidVideo");
    }
    ask(s, clip, LONG_MS, &a); /* the session has taken no harm */
    wait_answer(&a);
    assert_transcoded(&a);
    assert_int_equal(c->stats.children_crashed, 0);
    codec_free(c);
}

static void a_job_no_worker_can_do_is_refused_at_once(void **state)
{
    struct codec *c = start_codec(NULL);
    struct codec_session *s = codec_session_open(c, "refused");
    struct profile many[CODEC_MAX_RENDITIONS + 1];
    struct codec_job job = {
        .segment = clip, .profiles = many, .n_profiles = ARRAY_LEN(many), .deadline_ms = LONG_MS};
    struct answer a = {0};

    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = small_profiles[0];
    codec_transcode(s, &job, on_answer, &a);
    wait_answer(&a);
    assert_string_equal(a.text, "Too many outputs");

    a = (struct answer){0};
    job.n_profiles = 1;
    many[0].width = 0;
    codec_transcode(s, &job, on_answer, &a);
    wait_answer(&a);
    assert_string_equal(a.text, "TranscoderInvalidResolution");

    a = (struct answer){0};
    many[0] = small_profiles[0];
    many[0].encoder = VIDEO_VP9;
    codec_transcode(s, &job, on_answer, &a);
    wait_answer(&a);
    assert_string_equal(a.text, "Encoder not found");

    a = (struct answer){0};
    many[0] = small_profiles[0];
    many[0].gop_ms = -2;
    codec_transcode(s, &job, on_answer, &a);
    wait_answer(&a);
    assert_string_equal(a.text, "TranscoderInvalidGOP");
    codec_free(c);
}

/* ---- trouble ---- */

static void a_crash_is_retried_and_nobody_else_notices(void **state)
{
    struct codec *c = start_codec(NULL);
    struct answer victim, other;
    struct codec_session *bystander = frozen_session(c, "bystander", LONG_MS, &other);
    struct codec_session *s = frozen_session(c, "victim", LONG_MS, &victim);
    int bystanders_pid = bystander->process->pid;

    crash(s);
    wait_answer(&victim);
    assert_transcoded(&victim); /* by a fresh child of a fresh template */
    assert_int_equal(c->stats.children_crashed, 1);
    assert_int_equal(c->stats.template_restarts, 1);

    assert_int_equal(kill(bystanders_pid, SIGCONT), 0);
    wait_answer(&other);
    assert_transcoded(&other);
    assert_int_equal(bystander->process->pid, bystanders_pid); /* it worked on meanwhile */
    codec_free(c);
}

static bool is_second_attempt(void *arg)
{
    const struct codec_session *s = arg;

    return has_pid(arg) && s->current->attempts == 2;
}

static int count_kept(const char *dir, char *name, size_t room)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int n = 0;

    while (d && (e = readdir(d)))
        if (!strncmp(e->d_name, "failed-", 7)) {
            snprintf(name, room, "%s", e->d_name);
            n++;
        }
    if (d)
        closedir(d);
    return n;
}

static bool is_kept(void *arg)
{
    char name[256];

    return count_kept(arg, name, sizeof(name)) > 0;
}

static void remove_kept(const char *dir)
{
    char name[256], path[512];

    while (count_kept(dir, name, sizeof(name))) {
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void two_crashes_are_an_answer_and_the_bytes_are_kept(void **state)
{
    char dir[] = "/tmp/leat-test-codec-XXXXXX", name[256], path[512];
    struct blob *lengthy = make_clip("320x180", "-t 120"); /* work for seconds */
    struct stat st;
    struct answer a;

    assert_non_null(mkdtemp(dir));
    struct codec *c = start_codec(
        &(struct codec_conf){.failed_dir = dir, .failed_dir_max_bytes = 64 << 20});
    struct codec_session *s = frozen_session_on(c, "../twice", lengthy, LONG_MS, &a);

    crash(s);
    wait_until(is_second_attempt, s);
    assert_int_equal(kill(s->process->pid, CRASH_SIGNAL), 0);
    wait_answer(&a);
    assert_int_equal(a.rc, RC_CRASHED);
    snprintf(path, sizeof(path), "signal %d", CRASH_SIGNAL);
    assert_non_null(strstr(a.text, path));
    wait_until(is_kept, dir);
    assert_int_equal(count_kept(dir, name, sizeof(name)), 1); /* once for both attempts */
    assert_int_equal(strncmp(name, "failed-___twice-7-", 18), 0);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, lengthy->n);

    ask(s, clip, LONG_MS, &a); /* and life goes on */
    wait_answer(&a);
    assert_transcoded(&a);
    codec_free(c);
    blob_unref(&lengthy);
    remove_kept(dir);
}

static void keep(const char *dir, const char *stream, size_t max)
{
    static const uint8_t hundred[100] = {0x47};
    struct blob *b = blob_copy(slice_of(hundred, sizeof(hundred)));
    static int seq;

    codec_failed_keep(loop, dir, max, stream, ++seq, b);
    blob_unref(&b);
    loop_run(loop); /* until the helper thread has done it */
}

static void the_oldest_kept_segments_make_room(void **state)
{
    char dir[] = "/tmp/leat-test-codec-XXXXXX", name[256] = "", path[512];

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/somebody's", dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    for (int i = 0; i < 4; i++)
        keep(dir, "first", 250);
    assert_int_equal(count_kept(dir, name, sizeof(name)), 2);
    keep(dir, "last", 150);
    assert_int_equal(count_kept(dir, name, sizeof(name)), 1);
    assert_int_equal(strncmp(name, "failed-last-", 12), 0);
    keep(dir, "large", 99);
    assert_int_equal(count_kept(dir, name, sizeof(name)), 1); /* too large to be kept at all */
    assert_int_equal(unlink(path), 0);                        /* a stranger's file is left */
    remove_kept(dir);
}

static void a_frozen_child_is_killed_at_the_deadline(void **state)
{
    struct codec *c = start_codec(NULL);
    struct answer a;
    struct codec_session *s = frozen_session(c, "frozen", 300, &a);
    int pid = s->process->pid;

    wait_answer(&a);
    assert_int_equal(a.rc, RC_TIMEOUT);
    ask(s, clip, LONG_MS, &a);
    wait_answer(&a);
    assert_transcoded(&a);
    assert_int_not_equal(s->process->pid, pid);
    codec_free(c);
}

static void a_picture_too_large_for_the_memory_is_an_answer(void **state)
{
    if (!MEMORY_IS_LIMITED)
        skip();
    struct blob *bomb = make_clip("8192x4320", "-frames:v 2");
    struct codec *c = start_codec(&(struct codec_conf){.memory_limit_bytes = 96 << 20});
    struct codec_session *s = codec_session_open(c, "bomb");
    struct answer a;

    ask(s, bomb, LONG_MS, &a);
    wait_answer(&a);
    assert_int_equal(a.rc, RC_LIMIT);
    assert_non_null(strstr(a.text, "96 MiB"));
    ask(s, clip, LONG_MS, &a);
    wait_answer(&a);
    assert_transcoded(&a);
    codec_free(c);
    blob_unref(&bomb);
}

static void a_dead_template_is_started_again(void **state)
{
    struct codec *c = start_codec(NULL);
    struct codec_session *s = codec_session_open(c, "template");
    char path[64], line[256] = "";
    struct answer a;

    ask(s, clip, LONG_MS, &a);
    wait_answer(&a);
    snprintf(path, sizeof(path), "/proc/%d/stat", s->process->pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    int parent = 0;
    assert_int_equal(sscanf(strrchr(line, ')'), ") %*c %d", &parent), 1);
    assert_int_equal(kill(parent, SIGKILL), 0);

    ask(s, clip, LONG_MS, &a);
    wait_answer(&a);
    assert_transcoded(&a); /* the second attempt waited for the new one */
    assert_int_equal(c->stats.template_restarts, 1);
    codec_free(c);
}

static void closing_answers_what_runs_and_waits(void **state)
{
    struct codec *c = start_codec(NULL);
    struct answer running, waiting, freed;
    struct codec_session *s = frozen_session(c, "closed", LONG_MS, &running);

    ask(s, clip, LONG_MS, &waiting);
    codec_session_close(s);
    assert_int_equal(running.calls + waiting.calls, 0);
    wait_answer(&waiting);
    wait_answer(&running);
    assert_int_equal(running.rc, RC_CANCELLED);
    assert_int_equal(waiting.rc, RC_CANCELLED);
    wait_until(is_alone, c); /* the frozen child was killed */

    s = codec_session_open(c, "freed");
    ask(s, clip, LONG_MS, &freed);
    codec_free(c);
    wait_answer(&freed);
    assert_int_equal(freed.rc, RC_CANCELLED);
}

static void more_sessions_than_children_wait_their_turn(void **state)
{
    struct codec *c = start_codec(&(struct codec_conf){.max_sessions = 1});
    struct answer first, second;
    struct codec_session *holder = frozen_session(c, "holder", LONG_MS, &first);
    struct codec_session *s = codec_session_open(c, "waits");

    ask(s, clip, 100, &second);
    wait_answer(&second);
    assert_int_equal(second.rc, RC_BUSY);
    ask(s, clip, LONG_MS, &second);
    codec_session_close(holder);
    wait_answer(&second);
    assert_transcoded(&second);
    wait_answer(&first);
    codec_free(c);
}

static int open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void sessions_leave_no_descriptor_behind(void **state)
{
    struct codec *c = start_codec(NULL);
    struct answer a;
    int before = 0;

    for (int i = 0; i < 6; i++) {
        struct codec_session *s = codec_session_open(c, "many");
        ask(s, clip, LONG_MS, &a);
        wait_answer(&a);
        codec_session_close(s);
        wait_until(is_alone, c);
        if (i == 0)
            before = open_descriptors();
    }
    assert_int_equal(open_descriptors(), before);
    codec_free(c);
}

static int set_up(void **state)
{
    loop = loop_new();
    clip = make_clip("320x180", "-f lavfi -i sine -t 1 -c:a aac");
    return 0;
}

static int tear_down(void **state)
{
    loop_run(loop); /* what is closing closes */
    blob_unref(&clip);
    loop_free(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_program_is_told_with_its_place),
        cmocka_unit_test(segments_of_a_session_are_done_in_order),
        cmocka_unit_test(what_is_no_video_is_refused_in_the_networks_words),
        cmocka_unit_test(a_job_no_worker_can_do_is_refused_at_once),
        cmocka_unit_test(a_crash_is_retried_and_nobody_else_notices),
        cmocka_unit_test(two_crashes_are_an_answer_and_the_bytes_are_kept),
        cmocka_unit_test(the_oldest_kept_segments_make_room),
        cmocka_unit_test(a_frozen_child_is_killed_at_the_deadline),
        cmocka_unit_test(a_picture_too_large_for_the_memory_is_an_answer),
        cmocka_unit_test(a_dead_template_is_started_again),
        cmocka_unit_test(closing_answers_what_runs_and_waits),
        cmocka_unit_test(more_sessions_than_children_wait_their_turn),
        cmocka_unit_test(sessions_leave_no_descriptor_behind),
    };

    log_init("test", LOG_BUG);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
