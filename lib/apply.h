/*
 * apply.h - the steps of a journal, done to a tree.
 *
 * Everything moves by rename between three folders of one file system: the
 * tree, the staging folder (with what is new in `new` and what was displaced
 * in `old`), and the conflicts folder.  Each step can be taken again, at any
 * point: a step that finds its work done goes on.  So a journal is finished
 * by running it from its start.
 */
#ifndef APPLY_H
#define APPLY_H

#include "fault.h"
#include "journal.h"

#define STAGE_NEW	"new"
#define STAGE_OLD	"old"

struct apply {
	int root;		/* the tree */
	int runtime;		/* its .paperclip-runtime */
	int staging;		/* the folder below it */
	/*
	 * Called for what is not as the plan had it: a version of the host's
	 * that came between was kept in the conflicts folder (saved), or the
	 * entry could not take its place and was put there itself.
	 */
	void (*surprise)(void *arg, struct span path, bool saved);
	void *arg;
};

/*
 * All steps, in order; the first that cannot be taken ends it, since others
 * count on it.  0, or -1 with f: then the journal is to be run again.
 */
int apply_journal(const struct apply *a, struct journal *j, struct fault *f);

/* The name of a folder of conflicts below the runtime folder. */
#define CONFLICTS	"conflicts"

#endif
