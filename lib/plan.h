/*
 * plan.h - the renames that put a staged tree in its place.
 *
 * Whole folders move where the target has none; else entry by entry.  A
 * folder that cannot be written gets its owner's bits until the end.
 */
#ifndef PLAN_H
#define PLAN_H

#include <sys/stat.h>

#include "beneath.h"
#include "fault.h"
#include "journal.h"
#include "manifest.h"
#include "modes.h"
#include "scope.h"

/* Fill it in, but for what is private. */
struct plan {
	int root;
	int new;		/* the staged tree */
	int modes;		/* modes.h's file of folders */
	const struct scope *scope;
	struct journal_writer *out;
	struct fault *f;

	struct beneath *tree, *staged;	/* private, as what follows */
	struct modes *folders;	/* whose modes were put off */
	struct buf way;		/* the folder of the last step */
	size_t opened[BENEATH_DEPTH_MAX];	/* bytes of it that were made */
	size_t nopened;				/* sure to be writable */
	dev_t device;
};

int plan_open(struct plan *p);
void plan_free(struct plan *p);

/* Before a step in path's folder: it must let us rename there. */
int plan_open_parent(struct plan *p, struct span path);

/*
 * The mode that a staged folder is to have: while it is staged, its owner's
 * bits are set.  Whether any member has named it.
 */
bool plan_staged_mode(const struct plan *p, struct span path,
    const struct stat *staged, unsigned *mode);

/*
 * A plan that cleans: everything of the scope goes.  As whole top-level
 * entries, before anything is put, when the scope has no patterns; else entry
 * by entry, after it, so that what is excluded stays.
 */
int plan_clean_whole(struct plan *p);
int plan_clean_entries(struct plan *p);

/* What is in before and not in after goes; after all is put. */
int plan_delete(struct plan *p, struct manifest *before,
    struct manifest *after);

/* The same for paths, each with a NUL, of a file. */
int plan_delete_list(struct plan *p, int deleted);

/* What is staged takes its place.  empty: nothing will be there by then. */
int plan_put(struct plan *p, bool empty);

#endif
