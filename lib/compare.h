/*
 * compare.h - a tree as it is against what a manifest says it was.
 *
 * Both come in the order of a walk and are joined like sorted lists, so
 * nothing is held in memory.  A file's content is read only when its size is
 * the same and the cache cannot prove it unchanged.
 */
#ifndef COMPARE_H
#define COMPARE_H

#include "tree.h"

struct compare;

struct compare_item {
	enum entry_change change;
	struct span path;
	const struct entry *before;	/* NULL when added */
	struct found *now;		/* NULL when deleted */
};

/*
 * The tree below the folder root against before, where that is; cache may be
 * NULL.  With a prefix, root is that folder of the tree, and of the manifest
 * only what is below it, where it stands, is compared.  All stay the
 * caller's.  NULL with f.
 */
struct compare *compare_open(int root, struct span prefix,
    const struct scope *s, struct manifest *before, struct statcache *cache,
    const struct notices *n, struct fault *f);
void compare_free(struct compare *c);		/* NULL too */

/* 1 with an item that holds until the next call, 0 at the end, -1 with f. */
int compare_next(struct compare *c, struct compare_item *item,
    struct fault *f);

/* The walk, to open what an item has found. */
struct walk *compare_walk(struct compare *c);

/* Any difference at all: 1 or 0, or -1 with f.  Stops at the first. */
int compare_any(struct compare *c, struct fault *f);

#endif
