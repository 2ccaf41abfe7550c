#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"

static int64_t
now_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
clock_mono_ms(void)
{
	return now_ms(CLOCK_MONOTONIC);
}

int64_t
clock_wall_ms(void)
{
	return now_ms(CLOCK_REALTIME);
}

void
clock_format(int64_t wall_ms, char out[static CLOCK_TEXT_SIZE])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	memset(&tm, 0, sizeof(tm));
	gmtime_r(&seconds, &tm);
	if (strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S.", &tm) != 20) {
		memcpy(out, "1970-01-01T00:00:00.000Z", CLOCK_TEXT_SIZE);
		return;
	}
	snprintf(out + 20, CLOCK_TEXT_SIZE - 20, "%03uZ",
	    (unsigned int)(wall_ms % 1000) % 1000);
}

int
clock_poll_timeout(int64_t deadline)
{
	int64_t left;

	if (deadline < 0)
		return -1;
	left = deadline - clock_mono_ms();
	if (left <= 0)
		return 0;
	return left < INT_MAX ? (int)left : INT_MAX;
}
