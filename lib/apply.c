#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply.h"
#include "beneath.h"
#include "copy.h"
#include "entry.h"
#include "io.h"
#include "mode.h"
#include "rename.h"

struct applying {
	const struct apply *a;
	struct beneath *tree, *new, *saved;
	int new_dir, old_dir, saved_dir;
	struct span run;
	struct fault *f;
};

/* Where displaced entries of a step go, and whether one is there. */
static void
old_name(const struct journal_record *r, char name[static 24])
{
	snprintf(name, 24, "%" PRIu64, r->number);
}

/* 1, 0, or -1 with errno: what cannot be looked at is not absent. */
static int
exists(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT ? 0 : -1;
}

static bool
no_such_parent(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

static int
step_fault(struct applying *k, const struct journal_record *r)
{
	return fault_system(k->f, r->path);
}

static bool
same_as_seen(const struct stat *st, const struct seen *seen)
{
	return st->st_ino == seen->ino &&
	    (S_ISDIR(st->st_mode) ||
	    ((uint64_t)st->st_size == seen->size &&
	    stat_mtime_ns(st) == seen->mtime_ns));
}

/*
 * A rename, also of a folder that its owner may not write: that would change
 * what its ".." is.  Its mode comes with it.
 */
static int
move(int from, const char *name, int to, const char *as,
    int (*rename_at)(int, const char *, int, const char *))
{
	struct stat st;
	int got = rename_at(from, name, to, as), saved;

	if (got == 0 || errno != EACCES ||
	    fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
	    !S_ISDIR(st.st_mode) || (st.st_mode & 0200))
		return got;
	if (mode_set_at(from, name, (st.st_mode & 07777) | 0700) == -1)
		return -1;
	got = rename_at(from, name, to, as);
	saved = errno;
	(void)mode_set_at(got == 0 ? to : from, got == 0 ? as : name,
	    st.st_mode & 07777);
	errno = saved;
	return got;
}

/* --- the conflicts folder --- */

static int
open_saved(struct applying *k)
{
	char run[80];
	int dir, fd;

	if (k->saved != NULL)
		return 0;
	snprintf(run, sizeof(run), "%.*s", (int)k->run.n, k->run.p);
	if (mkdirat(k->a->runtime, CONFLICTS, 0700) == -1 && errno != EEXIST)
		return -1;
	dir = openat(k->a->runtime, CONFLICTS,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir == -1)
		return -1;
	if (mkdirat(dir, run, 0700) == -1 && errno != EEXIST) {
		io_close(dir);
		return -1;
	}
	fd = openat(dir, run, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	io_close(dir);
	if (fd == -1)
		return -1;
	k->saved_dir = fd;
	k->saved = beneath_open(fd);
	return k->saved == NULL ? -1 : 0;
}

/* The part of path that names something saved that is no folder: 0, or -1. */
static int
saved_in_the_way(struct applying *k, struct span path, struct span *way)
{
	struct span part = { path.p, 0 };
	const char *name;
	struct stat st;
	int dir;

	for (part.n = 1; part.n < path.n; part.n++) {
		if (path.p[part.n] != '/')
			continue;
		if ((dir = beneath_parent(k->saved, part, &name)) == -1 ||
		    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
			return -1;
		if (!S_ISDIR(st.st_mode)) {
			*way = part;
			return 0;
		}
	}
	errno = ENOTDIR;
	return -1;
}

/*
 * Where path is to be saved, as beneath_parent_made().  A file of the host's
 * may have been saved where the source has a folder: that is beside it then.
 */
static int
saved_parent(struct applying *k, struct span path, const char **to)
{
	char other[BENEATH_PATH_MAX + 8];
	struct span way, name;
	int dir, i;

	if (open_saved(k) == -1)
		return -1;
	dir = beneath_parent_made(k->saved, path, 0700, to);
	if (dir != -1 || (errno != ENOTDIR && errno != ELOOP))
		return dir;
	if (saved_in_the_way(k, path, &way) == -1)
		return -1;
	name = path_name(way);
	for (i = 1; dir == -1 && i < 1000 && (errno == ENOTDIR ||
	    errno == ELOOP); i++) {
		snprintf(other, sizeof(other), "%.*s%.*s.%d%.*s",
		    (int)(way.n - name.n), way.p,
		    name.n < 200 ? (int)name.n : 200, name.p, i,
		    (int)(path.n - way.n), path.p + way.n);
		dir = beneath_parent_made(k->saved, span_of(other), 0700, to);
	}
	return dir;
}

/* Moves dir's name to the conflicts folder, beside what is there already. */
static int
save(struct applying *k, int dir, const char *name, struct span path)
{
	char other[ENTRY_NAME_MAX + 24];
	const char *to;
	int saved, i;

	if ((saved = saved_parent(k, path, &to)) == -1)
		return -1;
	if (move(dir, name, saved, to, rename_noreplace_anyhow) == 0)
		return 0;
	for (i = 1; errno == EEXIST && i < 1000; i++) {
		snprintf(other, sizeof(other), "%.200s.%d", to, i);
		if (move(dir, name, saved, other,
		    rename_noreplace_anyhow) == 0)
			return 0;
	}
	return -1;
}

/* --- single steps --- */

/*
 * Whether a displaced file is as it was seen, and stays so: who has it open
 * for writing denies us a lease (fcntl(2), F_SETLEASE), and by its name
 * nobody can open it any more.  Where there are no leases, for another user's
 * file, or one that may not be read, it is taken to stay so.  1, 0, or -1.
 */
static int
is_settled(const struct journal_record *r, int dir, const char *name)
{
	struct stat st;
	int got = 1, fd = openat(dir, name, O_RDONLY | O_NOFOLLOW |
	    O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd == -1)
		return errno == EACCES ? 1 : -1;
	/* Who opens a hard link of it meanwhile is told of by a signal that
	 * is ignored, and waits until the file is closed here. */
	if (fcntl(fd, F_SETSIG, SIGURG) == 0 &&
	    fcntl(fd, F_SETLEASE, F_RDLCK) == -1 && errno == EAGAIN)
		got = 0;
	if (fstat(fd, &st) == -1)
		got = -1;
	else if (!same_as_seen(&st, &r->seen))
		got = 0;
	io_close(fd);
	return got;
}

/* Gives up a displaced entry, or keeps it if it is not what was seen. */
static int
dispose(struct applying *k, const struct journal_record *r, int dir,
    const char *name, bool as_seen)
{
	char old[24];
	struct stat st;
	bool keep = (r->flags & JOURNAL_KEEP) != 0;
	int settled;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : -1;
	if ((r->flags & JOURNAL_CAREFUL) && !keep && as_seen &&
	    S_ISREG(st.st_mode)) {
		if ((settled = is_settled(r, dir, name)) == -1)
			return -1;
		as_seen = settled == 1;
	}
	/* A folder's entries were taken before it; what is left came since. */
	if ((r->flags & JOURNAL_CAREFUL) && !keep && (!as_seen ||
	    (S_ISDIR(st.st_mode) &&
	    unlinkat(dir, name, AT_REMOVEDIR) == -1))) {
		if (k->a->surprise != NULL)
			k->a->surprise(k->a->arg, r->path, true);
		keep = true;
	}
	if (keep)
		return save(k, dir, name, r->path);
	if (!S_ISDIR(st.st_mode))
		return unlinkat(dir, name, 0) == -1 && errno != ENOENT ?
		    -1 : 0;
	old_name(r, old);
	if (move(dir, name, k->old_dir, old, renameat) == -1 && errno != ENOENT)
		return -1;
	return 0;
}

/* Puts name in its place and what was there in name's: by one call, or two. */
static int
exchange(struct applying *k, const struct journal_record *r, int from,
    const char *staged, int to, const char *name)
{
	char old[24];

	/* What is there may be such a folder; what is staged is none. */
	if (move(to, name, from, staged, rename_exchange) == 0)
		return 0;
	if (errno != ENOSYS)
		return -1;
	old_name(r, old);
	if (move(to, name, k->old_dir, old, renameat) == -1 ||
	    rename_noreplace_anyhow(from, staged, to, name) == -1)
		return -1;
	return move(k->old_dir, old, from, staged, renameat);
}

static int
put_careful(struct applying *k, const struct journal_record *r, int from,
    const char *staged, int to, const char *name)
{
	struct stat st;
	bool as_seen = true;

	if (fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		if (errno != ENOENT)
			return -1;
		if (rename_noreplace_anyhow(from, staged, to, name) == 0)
			return 0;
		if (errno != EEXIST ||
		    fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
			return -1;
	}
	if (st.st_ino != r->staged_ino) {
		/* A folder changed when what was in it was taken. */
		as_seen = same_as_seen(&st, &r->seen) &&
		    (S_ISDIR(st.st_mode) ||
		    stat_ctime_ns(&st) == r->seen.ctime_ns);
		if (exchange(k, r, from, staged, to, name) == -1)
			return -1;
	}
	if (S_ISDIR(st.st_mode))
		beneath_forget(k->tree, r->path);
	/* What came out is looked at again: it may have changed meanwhile. */
	if (fstatat(from, staged, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : -1;
	return dispose(k, r, from, staged,
	    as_seen && same_as_seen(&st, &r->seen));
}

/* Whatever is there makes room, in one rename where that can be. */
static int
put_plainly(struct applying *k, const struct journal_record *r, int from,
    const char *staged, int to, const char *name)
{
	char old[24];
	struct stat there, here;
	int got;

	if (fstatat(from, staged, &here, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	got = fstatat(to, name, &there, AT_SYMLINK_NOFOLLOW);
	if (got == -1 && errno != ENOENT)
		return -1;
	if (got == 0 && (S_ISDIR(there.st_mode) || S_ISDIR(here.st_mode))) {
		old_name(r, old);
		if (move(to, name, k->old_dir, old, renameat) == -1)
			return -1;
		beneath_forget(k->tree, r->path);
	}
	return renameat(from, staged, to, name);
}

static int
step_put(struct applying *k, const struct journal_record *r)
{
	const char *staged, *name;
	int from, to, got;

	from = beneath_parent(k->new, r->path, &staged);
	if (from == -1 && no_such_parent(errno))
		return 0;
	if (from == -1)
		return step_fault(k, r);
	if ((got = exists(from, staged)) != 1)
		return got == -1 ? step_fault(k, r) : 0;
	to = beneath_parent_made(k->tree, r->path, 0755, &name);
	if (to == -1 && no_such_parent(errno) &&
	    (r->flags & JOURNAL_CAREFUL)) {
		if (k->a->surprise != NULL)
			k->a->surprise(k->a->arg, r->path, false);
		return save(k, from, staged, r->path) == -1 ?
		    step_fault(k, r) : 0;
	}
	if (to == -1)
		return step_fault(k, r);
	got = r->flags & JOURNAL_CAREFUL ?
	    put_careful(k, r, from, staged, to, name) :
	    put_plainly(k, r, from, staged, to, name);
	beneath_forget(k->new, r->path);
	return got == -1 ? step_fault(k, r) : 0;
}

/* Put back: it is not what the plan wanted to take. */
static int
take_back(struct applying *k, const struct journal_record *r,
    const char *old, int dir, const char *name)
{
	if (k->a->surprise != NULL)
		k->a->surprise(k->a->arg, r->path, true);
	if (move(k->old_dir, old, dir, name, rename_noreplace_anyhow) == 0)
		return 0;
	return save(k, k->old_dir, old, r->path);
}

static int
step_take(struct applying *k, const struct journal_record *r)
{
	char old[24];
	const char *name;
	struct stat st;
	int dir, settled, there;

	old_name(r, old);
	dir = beneath_parent(k->tree, r->path, &name);
	if (dir == -1)
		return no_such_parent(errno) ? 0 : step_fault(k, r);
	/* A step that was taken has left something in `old`. */
	if ((there = exists(k->old_dir, old)) == -1)
		return step_fault(k, r);
	if (there == 0) {
		if (move(dir, name, k->old_dir, old, renameat) == 0) {
			beneath_forget(k->tree, r->path);
		} else if (errno != ENOENT ||
		    mknodat(k->old_dir, old, S_IFREG | 0600, 0) == -1) {
			return step_fault(k, r);
		} else {
			return 0;
		}
	}
	if (!(r->flags & JOURNAL_CAREFUL))
		return 0;
	if (fstatat(k->old_dir, old, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return step_fault(k, r);
	if (st.st_size == 0 && st.st_ino != r->seen.ino && S_ISREG(st.st_mode)
	    && (st.st_mode & 07777) == 0600 &&
	    (there = exists(dir, name)) != 1)	/* our own mark */
		return there == -1 ? step_fault(k, r) : 0;
	settled = !same_as_seen(&st, &r->seen) ? 0 : !S_ISREG(st.st_mode) ?
	    1 : is_settled(r, k->old_dir, old);
	if (settled == -1)
		return step_fault(k, r);
	if (settled == 0)
		return take_back(k, r, old, dir, name) == -1 ?
		    step_fault(k, r) : 0;
	if ((r->flags & JOURNAL_KEEP) &&
	    save(k, k->old_dir, old, r->path) == -1)
		return step_fault(k, r);
	return 0;
}

/* The folder, usable by us until it gets its mode at the end. */
static int
step_make(struct applying *k, const struct journal_record *r)
{
	const char *name;
	int dir = beneath_parent_made(k->tree, r->path, 0755, &name);

	if (dir == -1 && no_such_parent(errno))
		return 0;
	if (dir == -1 || (mkdirat(dir, name, r->mode | 0700) == -1 &&
	    errno != EEXIST))
		return step_fault(k, r);
	return 0;
}

static int
step_mode(struct applying *k, const struct journal_record *r, bool last)
{
	const char *name;
	struct stat st;
	unsigned mode = r->mode;
	int dir = beneath_parent(k->tree, r->path, &name);

	if (dir == -1)
		return no_such_parent(errno) ? 0 : step_fault(k, r);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : step_fault(k, r);
	/* A mode that is given back is one entry's, not its successor's. */
	if (r->seen.ino != 0 && r->seen.ino != st.st_ino)
		return 0;
	if (!last) {
		if (!S_ISDIR(st.st_mode) || (st.st_mode & 0700) == 0700)
			return 0;
		mode = (st.st_mode & 07777) | 0700;
	}
	return mode_set_at(dir, name, mode) == -1 && errno != ENOENT ?
	    step_fault(k, r) : 0;
}

static int
step_empty(struct applying *k, const struct journal_record *r)
{
	const char *name;
	int dir;

	beneath_forget(k->tree, r->path);
	dir = beneath_parent(k->tree, r->path, &name);
	if (dir == -1)
		return no_such_parent(errno) ? 0 : step_fault(k, r);
	if (unlinkat(dir, name, AT_REMOVEDIR) == -1 && errno != ENOENT &&
	    errno != ENOTEMPTY && errno != ENOTDIR && errno != EEXIST)
		return step_fault(k, r);
	return 0;
}

static int
step_save(struct applying *k, const struct journal_record *r)
{
	const char *staged;
	struct stat st;
	int from = beneath_parent(k->new, r->path, &staged);

	if (from == -1)
		return no_such_parent(errno) ? 0 : step_fault(k, r);
	if (fstatat(from, staged, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : step_fault(k, r);
	if (S_ISDIR(st.st_mode)) {
		/* What is in it has steps of its own. */
		const char *to;
		int dir;

		if ((dir = saved_parent(k, r->path, &to)) == -1 ||
		    (mkdirat(dir, to, 0700) == -1 && errno != EEXIST))
			return step_fault(k, r);
		return 0;
	}
	return save(k, from, staged, r->path) == -1 ? step_fault(k, r) : 0;
}

static int
step_copy(struct applying *k, const struct journal_record *r)
{
	const char *name, *to;
	int from = beneath_parent(k->tree, r->path, &name), dir, there;

	if (from == -1)
		return no_such_parent(errno) ? 0 : step_fault(k, r);
	if ((dir = saved_parent(k, r->path, &to)) == -1)
		return step_fault(k, r);
	if ((there = exists(dir, to)) != 0)
		return there == -1 ? step_fault(k, r) : 0;
	return copy_entry(from, name, k->old_dir, "copy", dir, to) == -1 &&
	    errno != ENOENT ? step_fault(k, r) : 0;
}

/* --- all of them --- */

static int
forward(struct applying *k, const struct journal_record *r)
{
	switch (r->step) {
	case STEP_PUT:
		return step_put(k, r);
	case STEP_TAKE:
		return step_take(k, r);
	case STEP_MAKE:
		return step_make(k, r);
	case STEP_MODE:
		return step_mode(k, r, false);
	case STEP_SAVE:
		return step_save(k, r);
	case STEP_COPY:
		return step_copy(k, r);
	case STEP_DROP:
		return step_empty(k, r);
	case STEP_NONE:
	case STEP_EMPTY:
		break;
	}
	return 0;
}

static int
backward(struct applying *k, const struct journal_record *r)
{
	if (r->step == STEP_MODE || r->step == STEP_MAKE)
		return step_mode(k, r, true);
	if (r->step == STEP_EMPTY)
		return step_empty(k, r);
	return 0;
}

static int
open_folders(struct applying *k)
{
	const struct apply *a = k->a;
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

	if (mkdirat(a->staging, STAGE_OLD, 0700) == -1 && errno != EEXIST)
		return -1;
	if (mkdirat(a->staging, STAGE_NEW, 0700) == -1 && errno != EEXIST)
		return -1;
	k->new_dir = openat(a->staging, STAGE_NEW, flags);
	k->old_dir = openat(a->staging, STAGE_OLD, flags);
	if (k->new_dir == -1 || k->old_dir == -1)
		return -1;
	k->tree = beneath_open(a->root);
	k->new = beneath_open(k->new_dir);
	return k->tree == NULL || k->new == NULL ? -1 : 0;
}

int
apply_journal(const struct apply *a, struct journal *j, struct fault *f)
{
	struct applying k = { .a = a, .new_dir = -1, .old_dir = -1,
	    .saved_dir = -1, .run = journal_run(j), .f = f };
	struct journal_record r;
	int got = 0, result = 0;

	if (open_folders(&k) == -1) {
		result = fault_system(f, span_of("staging"));
		goto out;
	}
	journal_to_start(j);
	while (result == 0 && (got = journal_next(j, &r)) == 1)
		result = forward(&k, &r);
	if (result == 0 && got == 0) {
		journal_to_end(j);
		while ((got = journal_previous(j, &r)) == 1)
			if (backward(&k, &r) == -1)
				result = -1;
	}
	if (result == 0 && got == -1)
		result = fault_system(f, span_of("journal"));
out:
	beneath_free(k.tree);
	beneath_free(k.new);
	beneath_free(k.saved);
	io_close(k.new_dir);
	io_close(k.old_dir);
	io_close(k.saved_dir);
	return result;
}
