/* clock.h - the two clocks, in milliseconds. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

#define CLOCK_TEXT_SIZE 25	/* "2026-01-02T03:04:05.678Z" and a NUL */

/* For deadlines: never jumps (CLOCK_MONOTONIC). */
int64_t clock_mono_ms(void);

/* For records, and to compare with a file's mtime: since 1970, UTC. */
int64_t clock_wall_ms(void);

/* ISO 8601 with milliseconds and Z, as ECMAScript's toISOString. */
void clock_format(int64_t wall_ms, char out[static CLOCK_TEXT_SIZE]);

/* The earlier of two times, of which -1 is never. */
static inline int64_t
clock_earlier(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* A poll(2) time-out until a monotonic deadline; -1 for none (deadline < 0). */
int clock_poll_timeout(int64_t deadline);

#endif
