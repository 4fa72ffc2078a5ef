/* node/version.h: our own version, and the one peers compare with -orchMinLivepeerVersion:
 * the network release whose protocol we speak, with ours as its suffix (video.md 6.5). */
#ifndef LEAT_NODE_VERSION_H
#define LEAT_NODE_VERSION_H

#define LEAT_VERSION "0.1.0"
#define NETWORK_VERSION "0.9.1-leat.0.1.0"

#endif
