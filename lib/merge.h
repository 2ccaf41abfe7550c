/*
 * merge.h - what a sandbox changed, into a tree that others work in too.
 *
 * Three trees per path: the baseline, the source (the sandbox, as baseline and
 * delta) and the target (the host's folder as it is); the table is in
 * pc-manifest(5).  Only what the delta names is looked at.  Everything is
 * decided, and written down outside the tree, before the first step.
 */
#ifndef MERGE_H
#define MERGE_H

#include "meter.h"
#include "receive.h"
#include "journal.h"
#include "statcache.h"

#define MERGE_STAGE	"merging"
#define MERGE_JOURNAL	"journal"	/* in the state folder */
#define MERGE_PLAN	"plan"

enum conflict_policy { CONFLICT_SOURCE, CONFLICT_TARGET, CONFLICT_FAIL };

struct merge {
	int root;
	int state;		/* folder outside the tree, locked by us */
	struct source *source;
	struct manifest *baseline;
	struct statcache *cache;	/* of the baseline; may be NULL */
	struct manifest_writer *source_manifest;	/* or NULL */
	struct statcache_writer *source_cache;	/* of the tree, for it; or NULL */
	struct limits limits;
	enum conflict_policy policy;
	bool links_inside, allow_protected, dry_run, sync;
	int64_t deadline;	/* for the lock on what is staged */
	const struct notices *notices;
	const struct meter *meter;
	/* Each record that has an action, when it is done (or would be). */
	int (*report)(void *arg, const struct journal_record *r,
	    struct span run);
	/* A version that came between look and move was saved at path. */
	void (*surprise)(void *arg, struct span path, bool saved);
	void *arg;
};

/*
 * 0; 1 when there are conflicts and the policy is to fail (nothing changed);
 * or -1 with f: nothing changed, or the next call finishes.
 */
int merge_tree(const struct merge *m, struct fault *f);

/*
 * Finishes an interrupted merge.  1 when there was one, 0 when not, -1 with
 * f.  state is locked by the caller.
 */
int merge_recover(int root, int state, int64_t deadline, struct fault *f);

#endif
