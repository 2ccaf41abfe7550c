#include <errno.h>
#include <stdlib.h>

#include "beneath.h"
#include "compare.h"

struct compare {
	struct walk *walk;
	struct manifest *before;
	struct statcache *cache;
	const struct notices *notices;
	struct span prefix;
	struct found found;
	bool have_found;	/* found is the next of the walk */
	bool walk_ended;
	bool used_before;	/* the last item took the manifest's entry */
};

struct compare *
compare_open(int root, struct span prefix, const struct scope *s,
    struct manifest *before, struct statcache *cache,
    const struct notices *n, struct fault *f)
{
	struct compare *c = calloc(1, sizeof(*c));

	if (c == NULL ||
	    (c->walk = walk_open(root, prefix, s, false)) == NULL) {
		fault_system(f, prefix.n > 0 ? prefix : span_of("."));
		free(c);
		return NULL;
	}
	c->before = before;
	c->cache = cache;
	c->notices = n;
	c->prefix = prefix;
	return c;
}

void
compare_free(struct compare *c)
{
	if (c == NULL)
		return;
	/* What the last item took from the manifest is done with. */
	if (c->used_before)
		manifest_next(c->before);
	walk_free(c->walk);
	free(c);
}

struct walk *
compare_walk(struct compare *c)
{
	return c->walk;
}

/* What became of an entry that is in both: its change, or -1 with f. */
static int
compare_both(struct compare *c, const struct entry *before, struct fault *f)
{
	struct found *now = &c->found;
	int got;

	if (before->type != ENTRY_FILE || now->entry.type != ENTRY_FILE)
		return (int)entry_change(before, &now->entry);
	/* A size spares the reading. */
	if (before->size != now->entry.size)
		return CHANGE_CONTENT;
	if ((got = tree_sum(c->walk, now, c->cache, f)) == -1)
		return -1;
	if (got == 1)
		return CHANGE_CONTENT;	/* gone meanwhile: whoever opens sees */
	return (int)entry_change(before, &now->entry);
}

/* The manifest's next entry, if it is below the prefix. */
static const struct entry *
next_before(struct compare *c, struct fault *f, bool *failed)
{
	const struct entry *e;

	if (c->used_before)
		manifest_next(c->before);
	c->used_before = false;
	e = manifest_peek(c->before, f, failed);
	if (e != NULL && c->prefix.n > 0 && !path_is_below(e->path, c->prefix))
		return NULL;
	return e;
}

static int
next_found(struct compare *c, struct fault *f)
{
	int got;

	if (c->have_found || c->walk_ended)
		return 0;
	got = tree_next(c->walk, &c->found, c->notices, f);
	c->have_found = got == 1;
	c->walk_ended = got == 0;
	return got == -1 ? -1 : 0;
}

int
compare_next(struct compare *c, struct compare_item *item, struct fault *f)
{
	const struct entry *before;
	bool failed;
	int order, change;

	before = next_before(c, f, &failed);
	if (failed || next_found(c, f) == -1)
		return -1;
	if (before == NULL && !c->have_found)
		return 0;
	order = before == NULL ? 1 : !c->have_found ? -1 :
	    path_compare(before->path, c->found.entry.path);
	*item = (struct compare_item){ .path = order < 0 ? before->path :
	    c->found.entry.path };
	if (order <= 0) {
		item->before = before;
		c->used_before = true;
	}
	if (order >= 0) {
		item->now = &c->found;
		c->have_found = false;
	}
	if (order != 0) {
		item->change = order < 0 ? CHANGE_DELETED : CHANGE_ADDED;
		return 1;
	}
	if ((change = compare_both(c, before, f)) == -1)
		return -1;
	item->change = (enum entry_change)change;
	return 1;
}

int
compare_any(struct compare *c, struct fault *f)
{
	struct compare_item item;
	int got;

	while ((got = compare_next(c, &item, f)) == 1)
		if (item.change != CHANGE_NONE)
			return 1;
	return got;
}
