#include <nettle/sha2.h>

#include "io.h"

/* nettle defines a short name that is ours. */
#undef sha256_init

#include "sha256.h"

#define CHUNK	65536

_Static_assert(sizeof(struct sha256_ctx) <= sizeof(struct sha256),
    "no room for nettle's state");

static struct sha256_ctx *
context(struct sha256 *s)
{
	return (void *)s;
}

void
sha256_init(struct sha256 *s)
{
	nettle_sha256_init(context(s));
}

void
sha256_add(struct sha256 *s, const void *data, size_t len)
{
	if (len > 0)
		nettle_sha256_update(context(s), len, data);
}

void
sha256_add_zeros(struct sha256 *s, uint64_t n)
{
	static const uint8_t zeros[4096];
	size_t len;

	for (; n > 0; n -= len) {
		len = n < sizeof(zeros) ? (size_t)n : sizeof(zeros);
		nettle_sha256_update(context(s), len, zeros);
	}
}

void
sha256_end(struct sha256 *s, uint8_t out[static SHA256_SIZE])
{
	nettle_sha256_digest(context(s), SHA256_SIZE, out);
}

void
sha256_hex(const uint8_t sum[static SHA256_SIZE],
    char out[static SHA256_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < SHA256_SIZE; i++) {
		out[2 * i] = digits[sum[i] >> 4];
		out[2 * i + 1] = digits[sum[i] & 15];
	}
	out[2 * SHA256_SIZE] = '\0';
}

/* A digit's value and one; 0 is none.  Sums are random: no branches on them. */
static const unsigned char digit[256] = {
	['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6,
	['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
	['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

int
sha256_from_hex(struct span text, uint8_t out[static SHA256_SIZE])
{
	uint8_t sum[SHA256_SIZE];
	unsigned high, low;
	bool good = true;
	size_t i;

	if (text.n != 2 * SHA256_SIZE)
		return -1;
	for (i = 0; i < SHA256_SIZE; i++) {
		high = digit[(unsigned char)text.p[2 * i]];
		low = digit[(unsigned char)text.p[2 * i + 1]];
		good &= (high != 0) & (low != 0);
		sum[i] = (uint8_t)((high - 1) << 4 | ((low - 1) & 15));
	}
	if (!good)
		return -1;
	memcpy(out, sum, sizeof(sum));
	return 0;
}

int
sha256_fd(int fd, uint8_t out[static SHA256_SIZE])
{
	struct sha256 s;
	char block[CHUNK];
	ssize_t n;

	sha256_init(&s);
	while ((n = io_read_full(fd, block, sizeof(block))) > 0)
		sha256_add(&s, block, (size_t)n);
	if (n == -1)
		return -1;
	sha256_end(&s, out);
	return 0;
}
