/* leat(1) and the completion script: from the same table as the flags. */
#include <stdio.h>

#include "node/commands.h"
#include "node/options.h"
#include "node/version.h"

enum { MAX_TEXT = 256 * 1024 };

int command_completion(int argc, char **argv)
{
    struct buf text;

    (void)argc;
    (void)argv;
    buf_init(&text, MAX_TEXT);
    options_completion(&text);
    fputs(buf_cstr(&text), stdout);
    buf_cleanup(&text);
    return 0;
}

static const char front[] =
    ".SH NAME\nleat \\- a Livepeer node: gateway, orchestrator and transcoder in one command\n"
    ".SH SYNOPSIS\n.B leat\n.I COMMAND\n[\\fIFLAGS\\fR]\n.br\n.B leat\n"
    "[\\fB\\-gateway\\fR|\\fB\\-orchestrator\\fR|\\fB\\-transcoder\\fR] [\\fIFLAGS\\fR]\n"
    ".SH DESCRIPTION\n"
    "An app sends live video to a gateway. The gateway cuts it into segments, has orchestrators\n"
    "transcode them, and plays all qualities as HLS. Orchestrators hand the work to transcoders.\n"
    "Called with flags only, leat takes the flags, ports and answers of the reference node.\n"
    ".SH COMMANDS\n"
    ".TP\n.B up\nA whole network on this machine: three orchestrators with a worker each, a "
    "gateway.\n"
    ".TP\n.B gateway\nTake streams in (RTMP, HTTP push), have them transcoded, play them.\n"
    ".TP\n.B orchestrator\nTake work from gateways and hand it to workers.\n"
    ".TP\n.B transcoder\nTranscode for an orchestrator.\n"
    ".TP\n.B publish\nSend a file or a test picture to an RTMP address.\n"
    ".TP\n.B status\nShow what a running node does.\n"
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

int command_manual(int argc, char **argv)
{
    struct buf text;

    (void)argc;
    (void)argv;
    buf_init(&text, MAX_TEXT);
    buf_printf(&text, ".TH LEAT 1 \"\" \"leat %s\" \"leat\"\n%s", LEAT_VERSION, front);
    options_manual(&text);
    buf_str(&text, back);
    fputs(buf_cstr(&text), stdout);
    buf_cleanup(&text);
    return 0;
}
