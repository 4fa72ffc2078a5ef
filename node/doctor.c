/* leat doctor ROLE [FLAGS]: would this node run, and would its peers answer? Opens nothing for
 * good and makes nothing: it looks, and says what to do about each thing that is wrong. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "codec/codec.h"
#include "net/http_client.h"
#include "net/stream.h"
#include "net/web.h"
#include "node/address.h"
#include "node/commands.h"

extern char **environ;

enum {
    ANSWER_MS = 3000,
    CODEC_MS = 10000,
    MAX_ANSWER = 1024 * 1024,
    MAX_CLOCK_OFF_S = 30,
    RTMP_PORT = 1935,
    HTTP_PORT = 9935,
    SERVICE_PORT = 8935
};

struct doctor {
    struct node n;
    struct loop *loop;
    bool runs; /* a node answers on -cliAddr: the ports are its own */
    int faults;
    /* of the question that is open */
    int status;
    char date[64];
    struct blob *answer;
    struct err err;
    enum rc codec_rc;
};

/* --- what it says --- */

static void fine(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void fault(struct doctor *d, const char *mend, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void fine(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fputs("ok     ", stdout);
    vprintf(fmt, args);
    putchar('\n');
    va_end(args);
}

static void fault(struct doctor *d, const char *mend, const char *fmt, ...)
{
    va_list args;

    d->faults++;
    va_start(args, fmt);
    fputs("WRONG  ", stdout);
    vprintf(fmt, args);
    printf("\n       mend: %s\n", mend);
    va_end(args);
}

static const char *text_of(const struct doctor *d, enum option_id id)
{
    return opt_text(&d->n.options, id);
}

static bool is_role(const struct doctor *d, int role)
{
    return d->n.role->option_role == role;
}

/* --- questions over the network --- */

static void on_answer(int status, const struct http_headers *h, struct blob *body,
                      const struct err *err, void *arg)
{
    struct doctor *d = arg;
    struct slice date = h ? http_header_get(h, "date") : slice_of(NULL, 0);

    d->status = status;
    snprintf(d->date, sizeof(d->date), SLICE_FMT, SLICE_ARG(date));
    if (err)
        d->err = *err;
    else if (body)
        d->answer = blob_ref(body);
    loop_stop(d->loop);
}

/* False: no answer, d->err says why. */
static bool ask(struct doctor *d, const char *url)
{
    struct http_client *client = http_client_new(d->loop);
    const struct http_call_conf conf = {.method = "GET",
                                        .url = url,
                                        .timeout_ms = ANSWER_MS,
                                        .max_body = MAX_ANSWER,
                                        .collect = true,
                                        .on_done = on_answer,
                                        .arg = d};

    blob_unref(&d->answer);
    d->err = (struct err){0};
    http_call_start(client, &conf);
    loop_run(d->loop);
    http_client_free(client);
    return d->err.code == RC_OK && d->status > 0;
}

/* --- this machine --- */

static void check_running(struct doctor *d)
{
    char *url = xasprintf("http://%s/healthz", d->n.admin_addr);

    d->runs = ask(d, url) && d->status == 200;
    if (d->runs)
        fine("a node runs already (-cliAddr %s answers): its ports count as free", d->n.admin_addr);
    free(url);
}

static void on_stream(struct stream *s, void *arg)
{
    (void)arg;
    stream_close(s);
}

static void check_port(struct doctor *d, const char *flag, const char *addr)
{
    const struct listen_conf conf = {.addr = addr, .on_stream = on_stream};
    struct err err;
    struct listener *l;
    char mend[160];

    if (d->runs)
        return;
    l = listener_open(d->loop, &conf, &err);
    if (l) {
        listener_close(l);
        fine("-%s %s is free", flag, addr);
        return;
    }
    snprintf(mend, sizeof(mend),
             "stop the program that has it (ss -ltnp tells which), or give another -%s", flag);
    fault(d, mend, "-%s %s cannot be opened: %s", flag, addr, err.text);
}

static void check_listen(struct doctor *d, const char *flag, enum option_id id, uint16_t port)
{
    char *addr = address_read(ADDRESS_LISTEN, flag, text_of(d, id), port, NULL);

    if (addr)
        check_port(d, flag, addr);
    free(addr);
}

/* Where an orchestrator listens is -httpAddr, or all interfaces at the port of -serviceAddr. */
static void check_service_port(struct doctor *d)
{
    const char *http = text_of(d, OPT_httpAddr), *bare;
    char *door = address_read(http[0] ? ADDRESS_DOOR : ADDRESS_SERVICE,
                              http[0] ? "httpAddr" : "serviceAddr",
                              http[0] ? http : text_of(d, OPT_serviceAddr), SERVICE_PORT, NULL);

    if (!door)
        return;
    bare = strstr(door, "://") ? strstr(door, "://") + 3 : door;
    check_port(d, http[0] ? "httpAddr" : "serviceAddr", http[0] ? bare : strrchr(bare, ':'));
    free(door);
}

static void check_ports(struct doctor *d)
{
    check_port(d, "cliAddr", d->n.admin_addr);
    if (is_role(d, ROLE_G)) {
        check_listen(d, "rtmpAddr", OPT_rtmpAddr, RTMP_PORT);
        check_listen(d, "httpAddr", OPT_httpAddr, HTTP_PORT);
    }
    if (is_role(d, ROLE_O))
        check_service_port(d);
}

/* The node makes the folder: what counts is the nearest one that is there. */
static void check_data_dir(struct doctor *d)
{
    char *path = xstrdup(d->n.data_dir), *slash;
    struct stat st;

    while (stat(path, &st) != 0 && (slash = strrchr(path, '/')) && slash != path)
        *slash = '\0';
    if (stat(path, &st) != 0)
        fault(d, "give -dataDir a path that exists", "-dataDir %s: %s", d->n.data_dir,
              strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        fault(d, "move that file away, or give another -dataDir", "-dataDir %s: %s is no folder",
              d->n.data_dir, path);
    else if (access(path, R_OK | W_OK | X_OK) != 0)
        fault(d, "make it the property of who runs the node (chown), or give another -dataDir",
              "-dataDir %s: %s cannot be written to: %s", d->n.data_dir, path, strerror(errno));
    else
        fine("-dataDir %s can be written to", d->n.data_dir);
    free(path);
}

static void check_secret(struct doctor *d)
{
    const char *given = text_of(d, OPT_orchSecret);
    bool is_path = given[0] == '/' || strncmp(given, "./", 2) == 0;

    if (!given[0])
        return; /* whoever needs one was told with the flags */
    if (is_path && access(given, R_OK) != 0)
        fault(d, "mend the path or its rights; as it is, the path itself would be the secret",
              "-orchSecret %s cannot be read: %s", given, strerror(errno));
    else
        fine("-orchSecret is there");
}

static void on_transcoded(const struct codec_result *r, void *arg)
{
    struct doctor *d = arg;

    d->codec_rc = r->rc;
    d->err = r->err;
    loop_stop(d->loop);
}

/* A child of leat-codec that says that this is no video has started, in its sandbox, and works. */
static void check_codec(struct doctor *d)
{
    static const char mend[] = "install leat-codec beside leat (`meson install` does), with the "
                               "libav libraries that it was built with (ldd leat-codec)";
    const struct codec_conf conf = {.max_sessions = 1};
    const struct profile profile = {
        .name = "test", .width = 256, .height = 144, .bitrate = 400000, .fps = 30};
    struct blob *rubbish = blob_copy(SLICE_LIT("no video"));
    const struct codec_job job = {.segment = rubbish,
                                  .profiles = &profile,
                                  .n_profiles = 1,
                                  .duration_ms = 1000,
                                  .deadline_ms = CODEC_MS};
    struct codec *codec = codec_new(d->loop, &conf, &d->err);
    struct codec_session *s;

    if (!codec) {
        fault(d, mend, "the codec does not start: %s", d->err.text);
    } else {
        s = codec_session_open(codec, "doctor");
        codec_transcode(s, &job, on_transcoded, d);
        loop_run(d->loop);
        if (d->codec_rc == RC_BAD_INPUT || d->codec_rc == RC_UNSUPPORTED)
            fine("the codec works");
        else
            fault(d, mend, "the codec does not work: %s", d->err.text);
        codec_session_close(s);
        codec_free(codec);
    }
    blob_unref(&rubbish);
}

/* --- others --- */

/* Against a peer's Date header. Tokens and playlists carry times. */
static void check_clock(struct doctor *d, const char *peer)
{
    struct tm tm = {0};
    long long off;

    if (!strptime(d->date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return; /* it tells no time */
    off = (long long)(clock_wall_ms() / 1000 - timegm(&tm));
    if (llabs(off) <= MAX_CLOCK_OFF_S)
        fine("the clock agrees with %s", peer);
    else
        fault(d, "set the clock by the network: timedatectl set-ntp true",
              "the clock is %lld s %s that of %s", llabs(off), off > 0 ? "before" : "behind", peer);
}

static void check_orchestrator(struct doctor *d, const char *uri)
{
    char *url = xasprintf("%s/healthz", uri);

    if (!ask(d, url)) {
        fault(d, "start it, or mend -orchAddr; a firewall must let this machine through",
              "orchestrator %s does not answer: %s", uri, d->err.text);
    } else {
        fine("orchestrator %s answers", uri);
        check_clock(d, uri);
    }
    free(url);
}

static void check_orchestrators(struct doctor *d)
{
    char **uris = address_list_read(ADDRESS_ORCHESTRATOR, "orchAddr", text_of(d, OPT_orchAddr),
                                    SERVICE_PORT, NULL);

    for (size_t i = 0; uris && uris[i] && (i == 0 || is_role(d, ROLE_G)); i++)
        check_orchestrator(d, uris[i]);
    if (is_role(d, ROLE_G) && uris && !uris[0] && !text_of(d, OPT_orchWebhookUrl)[0])
        fault(d, "give -orchAddr HOST:PORT, or -orchWebhookUrl",
              "no orchestrator is known, so streams play in the publisher's quality only");
    texts_free(uris);
}

static void on_list(int status, struct blob *body, const struct err *err, void *arg)
{
    on_answer(status, NULL, body, err, arg);
}

static void check_webhook(struct doctor *d)
{
    static const char mend[] =
        "mend -orchWebhookUrl, or the service behind it: it answers GET with "
        "[{\"address\":\"https://HOST:PORT\"}, ...]";
    const char *url = text_of(d, OPT_orchWebhookUrl);
    const struct web_conf conf = {
        .url = url, .timeout_ms = ANSWER_MS, .max_body = MAX_ANSWER, .on_done = on_list, .arg = d};
    struct web *web;
    json_t *list;

    if (!url[0])
        return;
    web = web_new(d->loop);
    blob_unref(&d->answer);
    d->err = (struct err){0};
    web_start(web, &conf);
    loop_run(d->loop);
    list = d->answer && d->status == 200 ? json_parse(blob_slice(d->answer), &d->err) : NULL;
    if (json_is_array(list))
        fine("-orchWebhookUrl answers with %zu orchestrators", json_array_size(list));
    else
        fault(d, mend, "-orchWebhookUrl %s: status %d %s", url, d->status, d->err.text);
    json_decref(list);
    web_free(web);
}

/* An orchestrator that announces loopback is found by this machine only. */
static void check_announced(struct doctor *d)
{
    char *uri = address_read(ADDRESS_SERVICE, "serviceAddr", text_of(d, OPT_serviceAddr),
                             SERVICE_PORT, NULL);

    if (uri && (strstr(uri, "://127.") || strstr(uri, "://localhost")))
        fine("-serviceAddr: gateways are told %s, which they reach on this machine only", uri);
    free(uri);
}

/* --- the round --- */

static void examine(struct doctor *d)
{
    fine("the flags of a %s", d->n.role->name);
    check_running(d);
    check_ports(d);
    check_data_dir(d);
    check_secret(d);
    if (is_role(d, ROLE_T) || opt_flag(&d->n.options, OPT_transcoder))
        check_codec(d);
    if (is_role(d, ROLE_O))
        check_announced(d);
    else
        check_orchestrators(d);
    if (is_role(d, ROLE_G))
        check_webhook(d);
}

static void doctor_cleanup(struct doctor *d)
{
    if (d->n.running)
        d->n.role->stop(&d->n);
    blob_unref(&d->answer);
    free(d->n.data_dir);
    free(d->n.admin_addr);
    options_cleanup(&d->n.options);
    if (d->loop)
        loop_free(d->loop);
}

static int run_doctor(int argc, char **argv)
{
    struct doctor d = {.n.role = argc > 0 ? role_find(argv[0]) : NULL};
    struct err err = {0};

    if (!d.n.role || d.n.role == &role_up) {
        fputs(doctor_command.usage, stderr);
        return EXIT_START_FAILED;
    }
    log_init("doctor", LOG_BUG);
    options_init(&d.n.options);
    d.loop = d.n.loop = loop_new();
    if (options_read(&d.n.options, argc - 1, argv + 1, environ, &err) == RC_OK &&
        options_check_role(&d.n.options, d.n.role->option_role, &err) == RC_OK &&
        node_read_flags(&d.n, &err) == RC_OK)
        examine(&d);
    else
        fault(&d, "`leat help` with the role's name explains each flag", "%s", err.text);
    doctor_cleanup(&d);
    return d.faults ? 1 : 0;
}

const struct command doctor_command = {
    .name = "doctor",
    .summary = "look whether a node with these flags would work, and say what to mend",
    .usage =
        "leat doctor ROLE [FLAGS]\n\n"
        "ROLE is gateway, orchestrator or transcoder, FLAGS are those that the node gets. LP_*\n"
        "variables and -config count too. Looks at ports, the data directory, the secret, the\n"
        "codec, orchestrators, the webhook and the clock; changes nothing. Status 0 when all is\n"
        "well, 1 when something is to be mended.\n",
    .flags = "gateway orchestrator transcoder",
    .run = run_doctor,
};
