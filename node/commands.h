/* node/commands.h: the commands that are not roles: each reads its own arguments and
 * returns the process's exit status. */
#ifndef LEAT_NODE_COMMANDS_H
#define LEAT_NODE_COMMANDS_H

int command_publish(int argc, char **argv);
int command_status(int argc, char **argv);
int command_completion(int argc, char **argv);
int command_manual(int argc, char **argv);

#endif
