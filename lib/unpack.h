/*
 * unpack.h - an archive takes its place in a tree, all of it or nothing.
 *
 * It is received into a staging folder; then a plan of renames is written
 * down, and done.  A kill before the plan leaves the old tree, one after it
 * a plan that the next call finishes.  An archive that is cut short is kept,
 * and what is missing can be sent (unpack_partial).
 */
#ifndef UNPACK_H
#define UNPACK_H

#include "meter.h"
#include "receive.h"

#define UNPACK_STAGE	"staging"
#define STORED_MANIFEST	"manifest"		/* below the runtime folder */
#define STORED_NEXT	"manifest.next"
#define CACHE_SUFFIX	".cache"

struct unpack {
	int root;
	struct source *source;
	const struct scope *scope;
	bool scope_given;	/* a delta's patterns must be these */
	struct limits limits;
	unsigned folder_mode;	/* of folders that no member names */
	bool clean;		/* what the archive lacks goes */
	bool links_inside;
	bool manifest;		/* store one */
	bool sync;
	int64_t deadline;	/* for the lock */
	const struct notices *notices;
	const struct meter *meter;
};

/* 0, or -1 with f: the tree is as before, or the next call finishes. */
int unpack_tree(const struct unpack *u, struct fault *f);

/* Finishes an interrupted unpack, and removes remnants.  0, or -1 with f. */
int unpack_recover(int root, int64_t deadline, struct fault *f);

/* The same, if there is something to do; for whoever reads the tree. */
int unpack_recover_left(int root, int64_t deadline, struct fault *f);

/*
 * The manifest of what the receiver would have if only what came so far were
 * put in its place.  0, or -1 with f: a FAULT_INPUT when nothing was cut short.
 */
int unpack_partial(int root, int64_t deadline, struct manifest_writer *out,
    struct fault *f);

#endif
