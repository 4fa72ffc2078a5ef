/* leat: one command, every role.
 *
 * A guided tour: main() finds the subcommand (or, called with flags only, the role that the
 * reference's rule chooses), reads the options, makes the data directory, starts the role and
 * its admin server, and runs the loop until a signal. What a role is stands in role.h. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "node/address.h"
#include "node/admin.h"
#include "node/commands.h"
#include "node/role.h"
#include "node/version.h"

extern char **environ;

enum { DEBUG_VERBOSITY = 5, MEDIA_PIECE_BYTES = 64 * 1024, PASSING_BYTES = 8 << 20 };

/* --- life of a node --- */

void node_stopped(struct node *n)
{
    loop_stop(n->loop);
}

void node_set_verbosity(struct node *n, int64_t v)
{
    n->verbosity = v;
    log_set_level(v >= DEBUG_VERBOSITY ? LOG_DEBUG : LOG_INFO);
}

void node_fatal(struct node *n, const struct err *err)
{
    log_peer(NULL, "cannot go on: %s", err->text);
    n->exit_status = 1;
    loop_stop(n->loop);
}

static void on_signal(int signum, void *arg)
{
    struct node *n = arg;

    if (n->stopping) {
        log_info(NULL, "second signal: stopping at once");
        loop_stop(n->loop);
        return;
    }
    n->stopping = true;
    log_info(NULL, "%s: finishing what runs", signum == SIGINT ? "interrupted" : "asked to stop");
    n->role->drain(n);
}

static enum rc make_dirs(const char *path, struct err *err)
{
    char *copy = xstrdup(path);

    for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST) {
            err_errno(err, RC_IO, errno, "-dataDir: folder %s cannot be made", copy);
            free(copy);
            return RC_IO;
        }
        if (!slash)
            break;
        *slash = '/';
    }
    free(copy);
    if (access(path, R_OK | W_OK | X_OK) != 0)
        return err_errno(err, RC_IO, errno, "-dataDir: folder %s cannot be used", path);
    return RC_OK;
}

static enum rc name_data_dir(struct node *n, struct err *err)
{
    const char *given = opt_text(&n->options, OPT_dataDir), *home = getenv("HOME");

    if (given[0])
        n->data_dir = xstrdup(given);
    else if (home && home[0])
        n->data_dir = xasprintf("%s/.lpData/%s", home, opt_text(&n->options, OPT_network));
    else
        return err_set(err, RC_BAD_INPUT, "HOME is not set: give -dataDir DIR");
    return RC_OK;
}

static enum rc check_network(const struct node *n, struct err *err)
{
    const char *network = opt_text(&n->options, OPT_network);

    if (strcmp(network, "offchain") == 0)
        return RC_OK;
    return err_set(err, RC_UNSUPPORTED,
                   "-network %s: this version works off-chain only; leave the flag out", network);
}

static void name_metrics(const struct node *n)
{
    static struct metric versions = METRIC_GAUGE(
        "livepeer_versions", "what this node is, and what it was built with", "compiler", "goos",
        "goversion", "livepeerversion");
    char host[256] = "";

    (void)gethostname(host, sizeof(host) - 1); /* without a name the label stays empty */
    metric_common_label("node_id", host);
    metric_common_label("node_type", n->role->node_type);
    metric_set(&versions, 1, "cc " __VERSION__, "linux", "none", NETWORK_VERSION);
}

static void print_changed(const struct node *n)
{
    struct buf text;

    buf_init(&text, 64 * 1024);
    options_print_changed(&text, &n->options);
    printf("leat %s %s\n%s", LEAT_VERSION, n->role ? n->role->name : "", buf_cstr(&text));
    fflush(stdout);
    buf_cleanup(&text);
}

/* The last four lines are the reference's, for scripts that read them. */
static void version_print(const struct node *n)
{
    struct utsname u;

    print_changed(n);
    printf("leat %s (network %s)\nLivepeer Node Version: %s\n", LEAT_VERSION, NETWORK_VERSION,
           NETWORK_VERSION);
    printf("Golang runtime version: none, C17 (%s)\n", __VERSION__);
    if (uname(&u) == 0)
        printf("Architecture: %s\nOperating system: %s\n", u.machine, u.sysname);
}

/* As MistServer's controller asks its connectors. */
static void description_print(void)
{
    struct buf text;
    struct json_out j;

    buf_init(&text, 256 * 1024);
    j = json_out_of(&text);
    jo_open(&j, NULL, '{');
    jo_text(&j, "name", "livepeer");
    jo_text(&j, "desc", "Livepeer node: gateway, orchestrator and transcoder.");
    jo_text(&j, "friendly", "Livepeer (leat)");
    jo_text(&j, "version", NETWORK_VERSION);
    options_json(&j);
    jo_close(&j, '}');
    printf("%s\n", buf_cstr(&text));
    buf_cleanup(&text);
}

/* All that the flags say, before any port is opened or any file made. */
enum rc node_read_flags(struct node *n, struct err *err)
{
    enum rc rc = check_network(n, err);

    if (rc == RC_OK)
        rc = name_data_dir(n, err);
    if (rc == RC_OK && n->role->admin_port) {
        n->admin_addr = address_read(ADDRESS_LISTEN, "cliAddr", opt_text(&n->options, OPT_cliAddr),
                                     n->role->admin_port, err);
        rc = n->admin_addr ? RC_OK : err->code;
    }
    if (rc != RC_OK)
        return rc;
    n->running = n->role->read(n, err);
    return n->running ? RC_OK : err->code;
}

static enum rc start(struct node *n, struct err *err)
{
    enum rc rc = node_read_flags(n, err);

    if (rc == RC_OK)
        rc = make_dirs(n->data_dir, err);
    if (rc != RC_OK)
        return rc;
    name_metrics(n);
    rc = n->role->start(n, err);
    if (rc == RC_OK && n->admin_addr)
        rc = admin_open(n, err);
    return rc;
}

/* Media that is kept is mapped piece by piece: that leaves no holes, and what playlists drop goes
 * back to the system. (glibc would raise the threshold by itself.) What only passes through had
 * better use the same pages again. */
static void tune_memory(bool keeps_media)
{
    mallopt(M_MMAP_THRESHOLD, keeps_media ? MEDIA_PIECE_BYTES : PASSING_BYTES);
    if (!keeps_media)
        mallopt(M_TRIM_THRESHOLD, PASSING_BYTES);
}

static int run(struct node *n)
{
    struct err err = {0};

    signal(SIGPIPE, SIG_IGN);
    tune_memory(n->role->keeps_media);
    n->loop = loop_new();
    loop_on_signal(n->loop, SIGTERM, on_signal, n);
    loop_on_signal(n->loop, SIGINT, on_signal, n);
    if (start(n, &err) != RC_OK) {
        fprintf(stderr, "leat %s: %s\n", n->role->name, err.text);
        n->exit_status = EXIT_START_FAILED;
    } else {
        loop_run(n->loop);
    }
    if (n->admin)
        http_server_close(n->admin);
    if (n->running)
        n->role->stop(n);
    loop_free(n->loop);
    free(n->data_dir);
    free(n->admin_addr);
    return n->exit_status;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "-help") == 0 ||
            strcmp(argv[i], "--help") == 0)
            return true;
    return false;
}

/* --- which role --- */

/* The reference's order (operations.md 1), as far as this version has the roles. */
static const struct role *role_of_flags(const struct options *o)
{
    if (opt_flag(o, OPT_orchestrator))
        return &role_orchestrator;
    if (opt_flag(o, OPT_transcoder))
        return &role_transcoder;
    if (opt_flag(o, OPT_gateway) || opt_flag(o, OPT_broadcaster))
        return &role_gateway;
    return NULL;
}

/* The reference takes every flag in every role; so does a command line of its form. */
static enum rc check_foreign(const struct node *n, bool as_reference, struct err *err)
{
    struct buf list;

    if (!as_reference)
        return options_check_role(&n->options, n->role->option_role, err);
    buf_init(&list, 4096);
    options_list_foreign(&n->options, n->role->option_role, &list);
    if (list.n)
        fprintf(stderr, "leat %s: these flags are for other roles and do nothing here: %s\n",
                n->role->name, buf_cstr(&list));
    buf_cleanup(&list);
    return RC_OK;
}

/* -version and -j ask about the program. */
static bool answer_question(const struct node *n)
{
    if (opt_flag(&n->options, OPT_j))
        description_print();
    else if (opt_flag(&n->options, OPT_version))
        version_print(n);
    else
        return false;
    return true;
}

static int run_role(const struct role *role, int argc, char **argv)
{
    struct node n = {.role = role};
    struct err err;
    int status = EXIT_START_FAILED;

    options_init(&n.options);
    if (options_read(&n.options, argc, argv, environ, &err) != RC_OK) {
        fprintf(stderr, "leat: %s\n", err.text);
    } else if (answer_question(&n)) {
        status = 0;
    } else if (!role && !(n.role = role_of_flags(&n.options))) {
        fprintf(stderr, "leat: no role is chosen: give -gateway, -orchestrator or -transcoder, or "
                        "a command; `leat help` lists them\n");
    } else if (check_foreign(&n, !role, &err) != RC_OK) {
        fprintf(stderr, "leat %s: %s\n", n.role->name, err.text);
    } else {
        log_init(n.role->name, LOG_INFO);
        node_set_verbosity(&n, opt_number(&n.options, OPT_v));
        print_changed(&n);
        status = run(&n);
    }
    options_cleanup(&n.options);
    return status;
}

/* What follows the name of a command. */
static int run_named(const char *name, int argc, char **argv)
{
    const struct role *role = role_find(name);
    const struct command *command = command_find(name);

    if ((role || command) && asks_for_help(argc, argv))
        return help_topic(name);
    if (role)
        return run_role(role, argc, argv);
    if (command)
        return command->run(argc, argv);
    if (strcmp(name, "version") == 0) {
        printf("leat %s (network %s)\n", LEAT_VERSION, NETWORK_VERSION);
        return 0;
    }
    help_print();
    fprintf(stderr, "\nleat: there is no command \"%s\"\n", name);
    return EXIT_START_FAILED;
}

int main(int argc, char **argv)
{
    bool is_flag = argc > 1 && argv[1][0] == '-';

    if (argc > 2 && strcmp(argv[1], "help") == 0)
        return help_topic(argv[2]);
    if (argc < 2 || strcmp(argv[1], "help") == 0 || (is_flag && asks_for_help(argc, argv))) {
        help_print();
        return 0;
    }
    if (is_flag)
        return run_role(NULL, argc - 1, argv + 1);
    return run_named(argv[1], argc - 2, argv + 2);
}
