/*
 * ascii.h - characters as protocols have them, whatever the locale says.
 */
#ifndef ASCII_H
#define ASCII_H

#include "span.h"

static inline bool
ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
ascii_is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline char
ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* 0 to 15, or -1 for what is no hexadecimal digit. */
static inline int
ascii_hex_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Whether s begins with lower; its own case does not count. */
static inline bool
ascii_starts(struct span s, const char *lower)
{
	size_t i;

	for (i = 0; lower[i] != '\0'; i++)
		if (i == s.n || ascii_lower(s.p[i]) != lower[i])
			return false;
	return true;
}

/* Whether s is lower; its own case does not count. */
static inline bool
ascii_is(struct span s, const char *lower)
{
	return s.n == strlen(lower) && ascii_starts(s, lower);
}

#endif
