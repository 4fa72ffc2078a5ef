/* node/assets.h: the files of the pages, compressed with gzip when leat is built
 * (tools/embed.py); every browser takes them so. */
#ifndef LEAT_NODE_ASSETS_H
#define LEAT_NODE_ASSETS_H

#include "base/base.h"

struct asset {
    const char *name, *type;
    const uint8_t *gzip;
    size_t n;
};

extern const struct asset assets[];
extern const size_t n_assets;

#endif
