#include <sys/stat.h>
#include <sys/syscall.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "beneath.h"
#include "entry.h"
#include "io.h"

#define STEP_FLAGS	(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define ATTEMPTS	16	/* against others who write into the same folder */
#define LEVELS_OPEN	32
#define RESTARTS_MAX	65536

#ifndef SYS_fchmodat2		/* Linux 6.6 */
#define SYS_fchmodat2	452
#endif

/* A folder on the way to the last path. */
struct step {
	int fd;
	size_t end;		/* of its component in the path */
};

struct beneath {
	int root;
	size_t depth;		/* folders that are open */
	struct step steps[BENEATH_DEPTH_MAX];
	size_t len;		/* of the last path, as far as it is open */
	char path[BENEATH_PATH_MAX];
	char name[ENTRY_NAME_MAX + 1];
};

/* --- names --- */

static enum path_fault
check_component(const char *p, size_t n)
{
	if (n == 0)
		return PATH_EMPTY;
	if (n > ENTRY_NAME_MAX)
		return PATH_NAME_LONG;
	if (p[0] == '.' && (n == 1 || (n == 2 && p[1] == '.')))
		return PATH_DOTS;
	return PATH_OK;
}

enum path_fault
path_check(struct span path, size_t max, size_t depth)
{
	enum path_fault bad;
	size_t start = 0, n = 0, i;

	if (path.n == 0)
		return PATH_EMPTY;
	if (memchr(path.p, '\0', path.n) != NULL)
		return PATH_NUL;
	if (path.p[0] == '/')
		return PATH_ABSOLUTE;
	if (path.n > max || path.n > BENEATH_PATH_MAX)
		return PATH_LONG;
	for (i = 0; i <= path.n; i++) {
		if (i < path.n && path.p[i] != '/')
			continue;
		bad = check_component(path.p + start, i - start);
		if (bad != PATH_OK)
			return bad;
		if (++n > depth || n > BENEATH_DEPTH_MAX)
			return PATH_DEEP;
		start = i + 1;
	}
	return PATH_OK;
}

const char *
path_fault_text(enum path_fault fault)
{
	switch (fault) {
	case PATH_OK:
		break;
	case PATH_EMPTY:
		return "an empty name";
	case PATH_ABSOLUTE:
		return "an absolute name";
	case PATH_DOTS:
		return "\".\" or \"..\" in a name";
	case PATH_NUL:
		return "a NUL in a name";
	case PATH_LONG:
		return "over the limit of a name's bytes";
	case PATH_NAME_LONG:
		return "a component over 255 bytes";
	case PATH_DEEP:
		return "over the limit of depth";
	}
	return "a good name";
}

int
path_compare(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n, i;
	unsigned char x, y;

	for (i = 0; i < n && a.p[i] == b.p[i]; i++)
		;
	if (i == n)
		return a.n < b.n ? -1 : a.n > b.n;
	x = (unsigned char)a.p[i];
	y = (unsigned char)b.p[i];
	if (x == '/' || y == '/')
		return x == '/' ? -1 : 1;
	return x < y ? -1 : 1;
}

bool
path_is_below(struct span path, struct span top)
{
	if (top.n == 0)
		return true;	/* the root */
	return path.n >= top.n && memcmp(path.p, top.p, top.n) == 0 &&
	    (path.n == top.n || path.p[top.n] == '/');
}

static size_t
last_slash(struct span path)
{
	size_t i = path.n;

	while (i > 0 && path.p[i - 1] != '/')
		i--;
	return i;
}

struct span
path_name(struct span path)
{
	size_t at = last_slash(path);

	return (struct span){ path.p + at, path.n - at };
}

struct span
path_parent(struct span path)
{
	size_t at = last_slash(path);

	return (struct span){ path.p, at == 0 ? 0 : at - 1 };
}

/* --- descriptors --- */

struct beneath *
beneath_open(int root)
{
	struct beneath *b = calloc(1, sizeof(*b));

	if (b != NULL)
		b->root = root;
	return b;
}

static void
close_to(struct beneath *b, size_t depth)
{
	while (b->depth > depth)
		io_close(b->steps[--b->depth].fd);
	b->len = depth == 0 ? 0 : b->steps[depth - 1].end;
}

void
beneath_free(struct beneath *b)
{
	if (b == NULL)
		return;
	close_to(b, 0);
	free(b);
}

/* Closes what is not on the way to folder; how many bytes of it are open. */
static size_t
keep_common(struct beneath *b, struct span folder)
{
	struct span open;

	while (b->depth > 0) {
		open = (struct span){ b->path, b->steps[b->depth - 1].end };
		if (path_is_below(folder, open))
			break;
		close_to(b, b->depth - 1);
	}
	return b->len;
}

/* Opens one more component, and makes it first when it may be missing. */
static int
descend(struct beneath *b, struct span c, bool make, mode_t mode)
{
	int top = b->depth == 0 ? b->root : b->steps[b->depth - 1].fd, fd;

	memcpy(b->name, c.p, c.n);
	b->name[c.n] = '\0';
	fd = openat(top, b->name, STEP_FLAGS);
	if (fd == -1 && errno == ENOENT && make) {
		if (mkdirat(top, b->name, mode) == -1 && errno != EEXIST)
			return -1;
		fd = openat(top, b->name, STEP_FLAGS);
	}
	if (fd == -1)
		return -1;
	if (b->len > 0)
		b->path[b->len++] = '/';
	memcpy(b->path + b->len, c.p, c.n);
	b->len += c.n;
	b->steps[b->depth++] = (struct step){ fd, b->len };
	return 0;
}

/* The folder's descriptor. */
static int
open_folder(struct beneath *b, struct span folder, bool make, mode_t mode)
{
	size_t at = keep_common(b, folder), end;

	while (at < folder.n) {
		if (at > 0)
			at++;
		for (end = at; end < folder.n && folder.p[end] != '/'; end++)
			;
		if (descend(b, (struct span){ folder.p + at, end - at },
		    make, mode) == -1)
			return -1;
		at = end;
	}
	return b->depth == 0 ? b->root : b->steps[b->depth - 1].fd;
}

static int
open_parent(struct beneath *b, struct span path, bool make, mode_t mode,
    const char **name)
{
	struct span last;
	int fd;

	if (path_check(path, BENEATH_PATH_MAX, BENEATH_DEPTH_MAX) != PATH_OK) {
		errno = EINVAL;
		return -1;
	}
	fd = open_folder(b, path_parent(path), make, mode);
	if (fd == -1)
		return -1;
	last = path_name(path);
	memcpy(b->name, last.p, last.n);
	b->name[last.n] = '\0';
	*name = b->name;
	return fd;
}

int
beneath_parent(struct beneath *b, struct span path, const char **name)
{
	return open_parent(b, path, false, 0, name);
}

int
beneath_parent_made(struct beneath *b, struct span path, mode_t mode,
    const char **name)
{
	return open_parent(b, path, true, mode, name);
}

int
beneath_dir(struct beneath *b, struct span path)
{
	if (path.n > 0 && path_check(path, BENEATH_PATH_MAX,
	    BENEATH_DEPTH_MAX) != PATH_OK) {
		errno = EINVAL;
		return -1;
	}
	return open_folder(b, path, false, 0);
}

void
beneath_forget(struct beneath *b, struct span path)
{
	size_t i;

	for (i = 0; i < b->depth; i++)
		if (path_is_below((struct span){ b->path, b->steps[i].end },
		    path)) {
			close_to(b, i);
			return;
		}
}

/* --- removing --- */

/*
 * A tree is removed depth first, with the folders on the way open.  Of a deep
 * one only the last LEVELS_OPEN are: when the walk comes back to a folder that
 * was closed, it begins again at the top, and finds less than before.  Nothing
 * is moved, and no folder is reached through ".." or a name of many parts.
 */
struct level {
	DIR *entries;
	unsigned tries;		/* times it was emptied, and not empty after */
	char name[ENTRY_NAME_MAX + 1];
};

struct removal {
	int dir;		/* the caller's, and the name in it */
	const char *name;
	size_t depth;		/* folders down to the one at work */
	size_t open;		/* the last so many of them */
	unsigned restarts;
	struct level levels[LEVELS_OPEN];	/* a ring */
};

static struct level *
level_at(struct removal *r, size_t depth)
{
	return &r->levels[(depth - 1) % LEVELS_OPEN];
}

/*
 * A file, a link or an empty folder.  0 when it is gone; -1 with ENOTEMPTY
 * for a folder with something in it, with EBUSY for a mount point.
 */
static int
remove_one(int dir, const char *name)
{
	int error, i;

	for (i = 0; i < ATTEMPTS; i++) {
		if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
			return 0;
		error = errno;
		if (error != EISDIR && error != EPERM)
			return -1;
		if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno == EEXIST)
			errno = ENOTEMPTY;
		if (errno != ENOTDIR)
			return -1;
		if (error == EPERM) {
			errno = EPERM;
			return -1;
		}
		/* A folder a moment ago, and now something else. */
	}
	errno = ENOTEMPTY;
	return -1;
}

/* Of a folder that may not be opened for reading, and of nothing else. */
static int
make_readable(int dir, const char *name)
{
	int fd = openat(dir, name, STEP_FLAGS), got;
	char path[40];

	if (fd == -1)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	got = chmod(path, 0700);
	if (got == -1 && errno == ENOENT)	/* no /proc here */
		got = (int)syscall(SYS_fchmodat2, fd, "", 0700, AT_EMPTY_PATH);
	io_close(fd);
	return got;
}

/* A folder, so that it can be read and written. */
static int
open_to_empty(int dir, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir, name, flags);
	struct stat st;

	if (fd == -1 && errno == EACCES) {
		if (make_readable(dir, name) == -1)
			return -1;
		fd = openat(dir, name, flags);
	}
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1) {
		io_close(fd);
		return -1;
	}
	/* Who may not set it may yet write there. */
	if ((st.st_mode & 0700) != 0700)
		(void)fchmod(fd, 0700);
	return fd;
}

/* Makes fd the folder at work; the highest that is open may have to go. */
static int
removal_enter(struct removal *r, int fd, const char *name, unsigned tries)
{
	struct level *l = level_at(r, r->depth + 1);
	size_t n = strlen(name);
	DIR *entries;

	if (n >= sizeof(l->name)) {
		io_close(fd);
		errno = ENAMETOOLONG;
		return -1;
	}
	if ((entries = fdopendir(fd)) == NULL) {
		io_close(fd);
		return -1;
	}
	if (r->open == LEVELS_OPEN)
		closedir(l->entries);
	else
		r->open++;
	r->depth++;
	l->entries = entries;
	l->tries = tries;
	memmove(l->name, name, n + 1);	/* may be that very name */
	return 0;
}

/* Removes it at once, or enters it. */
static int
removal_take(struct removal *r, int dir, const char *name, unsigned tries)
{
	int fd, i;

	for (i = 0; i < ATTEMPTS; i++) {
		if (remove_one(dir, name) == 0)
			return 0;
		if (errno != ENOTEMPTY || tries == ATTEMPTS)
			return -1;
		fd = open_to_empty(dir, name);
		if (fd != -1)
			return removal_enter(r, fd, name, tries + 1);
		if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
			return -1;
		/* Somebody put something else there. */
	}
	errno = ENOTEMPTY;
	return -1;
}

/* The folder at work has been read to its end: up, and remove it. */
static int
removal_leave(struct removal *r)
{
	struct level *l = level_at(r, r->depth);

	closedir(l->entries);
	r->depth--;
	r->open--;
	if (r->depth == 0)
		return removal_take(r, r->dir, r->name, l->tries);
	if (r->open > 0)
		return removal_take(r, dirfd(level_at(r, r->depth)->entries),
		    l->name, l->tries);
	if (r->restarts++ == RESTARTS_MAX) {
		errno = ENOTEMPTY;
		return -1;
	}
	r->depth = 0;
	return removal_take(r, r->dir, r->name, 0);
}

static int
removal_step(struct removal *r)
{
	struct level *l = level_at(r, r->depth);
	const struct dirent *e;

	errno = 0;
	e = readdir(l->entries);
	if (e == NULL)
		return errno != 0 ? -1 : removal_leave(r);
	if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
		return 0;
	return removal_take(r, dirfd(l->entries), e->d_name, 0);
}

int
beneath_remove_tree(int dir, const char *name)
{
	struct removal r = { .dir = dir, .name = name };
	int got, saved;

	got = removal_take(&r, dir, name, 0);
	while (got == 0 && r.depth > 0)
		got = removal_step(&r);
	saved = errno;
	for (; r.open > 0; r.open--)
		closedir(level_at(&r, r.depth--)->entries);
	errno = saved;
	return got;
}
