/*
 * Rules and a path: printed rules are the same rules, and what matches is
 * the first rule that means it, by a second reading that is a plain scan.
 */
#include <stdint.h>
#include <stdlib.h>

#include "rules.h"

static size_t
segment_end(struct span s, size_t at)
{
	while (at < s.n && s.p[at] != '/')
		at++;
	return at;
}

static bool
means(struct span pattern, struct span path)
{
	size_t i = 0, j = 0, end, stop;

	while (i < pattern.n && j < path.n) {
		if (pattern.p[i] != ':') {
			if (pattern.p[i++] != path.p[j++])
				return false;
			continue;
		}
		end = segment_end(pattern, i);
		stop = segment_end(path, j);
		while (i < end && pattern.p[i] != '.')
			i++;
		if (stop - j <= end - i || memcmp(path.p + stop - (end - i),
		    pattern.p + i, end - i) != 0)
			return false;
		i = end;
		j = stop;
	}
	return i == pattern.n && j == path.n;
}

static void
check_match(const struct rules *r, struct span method, struct span path)
{
	const struct rule *want = NULL;
	size_t i;

	for (i = 0; i < r->count && want == NULL; i++)
		if (span_equal(r->rules[i].method, method) &&
		    means(r->rules[i].pattern, path))
			want = &r->rules[i];
	if (rules_match(r, method, path) != want)
		abort();
}

static void
check_printed(const struct rules *r)
{
	struct buf first = { 0 }, second = { 0 };
	const char *fault;
	struct rules again;
	size_t line;

	rules_put(r, &first);
	if (rules_parse(&again, buf_span(&first), &line, &fault) == -1)
		abort();
	rules_put(&again, &second);
	if (again.count != r->count ||
	    !span_equal(buf_span(&first), buf_span(&second)))
		abort();
	rules_free(&again);
	buf_free(&first);
	buf_free(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data, *fault, *cut;
	struct rules r;
	struct span path;
	size_t line;

	cut = len > 0 ? memchr(text, '\1', len) : NULL;
	if (cut == NULL)
		return 0;
	path = (struct span){ cut + 1, len - (size_t)(cut - text) - 1 };
	if (rules_parse(&r, (struct span){ text, (size_t)(cut - text) },
	    &line, &fault) == -1) {
		if (line == 0 || r.count > 0)
			abort();
		return 0;
	}
	check_printed(&r);
	if (path.n > 0 && path.p[0] == '/') {
		check_match(&r, span_of("GET"), path);
		if (r.count > 0)
			check_match(&r, r.rules[r.count - 1].method, path);
	}
	rules_free(&r);
	return 0;
}
