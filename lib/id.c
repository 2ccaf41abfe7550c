#include <sys/random.h>

#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "ascii.h"
#include "id.h"

/* The last digits of a gateway's ids, and of no other. */
#define GATEWAY_MARK "9a7e"
#define MARK_LEN 4

bool
id_is_valid(struct span id)
{
	size_t i;
	char c;

	if (id.n == 0 || id.n > ID_MAX)
		return false;
	for (i = 0; i < id.n; i++) {
		c = id.p[i];
		if (!ascii_is_digit(c) && !ascii_is_letter(c) && c != '_' &&
		    c != '-')
			return false;
	}
	return true;
}

void
id_copy(struct span id, char out[static ID_MAX + 1])
{
	memcpy(out, id.p, id.n);
	out[id.n] = '\0';
}

bool
id_is_from_gateway(struct span id)
{
	return id.n == ID_NEW_SIZE - 1 && id.p[14] == '7' &&
	    memcmp(id.p + id.n - MARK_LEN, GATEWAY_MARK, MARK_LEN) == 0;
}

/* Random bytes, fetched many at a time. */
static int
random_take(unsigned char *out, size_t len)
{
	static unsigned char pool[256];
	static size_t left;
	ssize_t n;

	if (left < len) {
		do
			n = getrandom(pool, sizeof(pool), 0);
		while (n == -1 && errno == EINTR);
		if (n != (ssize_t)sizeof(pool))
			return -1;
		left = sizeof(pool);
	}
	left -= len;
	memcpy(out, pool + left, len);
	memset(pool + left, 0, len);
	return 0;
}

/*
 * 48 bits of milliseconds and 12 of their fraction, each time greater than
 * the last, also when the clock is set back.
 */
static uint64_t
next_stamp(void)
{
	static uint64_t last;
	struct timespec ts;
	uint64_t ms, stamp;

	clock_gettime(CLOCK_REALTIME, &ts);
	ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	stamp = ms << 12 | (uint64_t)(ts.tv_nsec % 1000000) * 4096 / 1000000;
	if (stamp <= last)
		stamp = last + 1;
	last = stamp;
	return stamp;
}

int
id_make(enum id_kind kind, char out[static ID_NEW_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char u[16];
	uint64_t stamp = next_stamp();
	size_t i, at = 0;

	if (random_take(u + 8, 8) == -1)
		return -1;
	for (i = 0; i < 6; i++)
		u[i] = (unsigned char)(stamp >> (52 - 8 * i));
	u[6] = (unsigned char)(0x70 | (stamp >> 8 & 0x0f));
	u[7] = (unsigned char)stamp;
	u[8] = (unsigned char)(0x80 | (u[8] & 0x3f));
	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[at++] = '-';
		out[at++] = hex[u[i] >> 4];
		out[at++] = hex[u[i] & 15];
	}
	out[at] = '\0';
	if (kind == ID_GATEWAY)
		memcpy(out + at - MARK_LEN, GATEWAY_MARK, MARK_LEN);
	else if (id_is_from_gateway((struct span){ out, at }))
		out[at - 1] = '0';
	return 0;
}
