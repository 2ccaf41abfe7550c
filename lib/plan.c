#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "path_list.h"
#include "plan.h"
#include "receive.h"
#include "walk.h"

/* Before anything is done: whether we may rename in folder at all. */
static int
check_access(struct plan *p, struct span folder, const struct stat *st)
{
	int dir;

	if (st->st_uid == geteuid())
		return 0;
	dir = beneath_dir(p->tree, folder);
	return dir == -1 || faccessat(dir, ".", W_OK | X_OK,
	    AT_EACCESS) == -1 ? fault_system(p->f, folder) : 0;
}

int
plan_open(struct plan *p)
{
	struct stat st;

	p->tree = beneath_open(p->root);
	p->staged = beneath_open(p->new);
	p->folders = modes_open(p->modes);
	if (p->tree == NULL || p->staged == NULL || p->folders == NULL ||
	    fstat(p->root, &st) == -1)
		return fault_system(p->f, span_of("."));
	p->device = st.st_dev;
	return check_access(p, (struct span){ NULL, 0 }, &st);
}

void
plan_free(struct plan *p)
{
	beneath_free(p->tree);
	beneath_free(p->staged);
	modes_free(p->folders);
	buf_free(&p->way);
}

static int
add(struct plan *p, const struct journal_record *r)
{
	return journal_add(p->out, r) == -1 ?
	    fault_system(p->f, span_of("journal")) : 0;
}

static int
add_step(struct plan *p, enum step step, struct span path, unsigned mode)
{
	struct journal_record r = { .path = path, .step = step, .mode = mode };

	return add(p, &r);
}

/* What path is in one of the two trees: 1, 0 for nothing, -1 with f. */
static int
look_in(struct plan *p, struct beneath *tree, struct span path,
    struct stat *st)
{
	const char *name;
	int dir = beneath_parent(tree, path, &name);

	if (dir != -1 && fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 :
	    fault_system(p->f, path);
}

static int
look(struct plan *p, struct span path, struct stat *st)
{
	return look_in(p, p->tree, path, st);
}

/* Whether folder has had its turn, on the way to where we are. */
static int
is_opened(struct plan *p, struct span folder)
{
	struct span way = buf_span(&p->way);

	while (p->nopened > 0) {
		way.n = p->opened[p->nopened - 1];
		if (path_is_below(folder, way))
			break;
		p->nopened--;
	}
	if (p->nopened > 0 && way.n == folder.n)
		return 1;
	if (p->nopened == BENEATH_DEPTH_MAX) {
		errno = ENAMETOOLONG;
		return fault_system(p->f, folder);
	}
	p->opened[p->nopened++] = folder.n;
	return buf_set(&p->way, folder) == -1 ? fault_system(p->f, folder) : 0;
}

int
plan_open_parent(struct plan *p, struct span path)
{
	struct span parent = path_parent(path);
	struct journal_record r = { .path = parent, .step = STEP_MODE };
	struct stat st;
	int got;

	if (parent.n == 0)
		return 0;
	if ((got = is_opened(p, parent)) != 0)
		return got == -1 ? -1 : 0;
	if ((got = look(p, parent, &st)) != 1)
		return got;
	if (st.st_dev != p->device)
		return fault_input(p->f, parent, "on another file system");
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (check_access(p, parent, &st) == -1)
		return -1;
	if ((st.st_mode & 0700) == 0700)
		return 0;
	/* At the end as it was, if it is still there. */
	r.mode = st.st_mode & 07777;
	r.seen.ino = st.st_ino;
	return add(p, &r);
}

/* --- what goes --- */

static int
take(struct plan *p, struct span path)
{
	return plan_open_parent(p, path) == -1 ? -1 :
	    add_step(p, STEP_TAKE, path, 0);
}

int
plan_clean_whole(struct plan *p)
{
	int fd = openat(p->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *e;
	int got = 0;

	if (d == NULL) {
		io_close(fd);
		return fault_system(p->f, span_of("."));
	}
	while (got == 0 && (errno = 0, e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0 &&
		    scope_has(p->scope, span_of(e->d_name)))
			got = take(p, span_of(e->d_name));
	if (got == 0 && errno != 0)
		got = fault_system(p->f, span_of("."));
	closedir(d);
	return got;
}

/* What is staged at the same place is dealt with by its own step. */
static int
take_unless_staged(struct plan *p, const struct walk_entry *e)
{
	struct stat st;
	int got = look_in(p, p->staged, e->path, &st);

	if (got != 0)
		return got == -1 ? -1 : 0;
	return e->type == WALK_DIR ? add_step(p, STEP_EMPTY, e->path, 0) :
	    take(p, e->path);
}

int
plan_clean_entries(struct plan *p)
{
	struct span none = { NULL, 0 };
	struct walk *w = walk_open(p->root, none, p->scope, false);
	struct walk_entry e;
	enum walk_result r;
	int got = 0;

	if (w == NULL)
		return fault_system(p->f, span_of("."));
	while (got == 0 && (r = walk_next(w, &e)) != WALK_END) {
		if (r == WALK_FAILED)
			got = fault_system(p->f, e.path);
		else
			got = take_unless_staged(p, &e);
	}
	walk_free(w);
	return got;
}

static int
delete_entry(struct plan *p, struct span path)
{
	struct stat st;
	int got = look(p, path, &st);

	if (got != 1)
		return got;
	if (S_ISDIR(st.st_mode))
		return plan_open_parent(p, path) == -1 ? -1 :
		    add_step(p, STEP_EMPTY, path, 0);
	return take(p, path);
}

int
plan_delete_list(struct plan *p, int deleted)
{
	struct path_list *l = path_list_open(deleted);
	struct span path;
	int got = 0, is = 0;

	if (l == NULL)
		return fault_system(p->f, span_of("deletions"));
	while (got == 0 && (is = path_list_peek(l, &path)) == 1) {
		got = delete_entry(p, path);
		path_list_next(l);
	}
	if (is == -1)
		got = fault_system(p->f, span_of("deletions"));
	path_list_free(l);
	return got;
}

int
plan_delete(struct plan *p, struct manifest *before, struct manifest *after)
{
	const struct entry *b, *a;
	bool failed;
	int order;

	for (;;) {
		b = manifest_peek(before, p->f, &failed);
		if (failed)
			return -1;
		if (b == NULL)
			return 0;
		a = manifest_peek(after, p->f, &failed);
		if (failed)
			return -1;
		order = a == NULL ? -1 : path_compare(b->path, a->path);
		if (order < 0 && delete_entry(p, b->path) == -1)
			return -1;
		if (order <= 0)
			manifest_next(before);
		if (order >= 0)
			manifest_next(after);
	}
}

/* --- what comes --- */

bool
plan_staged_mode(const struct plan *p, struct span path,
    const struct stat *staged, unsigned *mode)
{
	struct folder_mode m = { .implied = false };

	*mode = staged->st_mode & 0777;
	/* With the sticky bit, the file of modes knows. */
	if ((staged->st_mode & 01000) && modes_find(p->folders, path, &m))
		*mode = m.mode;
	return !m.implied;
}

/* Entries that are not the archive's to replace, below a folder. */
static int
refuse_excluded(struct plan *p, struct span path)
{
	int dir = beneath_dir(p->tree, path), held;

	held = dir == -1 ? -1 : walk_has_excluded(dir, path, p->scope);
	if (held == 1)
		return fault_input(p->f, path,
		    "cannot be replaced: excluded entries are in it");
	return held == -1 ? fault_system(p->f, path) : 0;
}

/*
 * A folder where the target has one: only its mode, and before what is in it,
 * since who opens the folder gives the old mode back before this one is set.
 * One that no member named keeps the mode it has there.
 */
static int
put_folder(struct plan *p, struct span path, const struct stat *staged,
    const struct stat *there)
{
	unsigned mode;

	if (!plan_staged_mode(p, path, staged, &mode) ||
	    mode == (there->st_mode & 07777))
		return 0;
	return plan_open_parent(p, path) == -1 ? -1 :
	    add_step(p, STEP_MODE, path, mode);
}

/* 1 when it moved with all that is below it, 0, -1. */
static int
put_entry(struct plan *p, struct walk_entry *e, bool empty)
{
	struct stat there;
	unsigned mode;
	int got = empty ? 0 : look(p, e->path, &there);

	if (got == -1)
		return -1;
	if (e->type == WALK_DIR) {
		if (got == 1 && S_ISDIR(there.st_mode))
			return put_folder(p, e->path, &e->st, &there);
		if (got == 1 && !plan_staged_mode(p, e->path, &e->st, &mode))
			return fault_input(p->f, e->path, "is a link, or no "
			    "folder, and the archive does not replace it");
	} else if (got == 1 && S_ISDIR(there.st_mode) &&
	    refuse_excluded(p, e->path) == -1) {
		return -1;
	}
	if ((!empty && plan_open_parent(p, e->path) == -1) ||
	    add_step(p, STEP_PUT, e->path, 0) == -1)
		return -1;
	return e->type == WALK_DIR;
}

/*
 * The folders that came whole, whose modes were put off.  What had the name
 * of one, and is none any more, is not meant.
 */
static int
put_modes(struct plan *p, bool empty)
{
	struct folder_mode m;
	struct stat st;
	int got, there;

	while ((got = modes_next(p->folders, &m)) == 1) {
		if ((there = look_in(p, p->staged, m.path, &st)) == -1)
			return -1;
		if (there == 0 || !S_ISDIR(st.st_mode) ||
		    !(st.st_mode & 01000))
			continue;
		if (!empty && (there = look(p, m.path, &st)) == -1)
			return -1;
		if (!empty && there == 1 && S_ISDIR(st.st_mode))
			continue;
		if (add_step(p, STEP_MODE, m.path, m.mode) == -1)
			return -1;
	}
	return got == -1 ? fault_system(p->f, span_of("modes")) : 0;
}

int
plan_put(struct plan *p, bool empty)
{
	static const struct scope all;
	struct span none = { NULL, 0 };
	struct walk *w = walk_open(p->new, none, &all, false);
	struct walk_entry e;
	enum walk_result r;
	int got = 0;

	if (w == NULL)
		return fault_system(p->f, span_of("staging"));
	while (got != -1 && (r = walk_next(w, &e)) != WALK_END) {
		if (r == WALK_FAILED)
			got = fault_system(p->f, e.path);
		else if ((got = put_entry(p, &e, empty)) == 1)
			walk_skip(w);
	}
	walk_free(w);
	return got == -1 ? -1 : put_modes(p, empty);
}
