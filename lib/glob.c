#include <stddef.h>

#include "glob.h"

/* A byte of a set, at *p, which moves on; false at the end of the pattern. */
static bool
set_byte(const char **p, unsigned char *c)
{
	if (**p == '\\')
		++*p;
	if (**p == '\0')
		return false;
	*c = (unsigned char)*(*p)++;
	return true;
}

/*
 * The set after a "[": what follows its "]", or NULL where there is none.
 * *is_in says whether c is in it.
 */
static const char *
match_set(const char *p, unsigned char c, bool *is_in)
{
	bool not = *p == '!' || *p == '^', found = false;
	unsigned char low, high;
	const char *first;

	if (not)
		p++;
	for (first = p; *p != ']' || p == first; ) {
		if (!set_byte(&p, &low))
			return NULL;
		high = low;
		if (p[0] == '-' && p[1] != ']' && p[1] != '\0') {
			p++;
			if (!set_byte(&p, &high))
				return NULL;
		}
		if (low <= c && c <= high)
			found = true;
	}
	*is_in = found != not;
	return p + 1;
}

/* One byte against the pattern's next: what follows there, NULL for no. */
static const char *
match_one(const char *glob, unsigned char c)
{
	const char *after;
	bool is_in;

	switch (*glob) {
	case '?':
		return glob + 1;
	case '[':
		if ((after = match_set(glob + 1, c, &is_in)) != NULL)
			return is_in ? after : NULL;
		break;
	case '\\':
		glob++;
		break;
	}
	return *glob != '\0' && (unsigned char)*glob == c ? glob + 1 : NULL;
}

bool
glob_match(const char *glob, const char *name)
{
	const char *star = NULL, *from = NULL, *next;

	while (*name != '\0') {
		if (*glob == '*') {
			star = ++glob;
			from = name;
		} else if ((next = match_one(glob,
		    (unsigned char)*name)) != NULL) {
			glob = next;
			name++;
		} else if (star != NULL) {
			glob = star;
			name = ++from;
		} else {
			return false;
		}
	}
	while (*glob == '*')
		glob++;
	return *glob == '\0';
}
