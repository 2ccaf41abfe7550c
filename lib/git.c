#include "git.h"

static bool
next_component(struct span *rest, struct span *c)
{
	const char *slash;

	if (rest->n == 0)
		return false;
	slash = memchr(rest->p, '/', rest->n);
	c->p = rest->p;
	c->n = slash == NULL ? rest->n : (size_t)(slash - rest->p);
	rest->p += c->n;
	rest->n -= c->n;
	if (rest->n > 0) {
		rest->p++;
		rest->n--;
	}
	return true;
}

bool
git_unit(struct span path, struct span *top, struct span *rest)
{
	struct span left = path, c;

	while (next_component(&left, &c)) {
		if (!span_is(c, ".git"))
			continue;
		*top = (struct span){ path.p, (size_t)(c.p + c.n - path.p) };
		*rest = left;
		return true;
	}
	return false;
}

bool
git_is_object(struct span rest)
{
	struct span c;
	bool module = false;
	size_t depth = 0;

	while (next_component(&rest, &c)) {
		if (depth == 0 && span_is(c, "modules"))
			module = true;
		if (span_is(c, "objects") && rest.n > 0 &&
		    (depth == 0 || module))
			return true;
		depth++;
	}
	return false;
}

static bool
is_executed(struct span c)
{
	return span_is(c, "hooks") || span_is(c, "config") ||
	    span_is(c, "config.worktree") || span_is(c, "commondir");
}

bool
git_is_protected(struct span path, enum entry_type type)
{
	struct span top, rest, c;
	bool other = false;
	size_t depth = 0;

	if (!git_unit(path, &top, &rest))
		return false;
	if (type == ENTRY_LINK || (rest.n == 0 && type != ENTRY_DIR))
		return true;
	/*
	 * A submodule's name may have slashes, and any names in it: so every
	 * component below modules and worktrees counts.
	 */
	while (next_component(&rest, &c)) {
		if (depth == 0)
			other = span_is(c, "modules") ||
			    span_is(c, "worktrees");
		if ((depth == 0 || other) && is_executed(c))
			return true;
		depth++;
	}
	return false;
}
