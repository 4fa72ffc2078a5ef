/* codec/program/main.c: leat-codec, the program that runs codecs. */
#include <stdio.h>
#include <string.h>

#include <libavutil/log.h>

#include "codec/program/picture.h"
#include "codec/program/template.h"

static const char help[] =
    "leat-codec decodes and encodes video for leat. It is the only part of leat that loads\n"
    "FFmpeg's libraries, and it trusts nothing that it reads.\n"
    "\n"
    "  leat-codec picture [options]   writes a live test stream (FLV, H.264 and AAC) to its\n"
    "                                 standard output, in real time: a moving picture with\n"
    "                                 frame number, clock and tone. To watch it:\n"
    "                                     leat-codec picture | ffplay -\n"
    "                                 To publish it:\n"
    "                                     leat-codec picture | ffmpeg -i - -c copy -f flv \\\n"
    "                                         rtmp://127.0.0.1:1935/live/test\n" PICTURE_HELP "\n"
    "  leat-codec template            what `leat transcoder` starts: a warm process that\n"
    "                                 forks one sandboxed child for each stream. It talks on\n"
    "                                 descriptor 3 and is of no use by hand.\n"
    "\n"
    "  leat-codec --help, --version\n";

static int usage(const char *word)
{
    fprintf(stderr, "leat-codec: %s%s%s: expected picture, template, --help or --version\n",
            word ? "unknown command \"" : "no command", word ? word : "", word ? "\"" : "");
    return 2;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;

    av_log_set_level(AV_LOG_QUIET); /* strangers' bytes have nothing to say in our log */
    if (!word)
        return usage(NULL);
    if (!strcmp(word, "template"))
        return template_main();
    if (!strcmp(word, "picture"))
        return picture_main(argc - 1, argv + 1);
    if (!strcmp(word, "--help") || !strcmp(word, "-help") || !strcmp(word, "-h")) {
        fputs(help, stdout);
        return 0;
    }
    if (!strcmp(word, "--version") || !strcmp(word, "-version")) {
        puts("leat-codec " LEAT_VERSION);
        return 0;
    }
    return usage(word);
}
