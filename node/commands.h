/* node/commands.h: what can be asked of the program: its roles, and the commands that are not
 * roles. Help, the manual page and the completion script come from these two lists. */
#ifndef LEAT_NODE_COMMANDS_H
#define LEAT_NODE_COMMANDS_H

#include <stddef.h>

#include "node/role.h"

/* Reads its own arguments and returns the process's exit status. */
struct command {
    const char *name, *summary;
    const char *usage; /* all of its help */
    const char *flags; /* for the completion script, a space between two */
    int (*run)(int argc, char **argv);
};

extern const struct role *const roles[];
extern const size_t n_roles;
extern const struct command *const commands[];
extern const size_t n_commands;

const struct role *role_find(const char *name); /* NULL: no such */
const struct command *command_find(const char *name);

void help_print(void);
void help_print_role(const struct role *role);
/* `leat help TOPIC`; the exit status: 2 for a topic that does not exist. */
int help_topic(const char *topic);

extern const struct command publish_command, status_command, doctor_command, completion_command,
    manual_command;

#endif
