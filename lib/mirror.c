#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "copy.h"
#include "io.h"
#include "mirror.h"
#include "mode.h"
#include "stage.h"
#include "tree.h"

#define MIRROR_STAGE	"mirroring"
#define CHUNK		65536

struct mirroring {
	const struct mirror *m;
	struct fault *f;
	struct stage stage;
	struct beneath *from, *to;
};

static int
fail(struct mirroring *k, struct span path)
{
	return fault_system(k->f, path);
}

/* An entry of one side: 1, 0 for none, -1. */
static int
look(struct mirroring *k, struct beneath *side, struct span path,
    struct stat *st)
{
	const char *name;
	int dir = beneath_parent(side, path, &name);

	if (dir != -1 && fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 :
	    fail(k, path);
}

/* Whether the copy there has the same bytes: 1, 0, -1. */
static int
same_bytes(struct mirroring *k, const struct walk_entry *at, int dir,
    const char *name)
{
	char a[CHUNK], b[CHUNK];
	ssize_t n = -1, m = -1;
	int one, other;

	one = openat(at->dir, at->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);
	other = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);
	while (one != -1 && other != -1 &&
	    (n = io_read_full(one, a, sizeof(a))) > 0 &&
	    (m = io_read_full(other, b, sizeof(b))) == n &&
	    memcmp(a, b, (size_t)n) == 0)
		;
	if (n == 0)
		m = io_read_full(other, b, sizeof(b));
	if (one == -1 || n == -1)
		n = fail(k, at->path);
	io_close(one);
	io_close(other);
	return n == -1 ? -1 : n == 0 && m == 0;
}

/* Room for an entry of another type, unless others' entries are in it. */
static int
clear(struct mirroring *k, struct span path)
{
	int there = beneath_dir(k->to, path), held = 0, dir;
	const char *name;

	if (there != -1)
		held = walk_has_excluded(there, path, k->m->scope);
	if (held == 1)
		return fault_input(k->f, path,
		    "cannot be replaced: excluded entries are in it");
	if (held == -1)
		return fail(k, path);
	beneath_forget(k->to, path);
	if ((dir = beneath_parent(k->to, path, &name)) == -1)
		return fail(k, path);
	return beneath_remove_tree(dir, name) == -1 ? fail(k, path) : 0;
}

/* A folder of the source, there for us to write into. */
static int
mirror_folder(struct mirroring *k, const struct found *e)
{
	const char *name;
	struct stat st;
	int dir = beneath_parent(k->to, e->entry.path, &name);

	if (dir == -1)
		return fail(k, e->entry.path);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st.st_mode)) {
			if ((st.st_mode & 0700) == 0700)
				return 0;
			return mode_set_at(dir, name, (st.st_mode & 0777) |
			    0700) == -1 ? fail(k, e->entry.path) : 0;
		}
		if (clear(k, e->entry.path) == -1 ||
		    (dir = beneath_parent(k->to, e->entry.path, &name)) == -1)
			return -1;
	} else if (errno != ENOENT) {
		return fail(k, e->entry.path);
	}
	notice(k->m->notices, NOTICE_NAME, e->entry.path, NULL);
	return mkdirat(dir, name, e->entry.mode | 0700) == -1 ?
	    fail(k, e->entry.path) : 0;
}

/* 1 when the copy there is as good: then it only gets the mode. */
static int
is_same(struct mirroring *k, struct found *e, int dir, const char *name,
    const struct stat *st)
{
	char target[ENTRY_TARGET_MAX + 1];
	ssize_t n;

	if (e->entry.type == ENTRY_LINK) {
		n = S_ISLNK(st->st_mode) ? readlinkat(dir, name, target,
		    sizeof(target)) : -1;
		return n >= 0 && span_equal(e->entry.target, (struct span){
		    target, (size_t)n });
	}
	if (!S_ISREG(st->st_mode) ||
	    (uint64_t)st->st_size != e->entry.size ||
	    stat_mtime_ns(st) != e->entry.mtime_ns)
		return 0;
	return k->m->checksum ? same_bytes(k, &e->at, dir, name) : 1;
}

static int
mirror_other(struct mirroring *k, struct found *e)
{
	struct span path = e->entry.path;
	const char *name;
	struct stat st;
	int dir = beneath_parent(k->to, path, &name), same;

	if (dir == -1)
		return fail(k, path);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if ((same = is_same(k, e, dir, name, &st)) == -1)
			return -1;
		if (same == 1) {
			if (e->entry.type == ENTRY_LINK ||
			    (st.st_mode & 07777) == e->entry.mode)
				return 0;
			return mode_set_at(dir, name, e->entry.mode) == -1 ?
			    fail(k, path) : 0;
		}
		if (S_ISDIR(st.st_mode) && (clear(k, path) == -1 ||
		    (dir = beneath_parent(k->to, path, &name)) == -1))
			return -1;
	} else if (errno != ENOENT) {
		return fail(k, path);
	}
	notice(k->m->notices, NOTICE_NAME, path, NULL);
	return copy_entry(e->at.dir, e->at.name, k->stage.new, "copy", dir,
	    name) == -1 && errno != ENOENT ? fail(k, path) : 0;
}

static int
copy_all(struct mirroring *k)
{
	struct span none = { NULL, 0 };
	struct walk *w = walk_open(k->m->from, none, k->m->scope, false);
	struct found e;
	int got;

	if (w == NULL)
		return fail(k, span_of("."));
	while ((got = tree_next(w, &e, k->m->notices, k->f)) == 1) {
		got = e.entry.type == ENTRY_DIR ? mirror_folder(k, &e) :
		    mirror_other(k, &e);
		if (got == -1)
			break;
	}
	walk_free(w);
	return got;
}

/*
 * What the source lacks, and then the modes of folders: both deepest first.
 * So each folder has its end when the walk has left it.
 */
struct ways {
	struct buf path;	/* of the deepest that the walk is in */
	size_t n;
	size_t len[BENEATH_DEPTH_MAX];		/* of each on the way to it */
	unsigned mode[BENEATH_DEPTH_MAX];	/* before the walk came */
};

/* The folder's end: its mode, or it goes when it is not the source's. */
static int
end_folder(struct mirroring *k, struct span path, unsigned mode)
{
	const char *name;
	struct stat st;
	int there = look(k, k->from, path, &st), dir;

	if (there == -1)
		return -1;
	beneath_forget(k->to, path);
	if ((dir = beneath_parent(k->to, path, &name)) == -1)
		return errno == ENOENT || errno == ENOTDIR ? 0 :
		    fail(k, path);
	if (there == 1 && S_ISDIR(st.st_mode))
		mode = st.st_mode & 0777;
	else if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	else if (errno != ENOTEMPTY && errno != EEXIST)
		return fail(k, path);
	return mode_set_at(dir, name, mode) == -1 && errno != ENOENT ?
	    fail(k, path) : 0;
}

/* Ends the folders that path is not in; all of them for an empty one. */
static int
leave(struct mirroring *k, struct ways *w, struct span path)
{
	struct span folder = buf_span(&w->path);

	while (w->n > 0) {
		folder.n = w->len[w->n - 1];
		if (path.n > 0 && path_is_below(path, folder))
			break;
		w->n--;
		if (end_folder(k, folder, w->mode[w->n]) == -1)
			return -1;
	}
	return 0;
}

static int
arrive(struct mirroring *k, struct ways *w, const struct walk_entry *e)
{
	if (w->n == BENEATH_DEPTH_MAX) {
		errno = ENAMETOOLONG;
		return fail(k, e->path);
	}
	if (buf_set(&w->path, e->path) == -1)
		return fail(k, e->path);
	w->len[w->n] = e->path.n;
	w->mode[w->n++] = e->st.st_mode & 07777;
	return 0;
}

static int
remove_one(struct mirroring *k, const struct walk_entry *e)
{
	struct stat st;
	int there = look(k, k->from, e->path, &st);

	if (there == -1)
		return -1;
	/* What is left out of the source's tree is not there. */
	if (there == 1 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ||
	    S_ISLNK(st.st_mode)))
		return 0;
	notice(k->m->notices, NOTICE_NAME, e->path, "deleted");
	return unlinkat(e->dir, e->name, 0) == -1 && errno != ENOENT ?
	    fail(k, e->path) : 0;
}

static int
remove_others(struct mirroring *k)
{
	struct span none = { NULL, 0 };
	struct walk *w = walk_open(k->m->to, none, k->m->scope, false);
	struct ways ways = { .n = 0 };
	struct walk_entry e;
	enum walk_result r;
	int got = 0;

	if (w == NULL)
		return fail(k, span_of("."));
	walk_open_up(w);
	while (got == 0 && (r = walk_next(w, &e)) != WALK_END) {
		if (r == WALK_FAILED)
			got = fail(k, e.path);
		else if (leave(k, &ways, e.path) == -1)
			got = -1;
		else
			got = e.type == WALK_DIR ? arrive(k, &ways, &e) :
			    remove_one(k, &e);
	}
	walk_free(w);
	if (got == 0)
		got = leave(k, &ways, none);
	buf_free(&ways.path);
	return got;
}

/* By what is above it, up to the root: links and ".." do not matter. */
int
mirror_is_in(int inner, int outer)
{
	struct stat want, st, above;
	int fd = openat(inner, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), up;
	int got = fd == -1 || fstat(outer, &want) == -1 ||
	    fstat(fd, &st) == -1 ? -1 : 0;

	while (got == 0) {
		if (st.st_dev == want.st_dev && st.st_ino == want.st_ino) {
			got = 1;
			break;
		}
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		io_close(fd);
		fd = up;
		if (fd == -1 || fstat(fd, &above) == -1)
			got = -1;
		else if (above.st_dev == st.st_dev && above.st_ino == st.st_ino)
			break;
		st = above;
	}
	io_close(fd);
	return got;
}

int
mirror_tree(const struct mirror *m, struct fault *f)
{
	struct mirroring k = { .m = m, .f = f };
	int got = -1;

	if (stage_open(&k.stage, m->to, MIRROR_STAGE, m->deadline, f) == -1)
		return -1;
	k.from = beneath_open(m->from);
	k.to = beneath_open(m->to);
	if (k.from == NULL || k.to == NULL)
		fail(&k, span_of("."));
	else if (stage_fresh(&k.stage, f) == 0) {
		got = copy_all(&k);
		if (got == 0)
			got = remove_others(&k);
		if (stage_remove(&k.stage, f) == -1)
			got = -1;
	}
	beneath_free(k.from);
	beneath_free(k.to);
	stage_close(&k.stage);
	return got;
}

int
mirror_recover(int root, int64_t deadline, struct fault *f)
{
	struct stage s;
	int got = stage_is_left(root, MIRROR_STAGE);

	if (got != 1)
		return got == -1 ? fault_system(f, span_of(SCOPE_RUNTIME)) : 0;
	if (stage_open(&s, root, MIRROR_STAGE, deadline, f) == -1)
		return -1;
	got = stage_remove(&s, f);
	stage_close(&s);
	return got;
}
