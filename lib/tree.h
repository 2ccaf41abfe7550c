/*
 * tree.h - what a walk finds, as entries: the one place where stat data, a
 * link's target and a file's sum become a line of a manifest.
 */
#ifndef TREE_H
#define TREE_H

#include "entry.h"
#include "fault.h"
#include "manifest.h"
#include "statcache.h"
#include "walk.h"

/* An entry as found.  target points into link; sha256 is not yet known. */
struct found {
	struct walk_entry at;
	struct entry entry;
	char link[ENTRY_TARGET_MAX];
	bool summed;		/* entry.sha256 holds, for what at.st says */
	/*
	 * When it was read (statcache_add): INT64_MAX when a cache proved it,
	 * INT64_MIN when it changed meanwhile, which proves nothing later.
	 */
	int64_t read_ns;
};

/*
 * The next file, folder or link of a walk; others are said to n and passed
 * over.  1, 0 at the end, -1 with f.
 */
int tree_next(struct walk *w, struct found *e, const struct notices *n,
    struct fault *f);

/*
 * The sum of a file: from the cache when that proves it (NULL is none), else
 * by reading.  Of a file that grows meanwhile, it is the sum of as many bytes
 * as entry.size says.  0, 1 when it is a file no more, -1 with f.
 */
int tree_sum(struct walk *w, struct found *e, struct statcache *cache,
    struct fault *f);

/* A file's time must be one that a manifest can say.  0, or -1 with f. */
int tree_check_time(const struct found *e, struct fault *f);

/*
 * A cache of the tree below root after lines (manifest_open_lines) took their
 * places in it: old's records, and theirs where the file is as the line says.
 * The writer is not ended.  0, or -1 with f.
 */
int tree_update_cache(int root, struct manifest *lines,
    struct statcache *old, struct statcache_writer *out, struct fault *f);

/*
 * The manifest of a tree, and a new cache (NULL is none).  old may be NULL.
 * 0, or -1 with f.
 */
int tree_snapshot(int root, const struct scope *s, struct statcache *old,
    struct manifest_writer *m, struct statcache_writer *cache,
    const struct notices *n, struct fault *f);

#endif
