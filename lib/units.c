#include <stddef.h>
#include <string.h>

#include "units.h"

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit durations[] = {
	{ "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 },
};

static const struct unit sizes[] = {
	{ "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DURATION_MAX (10ULL * 365 * 24 * 3600 * 1000)

/* Leading digits of *s, which is moved past them. */
static int
parse_digits(const char **s, uint64_t max, uint64_t *out)
{
	const char *p = *s;
	uint64_t value = 0, digit;

	if (*p < '0' || *p > '9')
		return -1;
	for (; *p >= '0' && *p <= '9'; p++) {
		digit = (uint64_t)(*p - '0');
		if (value > (max - digit) / 10 || digit > max)
			return -1;
		value = value * 10 + digit;
	}
	*s = p;
	*out = value;
	return 0;
}

static int
parse_with_unit(const char *s, const struct unit *units, size_t count,
    uint64_t max, uint64_t *out)
{
	uint64_t value;
	size_t i;

	if (parse_digits(&s, max, &value) == -1)
		return -1;
	for (i = 0; i < count; i++) {
		if (strcmp(s, units[i].name) != 0)
			continue;
		if (value > max / units[i].factor)
			return -1;
		*out = value * units[i].factor;
		return 0;
	}
	return -1;
}

int
units_parse_number(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t value;

	if (parse_digits(&s, max, &value) == -1 || *s != '\0')
		return -1;
	*out = value;
	return 0;
}

int
units_parse_duration(const char *s, int64_t *ms)
{
	uint64_t value;

	if (strcmp(s, "0") == 0) {
		*ms = 0;
		return 0;
	}
	if (parse_with_unit(s, durations, COUNT(durations), DURATION_MAX,
	    &value) == -1)
		return -1;
	*ms = (int64_t)value;
	return 0;
}

int
units_parse_size(const char *s, uint64_t *bytes)
{
	return parse_with_unit(s, sizes, COUNT(sizes), UINT64_MAX / 2, bytes);
}
