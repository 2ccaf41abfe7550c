#include <stdlib.h>

#include "ascii.h"
#include "record.h"
#include "rules.h"

#define BUCKETS 256

/* Segments of an absolute path: "/" has one, empty; "/a/b" has two. */
static size_t
count_segments(struct span path)
{
	size_t n = 0, i;

	for (i = 0; i < path.n; i++)
		n += path.p[i] == '/';
	return n;
}

static size_t
bucket_of(struct span method, struct span path)
{
	size_t h = count_segments(path), i;

	for (i = 0; i < method.n; i++)
		h = h * 31 + (unsigned char)method.p[i];
	return h % BUCKETS;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line, cut off its front; empty at the end. */
static struct span
take_word(struct span *line)
{
	struct span word;

	while (line->n > 0 && is_blank(*line->p)) {
		line->p++;
		line->n--;
	}
	word = (struct span){ line->p, 0 };
	while (line->n > 0 && !is_blank(*line->p)) {
		line->p++;
		line->n--;
		word.n++;
	}
	return word;
}

static bool
is_name_char(char c)
{
	return ascii_is_digit(c) || ascii_is_letter(c) || c == '_';
}

/* How much of a wildcard is `:name`; what follows is its literal ending. */
static size_t
wildcard_name_len(struct span s)
{
	size_t n = 1;

	while (n < s.n && is_name_char(s.p[n]))
		n++;
	return n;
}

static const char *
check_wildcard(struct span s)
{
	size_t n = wildcard_name_len(s);

	if (n == 1)
		return "a wildcard needs a name of letters, digits and _";
	if (n < s.n && s.p[n] != '.')
		return "after a wildcard's name comes a slash, or an "
		    "ending that begins with a dot";
	return NULL;
}

/* One segment of a pattern, without its slash. */
static const char *
check_segment(struct span s)
{
	const char *fault;
	size_t i = 0;
	char c;

	if (s.n == 0)
		return "empty segment in a pattern";
	if (s.p[0] == ':') {
		if ((fault = check_wildcard(s)) != NULL)
			return fault;
		i = 1;
	}
	/* A path that has one of these is never canonical, or looks as if
	 * it were more than a literal. */
	for (; i < s.n; i++) {
		c = s.p[i];
		if (c <= ' ' || c > '~' ||
		    strchr(":*?#\\%{}[]\"<>^`", c) != NULL)
			return "only :name is a wildcard, and only "
			    "plain characters are matched";
	}
	if (span_is(s, ".") || span_is(s, ".."))
		return "dot segment in a pattern";
	return NULL;
}

/* The segment after the slash at the front of rest, which moves past it. */
static struct span
take_segment(struct span *rest)
{
	struct span segment;
	const char *slash;

	rest->p++;
	rest->n--;
	slash = rest->n > 0 ? memchr(rest->p, '/', rest->n) : NULL;
	segment = (struct span){ rest->p,
	    slash != NULL ? (size_t)(slash - rest->p) : rest->n };
	rest->p += segment.n;
	rest->n -= segment.n;
	return segment;
}

static const char *
check_pattern(struct span pattern)
{
	const char *fault;

	if (pattern.n == 0 || pattern.p[0] != '/')
		return "a pattern begins with /";
	if (count_segments(pattern) > RULES_SEGMENTS_MAX)
		return "too many segments";
	while (pattern.n > 0)
		if ((fault = check_segment(take_segment(&pattern))) != NULL)
			return fault;
	return NULL;
}

static const char *
check_method(struct span method)
{
	size_t i;

	if (method.n > RECORD_METHOD_MAX || !header_name_is_valid(method))
		return "not a method";
	for (i = 0; i < method.n; i++)
		if (method.p[i] >= 'a' && method.p[i] <= 'z')
			return "methods are in upper case";
	return NULL;
}

static void
add_rule(struct rules *r, struct span method, struct span pattern)
{
	struct rule *rule = &r->rules[r->count++], **at;

	rule->method = method;
	rule->pattern = pattern;
	/* The first rule that matches is the one that is named. */
	at = &r->buckets[bucket_of(method, pattern)];
	while (*at != NULL)
		at = &(*at)->next;
	*at = rule;
}

/* `METHOD pattern...`, or nothing but a comment. */
static const char *
parse_line(struct rules *r, struct span line)
{
	const char *comment = line.n > 0 ? memchr(line.p, '#', line.n) : NULL;
	const char *fault;
	struct span method, pattern;

	if (line.n > 0 && memchr(line.p, '\0', line.n) != NULL)
		return "NUL in the rules";
	if (comment != NULL)
		line.n = (size_t)(comment - line.p);
	method = take_word(&line);
	if (method.n == 0)
		return NULL;
	if ((fault = check_method(method)) != NULL)
		return fault;
	pattern = take_word(&line);
	if (pattern.n == 0)
		return "no pattern";
	for (; pattern.n > 0; pattern = take_word(&line)) {
		if (r->count == RULES_MAX)
			return "too many rules";
		if ((fault = check_pattern(pattern)) != NULL)
			return fault;
		add_rule(r, method, pattern);
	}
	return NULL;
}

static const char *
prepare(struct rules *r, struct span text)
{
	if (text.n > RULES_TEXT_MAX)
		return "rules too long";
	r->text = malloc(text.n + 1);
	r->rules = calloc(RULES_MAX, sizeof(*r->rules));
	r->buckets = calloc(BUCKETS, sizeof(struct rule *));
	if (r->text == NULL || r->rules == NULL || r->buckets == NULL)
		return "out of memory";
	if (text.n > 0)
		memcpy(r->text, text.p, text.n);
	r->text[text.n] = '\0';
	return NULL;
}

int
rules_parse(struct rules *r, struct span text, size_t *line,
    const char **fault)
{
	struct span rest;
	const char *end;
	size_t n;

	memset(r, 0, sizeof(*r));
	*line = 0;
	*fault = prepare(r, text);
	if (*fault != NULL)
		goto fail;
	for (rest = (struct span){ r->text, text.n }; rest.n > 0;) {
		(*line)++;
		end = memchr(rest.p, '\n', rest.n);
		n = end != NULL ? (size_t)(end - rest.p) : rest.n;
		*fault = parse_line(r, (struct span){ rest.p, n });
		if (*fault != NULL)
			goto fail;
		n += end != NULL;
		rest.p += n;
		rest.n -= n;
	}
	return 0;
fail:
	rules_free(r);
	return -1;
}

void
rules_free(struct rules *r)
{
	free(r->text);
	free(r->rules);
	free(r->buckets);
	memset(r, 0, sizeof(*r));
}

/* Whether one segment is what `:name` and its literal ending stand for. */
static bool
wildcard_matches(struct span pattern, struct span segment)
{
	size_t n = wildcard_name_len(pattern);
	struct span ending = { pattern.p + n, pattern.n - n };

	return segment.n > ending.n && span_equal(ending, (struct span){
	    segment.p + segment.n - ending.n, ending.n });
}

/* Both begin with a slash. */
static bool
pattern_matches(struct span pattern, struct span path)
{
	struct span want, have;

	while (pattern.n > 0 && path.n > 0) {
		want = take_segment(&pattern);
		have = take_segment(&path);
		if (want.p[0] == ':' ? !wildcard_matches(want, have) :
		    !span_equal(want, have))
			return false;
	}
	return pattern.n == path.n;
}

const struct rule *
rules_match(const struct rules *r, struct span method, struct span path)
{
	const struct rule *rule;

	if (r->count == 0)
		return NULL;
	rule = r->buckets[bucket_of(method, path)];
	for (; rule != NULL; rule = rule->next)
		if (span_equal(rule->method, method) &&
		    pattern_matches(rule->pattern, path))
			return rule;
	return NULL;
}

void
rules_put(const struct rules *r, struct buf *out)
{
	size_t i;

	for (i = 0; i < r->count; i++) {
		buf_add_span(out, r->rules[i].method);
		buf_add_char(out, ' ');
		buf_add_span(out, r->rules[i].pattern);
		buf_add_char(out, '\n');
	}
}
