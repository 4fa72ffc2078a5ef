/* leat(1) and the completion script: from the lists of roles, commands and flags. */
#include <stdio.h>

#include "node/commands.h"
#include "node/options.h"
#include "node/version.h"

enum { MAX_TEXT = 256 * 1024 };

/* --- completion --- */

static void write_names(struct buf *out)
{
    for (size_t i = 0; i < n_roles; i++)
        buf_printf(out, "%s ", roles[i]->name);
    for (size_t i = 0; i < n_commands; i++)
        buf_printf(out, "%s ", commands[i]->name);
}

/* One arm for each role and command: only what it takes is offered. */
static void write_arms(struct buf *out)
{
    struct buf flags;

    for (size_t i = 0; i < n_roles; i++) {
        buf_init(&flags, MAX_TEXT);
        options_flags(&flags, roles[i]->option_role);
        buf_printf(out, "    %s) words='%s' ;;\n", roles[i]->name, buf_cstr(&flags));
        buf_cleanup(&flags);
    }
    for (size_t i = 0; i < n_commands; i++)
        buf_printf(out, "    %s) words='%s' ;;\n", commands[i]->name, commands[i]->flags);
    buf_init(&flags, MAX_TEXT);
    options_flags(&flags, ROLE_G | ROLE_O | ROLE_T); /* as the reference is called: leat -gateway */
    buf_printf(out, "    -*) words='%s' ;;\n", buf_cstr(&flags));
    buf_cleanup(&flags);
}

static void write_completion(struct buf *out)
{
    buf_str(out, "_leat() {\n"
                 "    local word=${COMP_WORDS[COMP_CWORD]} words= names='");
    write_names(out);
    buf_str(out, "'\n"
                 "    case ${COMP_WORDS[1]} in\n");
    write_arms(out);
    buf_str(out, "    help) words=$names ;;\n"
                 "    esac\n"
                 "    if [ \"$COMP_CWORD\" = 1 ] && [ \"${word#-}\" = \"$word\" ]; then\n"
                 "        words=\"$names help version\"\n"
                 "    fi\n"
                 "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                 "}\n"
                 "complete -o default -F _leat leat\n");
}

static int run_completion(int argc, char **argv)
{
    struct buf text;

    (void)argc;
    (void)argv;
    buf_init(&text, MAX_TEXT);
    write_completion(&text);
    fputs(buf_cstr(&text), stdout);
    buf_cleanup(&text);
    return 0;
}

const struct command completion_command = {
    .name = "completion",
    .summary = "print a bash completion script",
    .usage = "leat completion\n\n"
             "Prints a completion script for bash. For this shell, and for all that come:\n"
             "  source <(leat completion)\n"
             "  leat completion > /etc/bash_completion.d/leat\n",
    .flags = "",
    .run = run_completion,
};

/* --- the manual page --- */

static const char front[] =
    ".SH NAME\nleat \\- a Livepeer node: gateway, orchestrator and transcoder in one command\n"
    ".SH SYNOPSIS\n.B leat\n.I COMMAND\n[\\fIFLAGS\\fR]\n.br\n.B leat\n"
    "[\\fB\\-gateway\\fR|\\fB\\-orchestrator\\fR|\\fB\\-transcoder\\fR] [\\fIFLAGS\\fR]\n"
    ".SH DESCRIPTION\n"
    "An app sends live video to a gateway. The gateway cuts it into segments, has orchestrators\n"
    "transcode them, and plays all qualities as HLS. Orchestrators hand the work to transcoders.\n"
    "Called with flags only, leat takes the flags, ports and answers of the reference node.\n";

static const char flags_front[] =
    ".SH FLAGS\n"
    "Each is also read from the environment as LP_NAME and from the file that \\-config names.\n"
    "The command line wins over the environment, the environment over the file.\n";

static const char back[] =
    ".SH PAGES\n"
    "A gateway shows what it does at http://127.0.0.1:9935/ and plays a stream at /play/NAME.\n"
    "Every role answers /healthz, /readyz (with reasons), /metrics and /api/status on \\-cliAddr.\n"
    ".SH EXIT STATUS\n0 after an ordered stop; 1 when the node could not go on; 2 when it could "
    "not\n"
    "start. The last line on standard error says why.\n"
    ".SH SIGNALS\nSIGTERM and SIGINT: refuse new work, finish what runs, leave. A second one: at "
    "once.\n";

static void write_commands(struct buf *out)
{
    buf_str(out, ".SH COMMANDS\n");
    for (size_t i = 0; i < n_roles; i++)
        buf_printf(out, ".TP\n.B %s\n%s.\n", roles[i]->name, roles[i]->summary);
    for (size_t i = 0; i < n_commands; i++) {
        buf_printf(out, ".TP\n.B %s\n%s.\n.nf\n", commands[i]->name, commands[i]->summary);
        options_roff(out, commands[i]->usage);
        buf_str(out, ".fi\n");
    }
}

static int run_manual(int argc, char **argv)
{
    struct buf text;

    (void)argc;
    (void)argv;
    buf_init(&text, MAX_TEXT);
    buf_printf(&text, ".TH LEAT 1 \"\" \"leat %s\" \"leat\"\n%s", LEAT_VERSION, front);
    write_commands(&text);
    buf_str(&text, flags_front);
    options_manual(&text);
    buf_str(&text, back);
    fputs(buf_cstr(&text), stdout);
    buf_cleanup(&text);
    return 0;
}

const struct command manual_command = {
    .name = "manual",
    .summary = "print the manual page (roff)",
    .usage = "leat manual\n\n"
             "Prints the manual page. To read or to install it:\n"
             "  leat manual | man -l -\n"
             "  leat manual > /usr/local/share/man/man1/leat.1\n",
    .flags = "",
    .run = run_manual,
};
