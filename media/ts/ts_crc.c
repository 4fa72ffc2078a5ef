#include "media/ts/ts_int.h"

/* Half a byte at a time: sections are rare and small, a table of 16 is enough. */
uint32_t ts_crc(struct slice section)
{
    static const uint32_t table[16] = {
        0x00000000, 0x04c11db7, 0x09823b6e, 0x0d4326d9, 0x130476dc, 0x17c56b6b,
        0x1a864db2, 0x1e475005, 0x2608edb8, 0x22c9f00f, 0x2f8ad6d6, 0x2b4bcb61,
        0x350c9b64, 0x31cd86d3, 0x3c8ea00a, 0x384fbdbd,
    };
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < section.n; i++) {
        crc = crc << 4 ^ table[crc >> 28 ^ section.p[i] >> 4];
        crc = crc << 4 ^ table[crc >> 28 ^ (section.p[i] & 15)];
    }
    return crc;
}
