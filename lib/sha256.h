/* sha256.h - SHA-256 (FIPS 180-4), by nettle, with the CPU's instructions. */
#ifndef SHA256_H
#define SHA256_H

#include <stdint.h>

#include "entry.h"

#define SHA256_HEX_SIZE	65	/* digits and a NUL */

/* On the stack, and may be forgotten at any time. */
struct sha256 {
	uint64_t state[16];	/* private */
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t len);

/* So many zero bytes: the holes of a file. */
void sha256_add_zeros(struct sha256 *s, uint64_t n);
void sha256_end(struct sha256 *s, uint8_t out[static SHA256_SIZE]);

/* Lower-case digits. */
void sha256_hex(const uint8_t sum[static SHA256_SIZE],
    char out[static SHA256_HEX_SIZE]);

/* Exactly 64 digits of either case: 0, or -1. */
int sha256_from_hex(struct span text, uint8_t out[static SHA256_SIZE]);

/* Of a descriptor from where it is to its end.  0, or -1 with errno. */
int sha256_fd(int fd, uint8_t out[static SHA256_SIZE]);

#endif
