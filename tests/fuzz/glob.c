/*
 * Patterns and what they leave out.  A glob matches what fnmatch(3) says, of
 * those that C libraries agree on, and what a plain recursion says, of all;
 * a scope's patterns, given again, are the same, and leave out all below.
 */
#include <fnmatch.h>

#include "entry.h"
#include "fuzz.h"
#include "glob.h"
#include "scope.h"

static const char *
set_end(const char *p)
{
	const char *first = p += *p == '!' || *p == '^';

	for (; *p != ']' || p == first; p++) {
		if (*p == '\\')
			p++;
		if (*p == '\0')
			return NULL;
	}
	return p;
}

/*
 * No class, no set that a backslash, a slash or another '-' is in, none that
 * is never closed, and no backslash at the end.
 */
static bool
is_common(const char *g)
{
	const char *end, *p;

	for (; *g != '\0'; g++) {
		if (*g == '\\') {
			if (*++g == '\0')
				return false;
			continue;
		}
		if (*g != '[')
			continue;
		if ((end = set_end(g + 1)) == NULL)
			return false;
		for (p = g + 1; p < end; p++)
			if (strchr("\\/-[^]", *p) != NULL ||
			    (unsigned char)*p >= 0x80)
				return false;
		g = end;
	}
	return true;
}

static bool
is_in(const char *p, const char *end, unsigned char c)
{
	bool not = *p == '!' || *p == '^', found = false;
	unsigned char low, high;

	for (p += not; p < end; ) {
		p += *p == '\\';
		low = high = (unsigned char)*p++;
		if (p[0] == '-' && p + 1 < end) {
			p++;
			p += *p == '\\';
			high = (unsigned char)*p++;
		}
		found = found || (low <= c && c <= high);
	}
	return found != not;
}

/* budget bounds the exponential. */
static bool
matches(const char *g, const char *s, int *budget)
{
	const char *end;

	if (--*budget < 0)
		return false;
	if (*g == '*')
		return matches(g + 1, s, budget) ||
		    (*s != '\0' && matches(g, s + 1, budget));
	if (*s == '\0')
		return *g == '\0';
	if (*g == '?')
		return matches(g + 1, s + 1, budget);
	if (*g == '[' && (end = set_end(g + 1)) != NULL)
		return is_in(g + 1, end, (unsigned char)*s) &&
		    matches(end + 1, s + 1, budget);
	if (*g == '\\')
		g++;
	return *g != '\0' && *g == *s && matches(g + 1, s + 1, budget);
}

static void
check_glob(const char *glob, const char *name)
{
	int budget = 4000, stars = 0;
	const char *p;
	bool got = glob_match(glob, name), want;

	want = matches(glob, name, &budget);
	check(budget < 0 || got == want);
	for (p = glob; *p != '\0'; p++)
		stars += *p == '*';
	/* It takes length to the power of stars. */
	if (is_common(glob) && stars < 4 && strlen(name) < 64)
		check(got == (fnmatch(glob, name, 0) == 0));
}

static void
check_scope(struct span patterns, struct span path)
{
	struct scope s = { .npatterns = 0 }, again = { .npatterns = 0 };
	size_t i;

	while (patterns.n > 0)
		(void)scope_exclude(&s, fuzz_cut(&patterns, '\n'));
	for (i = 0; i < s.npatterns; i++)
		check(scope_exclude(&again, scope_pattern(&s, i)) == 0);
	check(scope_equal(&s, &again));
	for (i = 0; i < path.n && i < 32; i++)
		if (path.p[i] == '/' && i > 0)
			check(!scope_has_all(&s, path) ||
			    scope_has_all(&s, (struct span){ path.p, i }));
	check(scope_has_all(&s, path) == scope_has_all(&again, path));
	scope_free(&s);
	scope_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span rest = { (const char *)data, len }, glob, name;
	char *g, *n;

	glob = fuzz_cut(&rest, '\0');
	name = fuzz_cut(&rest, '\0');
	if (glob.n == 0 || name.n == 0 || glob.n > 512 || name.n > 512)
		return 0;
	glob = fuzz_block(glob.p, glob.n);
	name = fuzz_block(name.p, name.n);
	g = strndup(glob.p, glob.n);
	n = strndup(name.p, name.n);
	check(g != NULL && n != NULL);
	check_glob(g, n);
	check_scope(glob, name);
	free(g);
	free(n);
	free((char *)glob.p);
	free((char *)name.p);
	return 0;
}
