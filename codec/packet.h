/* codec/packet.h: one packet of the socket between client and template, with the descriptor
 * that may come along. */
#ifndef LEAT_CODEC_PACKET_H
#define LEAT_CODEC_PACKET_H

#include <sys/types.h>

#include "codec/message.h"

enum { PACKET_MAX = MSG_HEAD_BYTES + MSG_MAX_BODY };

/* As recvmsg(2), whose flags it takes: 0 at the end, -1 with errno. *fd: a descriptor that came
 * along, the caller's to close, or -1. */
ssize_t packet_receive(int from, int flags, uint8_t bytes[PACKET_MAX], int *fd);

#endif
