#include "codec/codec.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "codec/codec_child.h"
#include "codec/codec_failed.h"
#include "codec/codec_template.h"
#include "codec/message.h"
#include "net/process.h"

static_assert((int)CODEC_MAX_RENDITIONS == (int)MSG_MAX_RENDITIONS, "one limit");
static_assert((int)CODEC_MAX_SEGMENT_BYTES == (int)MSG_MAX_SEGMENT, "one limit");

#define DEFAULT_MEMORY_BYTES ((size_t)768 << 20)

enum { DEFAULT_MAX_SESSIONS = 10 };

/* One segment, from codec_transcode to its answer. */
struct job {
    struct list_node node;         /* in its session's list while it waits */
    struct codec_session *session; /* NULL once it is answered */
    struct loop *loop;
    struct blob *segment;
    struct msg_job msg;
    struct timer *deadline;
    int64_t deadline_ms; /* on the monotonic clock */
    int64_t attempt_ms;  /* when this attempt began */
    int attempts;
    bool kept; /* its bytes are in the failed folder */
    codec_on_result on_result;
    void *arg;
    struct deferred answer;
    struct codec_result result;
    struct log_tag log;
};

/* A child process and what we know of it. It outlives its session: until the template says
 * that it was reaped. */
struct process_of_session {
    struct list_node node;
    struct codec *codec;
    struct codec_session *session; /* NULL: given up, only its death is awaited */
    struct codec_child *socket;    /* NULL: closed */
    uint32_t number;
    int pid, pidfd; /* 0, -1 until the template tells */
    bool must_die;  /* kill it when its pidfd comes */
    int jobs;       /* done */
};

struct codec_session {
    struct list_node node;
    struct codec *codec;
    char id[MSG_MAX_ID + 1];
    struct list jobs; /* waiting, in order */
    struct job *current;
    struct process_of_session *process;
    struct deferred kick;
    struct log_tag log;
};

struct codec {
    struct loop *loop;
    struct codec_template *template;
    struct list sessions, processes;
    char *failed_dir;
    size_t failed_dir_max_bytes, memory_limit_bytes;
    int max_sessions;
    uint32_t last_number;
    bool was_ready;
    struct codec_stats stats;
    struct log_tag log;
};

static void session_kick_soon(struct codec_session *s);

/* ---- answering ---- */

static void job_free(struct job *j)
{
    for (size_t i = 0; i < j->result.n_renditions; i++)
        blob_unref(&j->result.renditions[i].media);
    blob_unref(&j->segment);
    timer_free(j->deadline);
    free(j);
}

static void job_give_answer(void *arg)
{
    struct job *j = arg;

    j->on_result(&j->result, j->arg);
    job_free(j);
}

/* The result is set. The callback comes from the loop; the session goes on. */
static void job_answer(struct job *j)
{
    struct codec_session *s = j->session;

    j->result.last_byte_us = clock_mono_us();
    timer_stop(j->deadline);
    list_remove(&s->jobs, &j->node);
    if (s->current == j)
        s->current = NULL;
    if (j->result.rc == RC_OK)
        s->codec->stats.jobs_done++;
    else
        s->codec->stats.jobs_failed++;
    j->session = NULL;
    loop_defer(j->loop, &j->answer, job_give_answer, j);
    session_kick_soon(s);
}

/* why: for the log only, may be empty. */
static void job_refuse(struct job *j, const struct err *err, const char *why)
{
    j->result.rc = err->code;
    j->result.err = *err;
    if (err->code != RC_CANCELLED)
        log_peer(&j->log, "not transcoded: %s%s%s", err->text, why[0] ? ": " : "", why);
    job_answer(j);
}

static void job_fail(struct job *j, const struct err *err)
{
    job_refuse(j, err, "");
}

/* ---- children ---- */

static void process_close_socket(struct process_of_session *p)
{
    if (p->socket)
        codec_child_close(p->socket);
    p->socket = NULL;
}

/* Its session has no more to do with it; it is killed, or ends by itself at the end of its
 * socket. */
static void process_give_up(struct process_of_session *p, bool must_die)
{
    process_close_socket(p);
    if (p->session)
        p->session->process = NULL;
    p->session = NULL;
    p->must_die |= must_die;
    /* by handle: its number may belong to somebody else by now */
    if (p->must_die && p->pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
}

/* It is reaped: nothing of it is left. */
static void process_free_reaped(struct process_of_session *p)
{
    struct codec *c = p->codec;

    process_give_up(p, false);
    if (p->pidfd >= 0)
        close(p->pidfd);
    list_remove(&c->processes, &p->node);
    free(p);
    LIST_EACH (&c->sessions, struct codec_session, node, s)
        session_kick_soon(s); /* one may be waiting for room */
}

static void keep_bytes(struct job *j)
{
    const struct codec *c = j->session->codec;

    if (!c->failed_dir || j->kept)
        return;
    j->kept = true;
    codec_failed_keep(c->loop, c->failed_dir, c->failed_dir_max_bytes, j->session->id, j->msg.seq,
                      j->segment);
}

/* The child is gone. Another try in a fresh one, if it may take as long as this one did. */
static void job_attempt_failed(struct job *j, const struct err *why, bool may_retry)
{
    int64_t now = clock_mono_ms(), took = now - j->attempt_ms;

    if (why->code != RC_UNAVAILABLE)
        keep_bytes(j);
    if (!may_retry || j->attempts > 1 || now + took >= j->deadline_ms) {
        job_fail(j, why);
        return;
    }
    log_peer(&j->log, "%s; once more in a fresh child", why->text);
    session_kick_soon(j->session);
}

static void describe_death(int status, struct err *err)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        err_set(err, RC_TIMEOUT, "the codec used more processor time than this segment may have");
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        err_set(err, RC_CRASHED, "the codec tried what its sandbox forbids");
    else if (WIFSIGNALED(status))
        err_set(err, RC_CRASHED, "the codec died of signal %d (%s)", WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    else
        err_set(err, RC_CRASHED, "the codec ended with status %d", WEXITSTATUS(status));
}

/* Reaped, or never born. Its job, if it still has one, learns why. */
static void process_ended(struct process_of_session *p, const struct err *why)
{
    struct job *j = p->session ? p->session->current : NULL;

    process_free_reaped(p);
    if (j && j->attempts > 0)
        job_attempt_failed(j, why, why->code != RC_TIMEOUT);
}

static struct process_of_session *find_by_pid(const struct codec *c, int pid)
{
    LIST_EACH (&c->processes, struct process_of_session, node, p)
        if (p->pid == pid)
            return p;
    return NULL;
}

static struct process_of_session *find_by_number(const struct codec *c, uint32_t number)
{
    LIST_EACH (&c->processes, struct process_of_session, node, p)
        if (p->number == number)
            return p;
    return NULL;
}

/* Processor time, beside the deadline's wall time: it bounds the child also when no job of
 * ours is running. */
static void process_set_budget(const struct process_of_session *p)
{
    const struct job *j = p->session ? p->session->current : NULL;

    if (p->pid <= 0 || !j || !j->attempts)
        return;
    int64_t left_ms = MAX(j->deadline_ms - clock_mono_ms(), 0);
    codec_template_budget(p->codec->template,
                          &(struct msg_budget){p->pid, (uint32_t)(left_ms / 1000 + 2)});
}

/* ---- what the template tells ---- */

static void on_ready(void *arg)
{
    struct codec *c = arg;

    if (c->was_ready)
        c->stats.template_restarts++;
    c->was_ready = true;
}

static void on_opened(const struct msg_opened *m, int TAKES pidfd, void *arg)
{
    struct process_of_session *p = find_by_number(arg, m->session);
    struct err err;

    if (!p || m->pid <= 0) {
        if (pidfd >= 0)
            close(pidfd);
        err_set(&err, RC_UNAVAILABLE, "no codec process can be forked: %s", strerror(-m->pid));
        if (p)
            process_ended(p, &err);
        return;
    }
    p->pid = m->pid;
    p->pidfd = pidfd;
    if (p->must_die)
        process_give_up(p, true);
    else
        process_set_budget(p);
}

static void on_died(const struct msg_died *m, void *arg)
{
    struct codec *c = arg;
    struct process_of_session *p = find_by_pid(c, m->pid);
    struct err err;

    if (!p)
        return;
    describe_death(m->status, &err);
    if (!p->must_die && m->status != 0) {
        c->stats.children_crashed++;
        log_peer(p->session ? &p->session->log : &c->log, "child %d: %s", m->pid, err.text);
    }
    process_ended(p, &err);
}

static void on_gone(void *arg)
{
    struct codec *c = arg;
    struct err err;

    err_set(&err, RC_UNAVAILABLE, "leat-codec's template ended, and its children with it");
    LIST_EACH (&c->processes, struct process_of_session, node, p)
        process_ended(p, &err);
}

static const struct codec_template_events template_events = {on_ready, on_opened, on_died, on_gone};

/* ---- what a child tells ---- */

static void take_output(struct job *j, const struct codec_output *out)
{
    struct codec_result *r = &j->result;

    for (size_t i = 0; i < out->n; i++)
        r->renditions[i] = (struct codec_rendition){.media = blob_ref(out->media[i]),
                                                    .pixels = out->about[i].pixels,
                                                    .width = out->about[i].width,
                                                    .height = out->about[i].height,
                                                    .frames = out->about[i].frames};
    r->n_renditions = out->n;
    r->rc = RC_OK;
}

/* A child that ran out of memory, or met a defect of its own, ends itself. If it had worked
 * before, what it had gathered may be the reason, and a fresh one is worth a try. */
static void job_broke_child(struct job *j, struct process_of_session *p, const struct msg_done *m)
{
    struct err err;
    bool may_retry = p->jobs > 0;

    err_set(&err, m->rc, "%s%s%s", m->text, m->detail[0] ? ": " : "", m->detail);
    if (m->rc == RC_LIMIT)
        err_wrap(&err, m->rc, "limit of %zu MiB", p->codec->memory_limit_bytes >> 20);
    process_give_up(p, true);
    job_attempt_failed(j, &err, may_retry);
}

static void on_done(const struct msg_done *m, const struct codec_output *out, void *arg)
{
    struct process_of_session *p = arg;
    struct job *j = p->session->current;
    struct err err;

    assert(j && j->attempts > 0);
    j->result.decoded_pixels = m->decoded_pixels;
    if (m->rc == RC_LIMIT || m->rc == RC_INTERNAL) {
        job_broke_child(j, p, m);
        return;
    }
    p->jobs++;
    if (m->rc != RC_OK) {
        /* the network's text alone: the other side compares whole texts */
        err_set(&err, m->rc, "%s", m->text);
        job_refuse(j, &err, m->detail);
        return;
    }
    take_output(j, out);
    job_answer(j);
}

/* Its socket ended: the template will say why. It said nonsense: it is ended for that. */
static void on_lost(const char *why, void *arg)
{
    struct process_of_session *p = arg;
    struct job *j = p->session->current;
    struct err err;

    if (!why) {
        process_close_socket(p);
        if (!j || !j->attempts)
            process_give_up(p, true);
        return;
    }
    log_peer(&p->session->log, "child %d sent %s", p->pid, why);
    p->codec->stats.children_crashed++;
    process_give_up(p, true);
    if (j && j->attempts) {
        err_set(&err, RC_CRASHED, "the codec sent %s", why);
        job_attempt_failed(j, &err, true);
    }
}

static const struct codec_child_events child_events = {on_done, on_lost};

/* ---- running jobs ---- */

static enum rc process_open(struct codec_session *s, struct err *err)
{
    struct codec *c = s->codec;
    struct process_of_session *p = xcalloc(1, sizeof(*p));
    struct msg_open m = {.session = ++c->last_number, .memory_limit_bytes = c->memory_limit_bytes};
    int their_end;

    p->socket = codec_child_new(c->loop, &child_events, p, &their_end, err);
    if (!p->socket) {
        free(p);
        return err->code;
    }
    p->codec = c;
    p->session = s;
    p->number = m.session;
    p->pidfd = -1;
    s->process = p;
    list_push(&c->processes, &p->node);
    memcpy(m.id, s->id, sizeof(m.id));
    codec_template_open(c->template, &m, their_end);
    return RC_OK;
}

static void job_run(struct job *j)
{
    struct codec_session *s = j->session;
    struct err err;

    if (s->process && !s->process->socket)
        return; /* its death is on the way, and kicks us */
    if (!s->process && s->codec->processes.n >= (size_t)s->codec->max_sessions)
        return; /* so does the end of another, or the deadline ends the wait */
    if (!s->process && process_open(s, &err) != RC_OK) {
        job_fail(j, &err);
        return;
    }
    j->attempts++;
    j->attempt_ms = clock_mono_ms();
    if (j->attempts == 1)
        j->result.first_byte_us = clock_mono_us();
    process_set_budget(s->process);
    codec_child_send(s->process->socket, &j->msg, j->segment);
}

/* Is the session's current job with a child? */
static bool is_running(const struct codec_session *s)
{
    return s->current && s->current->attempts > 0 && s->process;
}

static void session_kick(void *arg)
{
    struct codec_session *s = arg;

    if (is_running(s))
        return;
    if (!s->current) {
        s->current = LIST_FIRST(&s->jobs, struct job, node);
        if (!s->current)
            return;
        list_remove(&s->jobs, &s->current->node);
    }
    job_run(s->current);
}

static void session_kick_soon(struct codec_session *s)
{
    loop_defer(s->codec->loop, &s->kick, session_kick, s);
}

static void on_deadline(void *arg)
{
    struct job *j = arg;
    struct codec_session *s = j->session;
    struct err err;

    if (s->current == j && is_running(s)) {
        err_set(&err, RC_TIMEOUT, "the codec was killed at its deadline, after %lld ms",
                (long long)(clock_mono_ms() - j->attempt_ms));
        keep_bytes(j);
        process_give_up(s->process, true);
    } else if (s->current == j && !j->attempts) {
        err_set(&err, RC_BUSY, "no codec process came free in time: all %d are in use",
                s->codec->max_sessions);
    } else {
        err_set(&err, RC_TIMEOUT, "its turn did not come before its deadline");
    }
    job_fail(j, &err);
}

/* What would not fit a message is refused here, with the network's words. */
static enum rc check_job(const struct codec_job *job, struct err *err)
{
    if (job->n_profiles > CODEC_MAX_RENDITIONS)
        return err_set(err, RC_UNSUPPORTED, "Too many outputs");
    if (job->segment->n > CODEC_MAX_SEGMENT_BYTES)
        return err_set(err, RC_LIMIT, "a segment of %zu bytes, at most %d are taken",
                       job->segment->n, (int)CODEC_MAX_SEGMENT_BYTES);
    if (job->duration_ms < 0 || job->duration_ms > MSG_MAX_DURATION_MS)
        return err_set(err, RC_BAD_INPUT, "TranscoderInvalidDuration");
    if (job->clip_from_ms < 0 || job->clip_to_ms < 0 || job->clip_from_ms > INT32_MAX ||
        job->clip_to_ms > INT32_MAX)
        return err_set(err, RC_BAD_INPUT, "Invalid argument");
    for (size_t i = 0; i < job->n_profiles; i++) {
        const struct profile *p = &job->profiles[i];
        if (p->width <= 0 || p->height <= 0 || p->width > MSG_MAX_SIDE || p->height > MSG_MAX_SIDE)
            return err_set(err, RC_UNSUPPORTED, "TranscoderInvalidResolution");
        if (p->bitrate < 0)
            return err_set(err, RC_UNSUPPORTED, "Invalid argument");
    }
    return RC_OK;
}

static void copy_job(struct job *j, const struct codec_job *job)
{
    j->segment = blob_ref(job->segment);
    j->msg = (struct msg_job){.seq = job->seq,
                              .duration_ms = job->duration_ms,
                              .reinit = job->reinit,
                              .clip_from_ms = job->clip_from_ms,
                              .clip_to_ms = job->clip_to_ms,
                              .segment_bytes = job->segment->n};
    j->msg.n_profiles = MIN(job->n_profiles, (size_t)CODEC_MAX_RENDITIONS);
    for (size_t i = 0; i < j->msg.n_profiles; i++)
        j->msg.profiles[i] = job->profiles[i];
}

void codec_transcode(struct codec_session *s, const struct codec_job *job,
                     codec_on_result on_result, void *arg)
{
    struct job *j = xcalloc(1, sizeof(*j));
    struct err err;

    j->session = s;
    j->loop = s->codec->loop;
    j->on_result = on_result;
    j->arg = arg;
    j->deadline = timer_new(j->loop, on_deadline, j);
    j->deadline_ms = clock_mono_ms() + job->deadline_ms;
    log_tag_child(&j->log, &s->log, "segment=%lld", (long long)job->seq);
    copy_job(j, job);
    list_push(&s->jobs, &j->node);
    if (check_job(job, &err) != RC_OK) {
        job_fail(j, &err);
        return;
    }
    timer_start(j->deadline, job->deadline_ms);
    session_kick_soon(s);
}

/* ---- sessions ---- */

struct codec_session *codec_session_open(struct codec *c, const char *id)
{
    struct codec_session *s = xcalloc(1, sizeof(*s));

    s->codec = c;
    snprintf(s->id, sizeof(s->id), "%s", id);
    log_tag(&s->log, "codec session=%s", s->id);
    list_init(&s->jobs);
    list_push(&c->sessions, &s->node);
    return s;
}

void codec_session_close(struct codec_session *s)
{
    struct err err;

    err_set(&err, RC_CANCELLED, "the session was closed");
    if (s->process)
        process_give_up(s->process, is_running(s));
    if (s->current)
        job_fail(s->current, &err);
    LIST_EACH (&s->jobs, struct job, node, j)
        job_fail(j, &err);
    loop_defer_cancel(s->codec->loop, &s->kick);
    list_remove(&s->codec->sessions, &s->node);
    free(s);
}

/* ---- the whole ---- */

static enum rc start_template(struct codec *c, const char *program, struct err *err)
{
    char *beside = program ? NULL : process_sibling("leat-codec");
    const char *path = program ? program : beside;
    enum rc rc = RC_OK;

    if (access(path, X_OK) != 0)
        rc = err_set(err, RC_NOT_FOUND,
                     "leat-codec is not at %s: build it, or install it beside "
                     "leat",
                     path);
    if (rc == RC_OK) {
        c->template = codec_template_start(c->loop, path, &template_events, c, err);
        rc = c->template ? RC_OK : RC_IO;
    }
    free(beside);
    return rc;
}

struct codec *codec_new(struct loop *loop, const struct codec_conf *conf, struct err *err)
{
    struct codec *c = xcalloc(1, sizeof(*c));

    c->loop = loop;
    c->failed_dir = conf->failed_dir ? xstrdup(conf->failed_dir) : NULL;
    c->failed_dir_max_bytes = conf->failed_dir_max_bytes;
    c->memory_limit_bytes = conf->memory_limit_bytes ? conf->memory_limit_bytes
                                                     : DEFAULT_MEMORY_BYTES;
    c->max_sessions = conf->max_sessions > 0 ? conf->max_sessions : DEFAULT_MAX_SESSIONS;
    list_init(&c->sessions);
    list_init(&c->processes);
    log_tag(&c->log, "codec");
    if (start_template(c, conf->program, err) == RC_OK)
        return c;
    codec_free(c);
    return NULL;
}

void codec_free(struct codec *c)
{
    if (!c)
        return;
    LIST_EACH (&c->sessions, struct codec_session, node, s)
        codec_session_close(s);
    LIST_EACH (&c->processes, struct process_of_session, node, p)
        process_free_reaped(p); /* they die with the template */
    codec_template_stop(c->template);
    free(c->failed_dir);
    free(c);
}

void codec_stats_get(const struct codec *c, struct codec_stats *out)
{
    *out = c->stats;
    out->sessions = (int)c->sessions.n;
    out->children = (int)c->processes.n;
    LIST_EACH (&c->sessions, struct codec_session, node, s) {
        out->jobs_running += is_running(s);
        out->jobs_waiting += (int)s->jobs.n + (s->current && !is_running(s));
    }
}
