#include <errno.h>
#include <fcntl.h>

#include "git.h"
#include "merge_plan.h"

/* --- writing the plan --- */

static int
add(struct merge_plan *p, struct journal_record *r)
{
	if (r->flags & JOURNAL_CONFLICT)
		p->conflicts++;
	if (r->step != STEP_NONE && r->step != STEP_SAVE &&
	    r->step != STEP_COPY && plan_open_parent(&p->plan, r->path) == -1)
		return -1;
	return journal_add(p->plan.out, r) == -1 ?
	    fault_system(p->f, span_of("journal")) : 0;
}

int
merge_step(struct merge_plan *p, enum step step, struct span path,
    enum action action, enum held_reason reason, bool conflict, bool saved)
{
	struct journal_record r = { .path = path, .step = step,
	    .action = action, .reason = reason, .saved = saved,
	    .flags = conflict ? JOURNAL_CONFLICT : 0 };

	return add(p, &r);
}

static struct seen
seen_of(const struct target *t)
{
	struct seen none = { 0, 0, 0, 0 };

	if (t->kind != TARGET_ENTRY && t->kind != TARGET_OTHER)
		return none;
	return (struct seen){ .ino = t->st.st_ino,
	    .size = (uint64_t)t->st.st_size,
	    .mtime_ns = stat_mtime_ns(&t->st),
	    .ctime_ns = stat_ctime_ns(&t->st) };
}

static int
keep_path(struct merge_plan *p, struct buf *kept, struct span path)
{
	return buf_set(kept, path) == -1 ? fault_system(p->f, path) : 0;
}

static int
set_region(struct merge_plan *p, enum region region, struct span path)
{
	p->region = region;
	return keep_path(p, &p->region_top, path);
}

static enum region
region_of(const struct merge_plan *p, struct span path)
{
	struct span top = buf_span(&p->region_top);

	return p->region != REGION_NONE && path.n > top.n &&
	    path_is_below(path, top) ? p->region : REGION_NONE;
}

/* --- one side only --- */

/* The host will have no folder of this name unless it is made.  1, 0, -1. */
static int
parent_is_missing(struct merge_plan *p, struct span parent, enum region region)
{
	const char *name;
	struct stat st;
	int dir;

	if (region == REGION_VOID)
		return path_is_below(parent, buf_span(&p->region_top)) &&
		    parent.n > p->region_top.len;
	dir = beneath_parent(p->plan.tree, parent, &name);
	if (dir != -1 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return errno == ENOENT ? 1 : fault_system(p->f, parent);
}

/*
 * The folders of the source on the way to path, which it did not change, and
 * the host has no more: they are made with their modes.  Paths come in order,
 * so those on the way to the last one are there already.
 */
static int
make_parents(struct merge_plan *p, struct span path, enum region region)
{
	struct span part = { path.p, 0 };
	struct journal_record r = { .step = STEP_MAKE };
	const char *name;
	struct stat st;
	int dir, missing;

	for (part.n = 1; part.n < path.n; part.n++) {
		if (path.p[part.n] != '/' ||
		    path_is_below(buf_span(&p->last_put), part))
			continue;
		if ((missing = parent_is_missing(p, part, region)) == -1)
			return -1;
		if (missing == 0)
			continue;
		dir = beneath_parent(p->plan.staged, part, &name);
		if (dir == -1 || fstatat(dir, name, &st,
		    AT_SYMLINK_NOFOLLOW) == -1)
			return fault_system(p->f, part);
		plan_staged_mode(&p->plan, part, &st, &r.mode);
		r.path = part;
		if (add(p, &r) == -1)
			return -1;
	}
	return keep_path(p, &p->last_put, path);
}

/* The source's entry takes its place. */
static int
put(struct merge_plan *p, struct span path, const struct entry *s,
    const struct target *t, enum action action, bool keep, bool conflict)
{
	struct journal_record r = { .path = path, .mode = s->mode,
	    .action = action, .seen = seen_of(t), .saved = keep,
	    .flags = JOURNAL_CAREFUL | (keep ? JOURNAL_KEEP : 0u) |
	    (conflict ? JOURNAL_CONFLICT : 0u) };
	const char *name;
	struct stat st;
	int dir;

	if (t->kind == TARGET_NONE &&
	    make_parents(p, path, region_of(p, path)) == -1)
		return -1;
	if (s->type == ENTRY_DIR) {
		r.step = STEP_MAKE;
		return add(p, &r);
	}
	dir = beneath_parent(p->plan.staged, path, &name);
	if (dir == -1 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return fault_system(p->f, path);
	r.step = STEP_PUT;
	r.staged_ino = st.st_ino;
	return add(p, &r);
}

static int
take(struct merge_plan *p, struct span path, const struct target *t,
    bool keep, enum action action)
{
	struct journal_record r = { .path = path, .step = STEP_TAKE,
	    .seen = seen_of(t), .action = action,
	    .flags = JOURNAL_CAREFUL | (keep ? JOURNAL_KEEP : 0u) };

	return add(p, &r);
}

/* The source's version goes to the conflicts folder. */
static int
save_source(struct merge_plan *p, struct span path, enum action action,
    enum held_reason reason)
{
	return merge_step(p, STEP_SAVE, path, action, reason, true, true);
}

/* A folder of the source where the host has another entry. */
static int
put_folder(struct merge_plan *p, struct span path, const struct entry *s,
    const struct target *t, bool keep, bool conflict)
{
	struct journal_record r = { .path = path, .step = STEP_MODE,
	    .mode = s->mode, .action = ACTION_APPLIED,
	    .flags = conflict ? JOURNAL_CONFLICT : 0 };

	if (t->kind == TARGET_ENTRY && t->entry.type == ENTRY_DIR)
		return add(p, &r);
	if (take(p, path, t, keep, ACTION_NONE) == -1 ||
	    set_region(p, REGION_VOID, path) == -1)
		return -1;
	r = (struct journal_record){ .path = path, .step = STEP_MAKE,
	    .mode = s->mode, .action = ACTION_APPLIED, .saved = keep,
	    .flags = conflict ? JOURNAL_CONFLICT : 0 };
	return add(p, &r);
}

/* --- a host's folder, compared with the baseline below it --- */

/* The folder's own entries: 1 when all are as in the baseline, 0, -1. */
static int
folder_is_same(struct merge_plan *p, struct span path)
{
	struct manifest *base = manifest_fork(p->base);
	const struct entry *e;
	struct walk *w = NULL;
	struct walk_entry at;
	struct target t;
	enum walk_result r;
	bool failed;
	int dir, got = 1;

	if (base == NULL || (dir = beneath_dir(p->plan.tree, path)) == -1 ||
	    (w = walk_open(dir, path, p->plan.scope, false)) == NULL) {
		manifest_free(base);
		return fault_system(p->f, path);
	}
	walk_show_excluded(w);
	e = manifest_peek(base, p->f, &failed);
	if (e != NULL && span_equal(e->path, path))
		manifest_next(base);
	while (got == 1 && (r = walk_next(w, &at)) != WALK_END) {
		if (r == WALK_FAILED) {
			got = fault_system(p->f, at.path);
			break;
		}
		e = manifest_peek(base, p->f, &failed);
		if (failed || target_look(p, at.path, &t) == -1) {
			got = -1;
		} else if (e == NULL || !span_equal(e->path, at.path)) {
			got = 0;
		} else {
			got = target_is(p, at.path, &t, e);
			manifest_next(base);
		}
	}
	/* What the baseline has more of is missing on the host. */
	if (got == 1) {
		e = manifest_peek(base, p->f, &failed);
		got = failed ? -1 : e == NULL || !path_is_below(e->path, path);
	}
	walk_free(w);
	manifest_free(base);
	return got;
}

/* Its files one by one, then its folders, deepest first. */
static int
take_folder(struct merge_plan *p, struct span path)
{
	struct buf folders = { .data = NULL };
	struct walk_entry at;
	struct target t;
	struct walk *w = NULL;
	enum walk_result r = WALK_END;
	size_t end, start;
	int dir, got = 0;

	if ((dir = beneath_dir(p->plan.tree, path)) == -1 ||
	    (w = walk_open(dir, path, p->plan.scope, false)) == NULL)
		return fault_system(p->f, path);
	while (got == 0 && (r = walk_next(w, &at)) == WALK_ENTRY) {
		if (at.type == WALK_DIR) {
			buf_add_span(&folders, at.path);
			buf_add_char(&folders, '\0');
			continue;
		}
		if (target_look(p, at.path, &t) == -1 ||
		    take(p, at.path, &t, false, ACTION_NONE) == -1)
			got = -1;
	}
	if (r == WALK_FAILED || buf_failed(&folders))
		got = fault_system(p->f, path);
	walk_free(w);
	for (end = folders.len; got == 0 && end > 0; end = start) {
		for (start = end - 1; start > 0 &&
		    folders.data[start - 1] != '\0'; start--)
			;
		got = merge_step(p, STEP_DROP, (struct span){
		    folders.data + start, end - 1 - start }, ACTION_NONE,
		    HELD_NONE, false, false);
	}
	buf_free(&folders);
	return got;
}

/* A file or link of the source where the host has a folder. */
static int
put_over_folder(struct merge_plan *p, struct span path,
    const struct entry *s, const struct target *t, bool folder_same)
{
	int same = folder_same ? folder_is_same(p, path) : 0;

	if (same == -1)
		return -1;
	if (same == 0 && p->m->policy == CONFLICT_TARGET)
		return save_source(p, path, ACTION_KEPT, HELD_NONE);
	if (set_region(p, REGION_MOVED, path) == -1 ||
	    (same == 1 && take_folder(p, path) == -1))
		return -1;
	return put(p, path, s, t, ACTION_APPLIED, same == 0, same == 0);
}

/* --- the table --- */

static int
decide_deleted(struct merge_plan *p, struct span path, struct target *t,
    const struct entry *before)
{
	struct journal_record r = { .path = path, .step = STEP_EMPTY,
	    .action = ACTION_DELETED };
	enum region region = region_of(p, path);
	int same;

	if (before == NULL || t->kind == TARGET_NONE ||
	    t->kind == TARGET_BLOCKED || region == REGION_MOVED ||
	    region == REGION_VOID || region == REGION_KEPT)
		return 0;
	if ((same = target_is(p, path, t, before)) == -1)
		return -1;
	if (same == 0)
		return merge_step(p, STEP_NONE, path, ACTION_KEPT, HELD_NONE,
		    true, false);
	if (before->type != ENTRY_DIR)
		return take(p, path, t, false, ACTION_DELETED);
	if (region == REGION_CLEAN)
		return add(p, &r);
	if ((same = folder_is_same(p, path)) == -1)
		return -1;
	if (same == 0)
		r.action = ACTION_KEPT;
	else if (set_region(p, REGION_CLEAN, path) == -1)
		return -1;
	return add(p, &r);
}

/*
 * All three are files, and the source changed one thing, mode or content: the
 * host's version of the other is kept.  1 when that settles it, 0, -1.
 */
static int
merge_mode_and_content(struct merge_plan *p, struct span path,
    struct target *t, const struct entry *b, const struct entry *s)
{
	struct journal_record r = { .path = path, .step = STEP_MODE,
	    .mode = s->mode, .action = ACTION_MERGED };
	bool same_bytes;
	const char *name;
	int dir, same;

	if (b == NULL || b->type != ENTRY_FILE || s->type != ENTRY_FILE ||
	    t->kind != TARGET_ENTRY || t->entry.type != ENTRY_FILE)
		return 0;
	same_bytes = b->size == s->size &&
	    memcmp(b->sha256, s->sha256, SHA256_SIZE) == 0;
	if (same_bytes) {
		if (t->entry.mode == s->mode)
			return 1;
		if (t->entry.mode != b->mode)
			return 0;
		return add(p, &r) == -1 ? -1 : 1;
	}
	if (s->mode != b->mode)
		return 0;
	if ((same = target_has_content(p, path, t, s)) != 0)
		return same;
	if ((same = target_has_content(p, path, t, b)) != 1)
		return same;
	dir = beneath_parent(p->plan.staged, path, &name);
	if (dir == -1 || fchmodat(dir, name, t->entry.mode, 0) == -1)
		return fault_system(p->f, path);
	return put(p, path, s, t, ACTION_MERGED, false, false) == -1 ? -1 : 1;
}

/* Changed here and there, and not to the same. */
static int
decide_conflict(struct merge_plan *p, struct span path, struct target *t,
    const struct entry *s)
{
	bool folder = t->kind == TARGET_ENTRY && t->entry.type == ENTRY_DIR;

	if (p->m->policy == CONFLICT_TARGET) {
		if (s->type == ENTRY_DIR && folder)
			return merge_step(p, STEP_NONE, path, ACTION_KEPT,
			    HELD_NONE, true, false);
		if (s->type == ENTRY_DIR &&
		    set_region(p, REGION_KEPT, path) == -1)
			return -1;
		return save_source(p, path, ACTION_KEPT, HELD_NONE);
	}
	if (s->type == ENTRY_DIR)
		return put_folder(p, path, s, t, true, true);
	if (folder)
		return put_over_folder(p, path, s, t, false);
	return put(p, path, s, t, ACTION_APPLIED, true, true);
}

static int
decide_present(struct merge_plan *p, struct span path, struct target *t,
    const struct entry *b, const struct entry *s)
{
	int same, got;

	if ((same = target_is(p, path, t, s)) != 0)
		return same == -1 ? -1 : 0;
	if (p->m->links_inside && s->type == ENTRY_LINK &&
	    !link_is_inside(path, s->target))
		return save_source(p, path, ACTION_HELD, HELD_LINK);
	if (t->kind == TARGET_BLOCKED)
		return save_source(p, path, ACTION_HELD, HELD_PARENT);
	if (t->kind == TARGET_NONE)
		return put(p, path, s, t, ACTION_APPLIED, false, b != NULL);
	if ((same = target_is(p, path, t, b)) == -1)
		return -1;
	if (same == 1) {
		if (s->type == ENTRY_DIR)
			return put_folder(p, path, s, t, false, false);
		if (t->entry.type == ENTRY_DIR)
			return put_over_folder(p, path, s, t, true);
		return put(p, path, s, t, ACTION_APPLIED, false, false);
	}
	if ((got = merge_mode_and_content(p, path, t, b, s)) != 0)
		return got == -1 ? -1 : 0;
	return decide_conflict(p, path, t, s);
}

int
merge_decide(struct merge_plan *p, struct span path,
    const struct entry *before, const struct entry *source)
{
	enum region region = region_of(p, path);
	struct target t;

	if (before != NULL && source != NULL && entry_equal(before, source))
		return 0;
	if (target_look(p, path, &t) == -1)
		return -1;
	if (region == REGION_KEPT && source != NULL)
		return save_source(p, path, ACTION_KEPT, HELD_NONE);
	if (region == REGION_VOID || region == REGION_MOVED)
		t.kind = TARGET_NONE;
	return source == NULL ? decide_deleted(p, path, &t, before) :
	    decide_present(p, path, &t, before, source);
}

/* --- all paths of the delta --- */

/* The delta's next path, from whichever list has the lesser. */
static int
next_path(struct merge_plan *p, struct span *path,
    const struct entry **source)
{
	struct span deleted;
	bool failed;
	const struct entry *e = manifest_peek(p->lines, p->f, &failed);
	int has = failed ? -1 : path_list_peek(p->deleted, &deleted);

	*source = NULL;
	if (has == -1)
		return fault_system(p->f, span_of("deletions"));
	if (e == NULL && has == 0)
		return 0;
	if (e != NULL && (has == 0 || path_compare(e->path, deleted) < 0)) {
		*path = e->path;
		*source = e;
	} else {
		*path = deleted;
	}
	return 1;
}

/* The baseline's entry at path, NULL when it has none. */
static const struct entry *
base_at(struct merge_plan *p, struct span path, bool *failed)
{
	const struct entry *e;
	int order;

	while ((e = manifest_peek(p->base, p->f, failed)) != NULL) {
		order = path_compare(e->path, path);
		if (order >= 0)
			return order == 0 ? e : NULL;
		manifest_next(p->base);
	}
	return NULL;
}

static void
next(struct merge_plan *p, const struct entry *source)
{
	if (source != NULL)
		manifest_next(p->lines);
	else
		path_list_next(p->deleted);
}

int
merge_plan_all(struct merge_plan *p)
{
	const struct entry *before, *source;
	struct span path, top, rest;
	struct buf unit = { .data = NULL };
	bool failed;
	int got;

	while ((got = next_path(p, &path, &source)) == 1) {
		before = base_at(p, path, &failed);
		if (failed) {
			got = -1;
			break;
		}
		if (!git_unit(path, &top, &rest)) {
			got = merge_decide(p, path, before, source);
			next(p, source);
		} else {
			got = keep_path(p, &unit, top);
			if (got == 0)
				got = merge_repository(p, buf_span(&unit));
		}
		if (got == -1)
			break;
	}
	buf_free(&unit);
	return got;
}
