#include "node/commands.h"

#include <stdio.h>
#include <string.h>

#include "node/version.h"

enum { MAX_HELP = 256 * 1024 };

const struct role *const roles[] = {&role_up, &role_gateway, &role_orchestrator, &role_transcoder};
const size_t n_roles = ARRAY_LEN(roles);

const struct command *const commands[] = {&publish_command, &status_command, &doctor_command,
                                          &completion_command, &manual_command};
const size_t n_commands = ARRAY_LEN(commands);

const struct role *role_find(const char *name)
{
    for (size_t i = 0; i < n_roles; i++)
        if (strcmp(name, roles[i]->name) == 0)
            return roles[i];
    return NULL;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < n_commands; i++)
        if (strcmp(name, commands[i]->name) == 0)
            return commands[i];
    return NULL;
}

static void print_lists(FILE *to)
{
    for (size_t i = 0; i < n_roles; i++)
        fprintf(to, "  %-14s %s\n", roles[i]->name, roles[i]->summary);
    for (size_t i = 0; i < n_commands; i++)
        fprintf(to, "  %-14s %s\n", commands[i]->name, commands[i]->summary);
}

void help_print(void)
{
    printf("leat %s: a Livepeer node. A leat is the channel that carries a stream to the mills.\n\n"
           "  leat up -testStream          a whole network on this machine, to try\n"
           "  leat gateway -orchAddr HOST  take streams in at rtmp://127.0.0.1:1935/live/NAME\n\n"
           "commands:\n",
           LEAT_VERSION);
    print_lists(stdout);
    printf("\n`leat help COMMAND` explains its flags. Every flag of a node is also read from the\n"
           "environment (LP_NAME) and from -config FILE. Called with flags only\n"
           "(leat -gateway ...), leat behaves as the reference node does.\n");
}

void help_print_role(const struct role *role)
{
    struct buf text;

    buf_init(&text, MAX_HELP);
    options_help(&text, role->option_role);
    printf("leat %s: %s\n\n%s", role->name, role->summary, buf_cstr(&text));
    buf_cleanup(&text);
}

int help_topic(const char *topic)
{
    const struct role *role = role_find(topic);
    const struct command *command = command_find(topic);

    if (role)
        help_print_role(role);
    else if (command)
        fputs(command->usage, stdout);
    if (role || command)
        return 0;
    fprintf(stderr, "leat: there is no help about \"%s\"; there is about\n", topic);
    print_lists(stderr);
    return EXIT_START_FAILED;
}
