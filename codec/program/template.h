/* codec/program/template.h: the warm process that children are forked from.
 *
 * Single-threaded. Waits on the control socket (descriptor 3) and for its children's
 * deaths. After a child died of anything but a normal end the template executes itself
 * anew, so that no later child has a memory layout that somebody may have probed; living
 * children stay its children and work on.
 * Source: codec/message.h, design.md 2. */
#ifndef LEAT_CODEC_PROGRAM_TEMPLATE_H
#define LEAT_CODEC_PROGRAM_TEMPLATE_H

/* The exit status; returns when the client is gone. */
int template_main(void);

#endif
