/* Rules and a path: printed rules are the same rules; a match is exact. */
#include <stdint.h>
#include <stdlib.h>

#include "rules.h"

static size_t
slashes(struct span s)
{
	size_t n = 0, i;

	for (i = 0; i < s.n; i++)
		n += s.p[i] == '/';
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data, *fault, *cut;
	struct rules a, b;
	struct buf first = { 0 }, second = { 0 };
	const struct rule *rule;
	struct span path;
	size_t line;

	cut = len > 0 ? memchr(text, '\1', len) : NULL;
	if (cut == NULL)
		return 0;
	path = (struct span){ cut + 1, len - (size_t)(cut - text) - 1 };
	if (rules_parse(&a, (struct span){ text, (size_t)(cut - text) },
	    &line, &fault) == -1)
		return 0;
	rules_put(&a, &first);
	if (rules_parse(&b, buf_span(&first), &line, &fault) == -1)
		abort();
	rules_put(&b, &second);
	if (!span_equal(buf_span(&first), buf_span(&second)))
		abort();
	if (path.n > 0 && path.p[0] == '/') {
		rule = rules_match(&a, span_of("GET"), path);
		if (rule != NULL && (slashes(rule->pattern) != slashes(path) ||
		    !span_is(rule->method, "GET")))
			abort();
	}
	rules_free(&a);
	rules_free(&b);
	buf_free(&first);
	buf_free(&second);
	return 0;
}
