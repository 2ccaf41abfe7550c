/* merge_plan.h - the decisions of a merge, a path at a time; merge.h's own. */
#ifndef MERGE_PLAN_H
#define MERGE_PLAN_H

#include "merge.h"
#include "path_list.h"
#include "plan.h"
#include "tree.h"

/* What a path is on the host. */
enum target_kind {
	TARGET_NONE,
	TARGET_ENTRY,
	TARGET_OTHER,		/* neither file, folder nor link */
	TARGET_BLOCKED		/* a parent is a link, or no folder */
};

struct target {
	enum target_kind kind;
	struct stat st;
	struct entry entry;	/* sha256 when summed */
	bool summed;
	char link[ENTRY_TARGET_MAX];
};

/* A folder of the source that decided about all that is below it. */
enum region {
	REGION_NONE,
	REGION_VOID,	/* nothing will be there: take it as none */
	REGION_KEPT,	/* the host's entry stays: save what is below */
	REGION_MOVED,	/* the host's folder goes: deletions are done */
	REGION_CLEAN	/* a folder that is deleted with all in it */
};

struct merge_plan {
	const struct merge *m;
	struct fault *f;
	struct plan plan;	/* the trees, and the journal */
	struct manifest *base, *lines;
	struct path_list *deleted;
	int deleted_fd;
	enum region region;
	struct buf region_top;
	struct buf last_put;	/* the folders on its way are there */
	uint64_t conflicts;
};

/* All decisions.  0, or -1 with f. */
int merge_plan_all(struct merge_plan *p);

/* --- merge_target.c: the host's side --- */

/* What path is there now.  0, or -1 with f. */
int target_look(struct merge_plan *p, struct span path, struct target *t);

/*
 * The host's entry is e (e NULL: nothing is there).  1, 0, or -1 with f.
 * Reads a file's content unless sizes or modes differ.
 */
int target_is(struct merge_plan *p, struct span path, struct target *t,
    const struct entry *e);

/* Both are files of the same bytes, whatever their modes: 1, 0, -1 with f. */
int target_has_content(struct merge_plan *p, struct span path,
    struct target *t, const struct entry *e);

/* --- merge_plan.c: one path --- */

/*
 * The decision about path, into the journal; before and source may be NULL:
 * not there.  0, or -1 with f.
 */
int merge_decide(struct merge_plan *p, struct span path,
    const struct entry *before, const struct entry *source);

/* A record of the journal.  0, or -1 with f. */
int merge_step(struct merge_plan *p, enum step step, struct span path,
    enum action action, enum held_reason reason, bool conflict, bool saved);

/* --- merge_git.c: a repository --- */

/*
 * At the first path of a delta that is in the repository top: all of its
 * paths.  0, or -1 with f.
 */
int merge_repository(struct merge_plan *p, struct span top);

#endif
