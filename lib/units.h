/*
 * units.h - numbers, durations and sizes as people write them.
 *
 * Each takes the whole string or none of it: 0, or -1 with *out untouched.
 */
#ifndef UNITS_H
#define UNITS_H

#include <stdint.h>

/* Decimal digits only, at most max. */
int units_parse_number(const char *s, uint64_t max, uint64_t *out);

/* "250ms", "10s", "5m", "1h"; a bare "0" is 0.  At most 10 years. */
int units_parse_duration(const char *s, int64_t *ms);

/* "512", "64K", "10M", "2G": powers of 1024. */
int units_parse_size(const char *s, uint64_t *bytes);

#endif
