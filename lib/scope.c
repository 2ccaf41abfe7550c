#include <errno.h>
#include <stdlib.h>

#include "beneath.h"
#include "entry.h"
#include "glob.h"
#include "scope.h"

struct pattern {
	struct span text;	/* as given; the bytes are ours */
	char *segments;		/* each ended by NUL */
	size_t n;
	bool floating;		/* at any depth */
	bool inside;		/* strictly below */
	bool literal;		/* no segment has *, ?, [ or a backslash */
};

/* The next '/'-separated part of *rest; false when none is left. */
static bool
next_part(struct span *rest, struct span *part)
{
	const char *slash;

	if (rest->p == NULL)
		return false;
	slash = rest->n == 0 ? NULL : memchr(rest->p, '/', rest->n);
	part->p = rest->p;
	part->n = slash == NULL ? rest->n : (size_t)(slash - rest->p);
	rest->p = slash == NULL ? NULL : slash + 1;
	rest->n = slash == NULL ? 0 : rest->n - part->n - 1;
	return true;
}

static bool
ends_with(struct span s, const char *with)
{
	size_t n = strlen(with);

	return s.n >= n && memcmp(s.p + s.n - n, with, n) == 0;
}

/* Copies the segments of text; how many, 0 when it can match nothing. */
static size_t
split(struct pattern *p, struct span text)
{
	struct span part;
	size_t at = 0, n = 0;

	while (next_part(&text, &part)) {
		if (part.n == 0 || part.n > ENTRY_NAME_MAX * 4 ||
		    span_is(part, ".") || span_is(part, ".."))
			return 0;
		memcpy(p->segments + at, part.p, part.n);
		at += part.n;
		p->segments[at++] = '\0';
		n++;
	}
	return n;
}

int
scope_exclude(struct scope *s, struct span text)
{
	struct pattern p = { .literal = true }, *more;
	struct span rest = text;
	char *copy;
	size_t i;

	if (text.n == 0 || text.n > BENEATH_PATH_MAX ||
	    memchr(text.p, '\0', text.n) != NULL) {
		errno = EINVAL;
		return -1;
	}
	if (s->npatterns == SCOPE_PATTERNS_MAX) {
		errno = E2BIG;
		return -1;
	}
	if (span_starts(rest, "*/")) {
		p.floating = true;
		rest.p += 2;
		rest.n -= 2;
	}
	if (rest.n > 1 && rest.p[rest.n - 1] == '/')
		rest.n--;
	if (ends_with(rest, "/*")) {
		p.inside = !p.floating;
		rest.n -= 2;
	}
	for (i = 0; i < rest.n; i++)
		if (strchr("*?[\\", rest.p[i]) != NULL)
			p.literal = false;
	more = realloc(s->patterns, (s->npatterns + 1) * sizeof(*more));
	if (more == NULL)
		return -1;
	s->patterns = more;
	if ((copy = malloc(text.n)) == NULL)
		return -1;
	memcpy(copy, text.p, text.n);
	p.text = (struct span){ copy, text.n };
	if ((p.segments = malloc(rest.n + 1)) == NULL) {
		free(copy);
		return -1;
	}
	if ((p.n = split(&p, rest)) == 0) {
		free(copy);
		free(p.segments);
		errno = EINVAL;
		return -1;
	}
	s->patterns[s->npatterns++] = p;
	return 0;
}

int
scope_preserve(struct scope *s, struct span name)
{
	char **more, *copy;

	if (path_check(name, ENTRY_NAME_MAX, 1) != PATH_OK) {
		errno = EINVAL;
		return -1;
	}
	if (s->npreserved == SCOPE_PATTERNS_MAX) {
		errno = E2BIG;
		return -1;
	}
	more = realloc(s->preserved, (s->npreserved + 1) * sizeof(*more));
	if (more == NULL)
		return -1;
	s->preserved = more;
	if ((copy = strndup(name.p, name.n)) == NULL)
		return -1;
	s->preserved[s->npreserved++] = copy;
	return 0;
}

int
scope_copy(struct scope *to, const struct scope *from)
{
	size_t i;

	for (i = 0; i < from->npatterns; i++)
		if (scope_exclude(to, from->patterns[i].text) == -1)
			return -1;
	for (i = 0; i < from->npreserved; i++)
		if (scope_preserve(to, span_of(from->preserved[i])) == -1)
			return -1;
	return 0;
}

void
scope_free(struct scope *s)
{
	size_t i;

	for (i = 0; i < s->npatterns; i++) {
		free((char *)s->patterns[i].text.p);
		free(s->patterns[i].segments);
	}
	for (i = 0; i < s->npreserved; i++)
		free(s->preserved[i]);
	free(s->patterns);
	free(s->preserved);
	*s = (struct scope){ .patterns = NULL };
}

struct span
scope_pattern(const struct scope *s, size_t i)
{
	return s->patterns[i].text;
}

bool
scope_equal(const struct scope *a, const struct scope *b)
{
	size_t i;

	if (a->npatterns != b->npatterns || a->npreserved != b->npreserved)
		return false;
	for (i = 0; i < a->npatterns; i++)
		if (!span_equal(a->patterns[i].text, b->patterns[i].text))
			return false;
	for (i = 0; i < a->npreserved; i++)
		if (strcmp(a->preserved[i], b->preserved[i]) != 0)
			return false;
	return true;
}

static bool
segment_matches(const struct pattern *p, const char *glob, struct span part)
{
	char name[ENTRY_NAME_MAX + 1];

	if (p->literal)
		return span_is(part, glob);
	if (part.n > ENTRY_NAME_MAX)
		return false;
	memcpy(name, part.p, part.n);
	name[part.n] = '\0';
	return glob_match(glob, name);
}

/* The pattern's segments are exactly those of path. */
static bool
segments_match(const struct pattern *p, struct span path)
{
	const char *glob = p->segments;
	struct span part;
	size_t i;

	for (i = 0; i < p->n; i++) {
		if (!next_part(&path, &part) ||
		    !segment_matches(p, glob, part))
			return false;
		glob += strlen(glob) + 1;
	}
	return path.p == NULL;
}

/* The last n components of path, which has more than that. */
static struct span
last_parts(struct span path, size_t n)
{
	size_t i;

	for (i = path.n; i > 0; i--)
		if (path.p[i - 1] == '/' && --n == 0)
			break;
	return (struct span){ path.p + i, path.n - i };
}

static size_t
count_parts(struct span path)
{
	size_t i, n = 1;

	for (i = 0; i < path.n; i++)
		n += path.p[i] == '/';
	return n;
}

static bool
pattern_matches(const struct pattern *p, struct span path, size_t depth)
{
	if (p->floating)
		return depth >= p->n && segments_match(p,
		    depth == p->n ? path : last_parts(path, p->n));
	if (p->inside)
		return depth == p->n + 1 &&
		    segments_match(p, path_parent(path));
	return depth == p->n && segments_match(p, path);
}

bool
scope_is_git_lock(struct span path)
{
	struct span part;
	bool below = false;

	/* Nearly no path is one. */
	if (path.n == 0 || memmem(path.p, path.n, ".lock", 5) == NULL)
		return false;
	while (next_part(&path, &part)) {
		if (below && ends_with(part, ".lock"))
			return true;
		below = below || span_is(part, ".git");
	}
	return false;
}

bool
scope_has(const struct scope *s, struct span path)
{
	size_t depth = count_parts(path), i;

	if (depth == 1) {
		if (span_is(path, SCOPE_RUNTIME))
			return false;
		for (i = 0; i < s->npreserved; i++)
			if (span_is(path, s->preserved[i]))
				return false;
	}
	for (i = 0; i < s->npatterns; i++)
		if (pattern_matches(&s->patterns[i], path, depth))
			return false;
	return !scope_is_git_lock(path);
}

bool
scope_has_all(const struct scope *s, struct span path)
{
	size_t i;

	for (i = 0; i < path.n; i++)
		if (path.p[i] == '/' &&
		    !scope_has(s, (struct span){ path.p, i }))
			return false;
	return scope_has(s, path);
}
