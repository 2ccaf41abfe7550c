/*
 * A repository merges as one thing: taken file by file from two sides it is
 * broken.  When only the source changed it, its changes are applied; when
 * both did, the host's stays whole and the source's is saved whole.  What git
 * on the host would execute is neither compared nor applied.
 */
#include <errno.h>
#include <stdlib.h>

#include "git.h"
#include "merge_plan.h"

/* The source's and the baseline's entries below a top, joined. */
struct both {
	struct merge_plan *p;
	struct span top;
	struct manifest *base, *lines;
	struct path_list *deleted;
	const struct entry *b, *s;	/* of the last path; NULL: not there */
	bool sent;			/* s was in the delta */
	bool in_base, in_lines;		/* private: which of them moves on */
};

static bool
is_inside(struct span path, struct span top)
{
	return path_is_below(path, top);
}

static void
both_close(struct both *i)
{
	manifest_free(i->base);
	manifest_free(i->lines);
	path_list_free(i->deleted);
}

/* Deletions before path are passed over: 1 when path is one, 0, -1 with f. */
static int
deleted_at(struct both *i, struct span path)
{
	struct span next;
	int got, order = -1;

	while ((got = path_list_peek(i->deleted, &next)) == 1 &&
	    (order = path_compare(next, path)) < 0)
		path_list_next(i->deleted);
	return got == -1 ? fault_system(i->p->f, span_of("deletions")) :
	    got == 1 && order == 0;
}

/* From the top on, as the plan's own lists stand. */
static int
both_open(struct both *i, struct merge_plan *p, struct span top)
{
	*i = (struct both){ .p = p, .top = top };
	i->base = manifest_fork(p->base);
	i->lines = manifest_fork(p->lines);
	i->deleted = path_list_open(p->deleted_fd);
	if (i->base == NULL || i->lines == NULL || i->deleted == NULL) {
		fault_system(p->f, top);
		both_close(i);
		return -1;
	}
	if (deleted_at(i, top) == -1) {
		both_close(i);
		return -1;
	}
	return 0;
}

static const struct entry *
peek_inside(struct manifest *m, struct both *i, bool *failed)
{
	const struct entry *e = manifest_peek(m, i->p->f, failed);

	return e != NULL && is_inside(e->path, i->top) ? e : NULL;
}

/* The next path of either: 1 with i->b and i->s, 0 at the end, -1. */
static int
both_next(struct both *i, struct span *path)
{
	const struct entry *b, *s;
	bool failed;
	int order, deleted;

	if (i->in_base)
		manifest_next(i->base);
	if (i->in_lines)
		manifest_next(i->lines);
	i->in_base = i->in_lines = false;
	b = peek_inside(i->base, i, &failed);
	if (failed)
		return -1;
	s = peek_inside(i->lines, i, &failed);
	if (failed)
		return -1;
	if (b == NULL && s == NULL)
		return 0;
	order = b == NULL ? 1 : s == NULL ? -1 :
	    path_compare(b->path, s->path);
	*path = order <= 0 ? b->path : s->path;
	i->in_base = order <= 0;
	i->in_lines = i->sent = order >= 0;
	i->b = order <= 0 ? b : NULL;
	i->s = order >= 0 ? s : b;
	if ((deleted = deleted_at(i, *path)) == -1)
		return -1;
	if (!i->sent && deleted == 1)
		i->s = NULL;
	return 1;
}

/* Protected by what it was, or by what it would be. */
static bool
is_protected(const struct merge_plan *p, struct span path,
    const struct entry *b, const struct entry *s)
{
	return !p->m->allow_protected &&
	    ((b != NULL && git_is_protected(path, b->type)) ||
	    (s != NULL && git_is_protected(path, s->type)));
}

static bool
is_change(const struct entry *b, const struct entry *s)
{
	return (b == NULL) != (s == NULL) ||
	    (b != NULL && !entry_equal(b, s));
}

/* --- looking --- */

struct sides {
	bool source_changed, target_changed, equal;
};

/* Entries of the host's repository that neither of the others has. */
static int
count_target(struct merge_plan *p, struct span top, uint64_t *n)
{
	struct walk_entry at;
	struct walk *w;
	enum walk_result r;
	int dir = beneath_dir(p->plan.tree, top);

	*n = 0;
	if (dir == -1)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ?
		    0 : fault_system(p->f, top);
	if ((w = walk_open(dir, top, p->plan.scope, false)) == NULL)
		return fault_system(p->f, top);
	while ((r = walk_next(w, &at)) == WALK_ENTRY)
		if (p->m->allow_protected || !git_is_protected(at.path,
		    at.type == WALK_LINK ? ENTRY_LINK : at.type == WALK_DIR ?
		    ENTRY_DIR : ENTRY_FILE))
			++*n;
	walk_free(w);
	return r == WALK_FAILED ? fault_system(p->f, top) : 0;
}

static int
look_at(struct both *i, struct span path, struct sides *sides,
    uint64_t *present)
{
	struct merge_plan *p = i->p;
	struct target t;
	int same;

	if (is_protected(p, path, i->b, i->s))
		return 0;
	if (is_change(i->b, i->s))
		sides->source_changed = true;
	if (target_look(p, path, &t) == -1)
		return -1;
	if (t.kind == TARGET_ENTRY && !span_equal(path, i->top) &&
	    (p->m->allow_protected ||
	    !git_is_protected(path, t.entry.type)))
		++*present;
	if ((same = target_is(p, path, &t, i->b)) == -1)
		return -1;
	if (same == 0)
		sides->target_changed = true;
	if ((same = target_is(p, path, &t, i->s)) == -1)
		return -1;
	if (same == 0)
		sides->equal = false;
	return 0;
}

static int
look_at_sides(struct merge_plan *p, struct span top, struct sides *sides)
{
	uint64_t present = 0, found;
	struct both i;
	struct span path;
	int got;

	*sides = (struct sides){ .equal = true };
	if (both_open(&i, p, top) == -1)
		return -1;
	while ((got = both_next(&i, &path)) == 1)
		if (look_at(&i, path, sides, &present) == -1) {
			got = -1;
			break;
		}
	both_close(&i);
	if (got == -1 || count_target(p, top, &found) == -1)
		return -1;
	if (found != present) {
		sides->target_changed = true;
		sides->equal = false;
	}
	return 0;
}

/* --- deciding --- */

static int
hold_protected(struct both *i, struct span path)
{
	struct merge_plan *p = i->p;
	struct target t;
	int same;

	if (!is_change(i->b, i->s))
		return 0;
	if (target_look(p, path, &t) == -1 ||
	    (same = target_is(p, path, &t, i->s)) == -1)
		return -1;
	if (same == 1)
		return 0;
	return merge_step(p, i->s != NULL ? STEP_SAVE : STEP_NONE, path,
	    ACTION_HELD, HELD_PROTECTED, true, i->s != NULL);
}

/* Path by path: what is protected is held, the rest follows the table. */
static int
apply_paths(struct merge_plan *p, struct span top, bool others)
{
	struct both i;
	struct span path;
	int got;

	if (both_open(&i, p, top) == -1)
		return -1;
	while ((got = both_next(&i, &path)) == 1) {
		if (is_protected(p, path, i.b, i.s))
			got = hold_protected(&i, path);
		else if (others && is_change(i.b, i.s))
			got = merge_decide(p, path, i.b, i.s);
		if (got == -1)
			break;
	}
	both_close(&i);
	return got;
}

/*
 * All of the source's repository to the conflicts folder: what was sent, and
 * of what it did not change, what the host still has.
 */
static int
save_whole(struct merge_plan *p, struct span top, enum held_reason reason)
{
	struct both i;
	struct span path;
	struct target t;
	int got, same;

	if (merge_step(p, STEP_SAVE, top, ACTION_HELD, reason, true,
	    true) == -1 || both_open(&i, p, top) == -1)
		return -1;
	while ((got = both_next(&i, &path)) == 1) {
		if (i.s == NULL || (span_equal(path, top) &&
		    i.s->type != ENTRY_DIR))
			continue;
		if (i.sent) {
			got = merge_step(p, STEP_SAVE, path, ACTION_NONE,
			    HELD_NONE, false, false);
		} else if (i.s->type != ENTRY_DIR) {
			same = target_look(p, path, &t) == -1 ? -1 :
			    target_is(p, path, &t, i.s);
			got = same != 1 ? same : merge_step(p, STEP_COPY, path,
			    ACTION_NONE, HELD_NONE, false, false);
		}
		if (got == -1)
			break;
	}
	both_close(&i);
	return got;
}

/* The top itself: 1 when it changed its type, came or went as no folder. */
static int
top_is_changed(struct merge_plan *p, struct span top, bool *held)
{
	const struct entry *b, *s;
	struct both i;
	struct span path;
	struct target t;
	int got, same = 0;

	*held = false;
	if (both_open(&i, p, top) == -1)
		return -1;
	got = both_next(&i, &path);
	if (got == 1 && span_equal(path, top)) {
		b = i.b;
		s = i.s;
		*held = !p->m->allow_protected && is_change(b, s) &&
		    ((b != NULL && (s == NULL || s->type != b->type)) ||
		    (s != NULL && s->type != ENTRY_DIR));
		if (*held && (target_look(p, top, &t) == -1 ||
		    (same = target_is(p, top, &t, s)) == -1))
			got = -1;
	}
	both_close(&i);
	if (got == -1 || !*held || same == 1)
		return got == -1 ? -1 : 0;
	return save_whole(p, top, HELD_PROTECTED);
}

/* The plan's own lists go on behind the repository. */
static int
pass_over(struct merge_plan *p, struct span top)
{
	const struct entry *e;
	struct span path;
	bool failed;
	int got;

	while ((e = manifest_peek(p->lines, p->f, &failed)) != NULL &&
	    is_inside(e->path, top))
		manifest_next(p->lines);
	if (failed)
		return -1;
	while ((got = path_list_peek(p->deleted, &path)) == 1 &&
	    is_inside(path, top))
		path_list_next(p->deleted);
	return got == -1 ? fault_system(p->f, span_of("deletions")) : 0;
}

int
merge_repository(struct merge_plan *p, struct span top)
{
	struct sides sides;
	bool held;

	if (top_is_changed(p, top, &held) == -1)
		return -1;
	if (held)
		return pass_over(p, top);
	if (look_at_sides(p, top, &sides) == -1)
		return -1;
	if (sides.source_changed && sides.target_changed && !sides.equal) {
		if (save_whole(p, top, HELD_GIT) == -1)
			return -1;
	} else if (apply_paths(p, top, sides.source_changed &&
	    !sides.equal) == -1) {
		return -1;
	}
	return pass_over(p, top);
}
