/* pc-file mkdir, rename and remove: what changes names. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "cli.h"
#include "file.h"
#include "io.h"
#include "put.h"
#include "rename.h"

/* Of the folder that was just made, and of nothing that took its place. */
static int
set_mode(const struct place *at, mode_t mode)
{
	int fd = openat(at->dir, at->name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), got;

	if (fd == -1)
		return -1;
	got = fchmod(fd, mode);
	io_close(fd);
	return got;
}

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int
file_mkdir(const struct args *a)
{
	const char *path = a->operands[0];
	struct place at;
	int error;

	if (a->parents && is_folder(path))
		return EXIT_YES;
	if (place_open(&at, path, a) == -1)
		file_fail(path);
	/* 0700: nobody else has been in it when it gets its mode. */
	if (mkdirat(at.dir, at.name, a->has_mode ? 0700 :
	    0777 & ~a->umask) == -1) {
		/* In the meantime somebody else made it. */
		if (errno == EEXIST && a->parents && is_folder(path))
			return EXIT_YES;
		file_fail(path);
	}
	if (a->has_mode && set_mode(&at, a->mode) == -1) {
		error = errno;
		(void)unlinkat(at.dir, at.name, AT_REMOVEDIR);
		errno = error;
		file_fail(path);
	}
	place_close(&at);
	return EXIT_YES;
}

static int
rename_place(const struct place *old, const struct place *new,
    bool no_replace)
{
	if (place_check_slash(old, old) == -1 || place_check_slash(new, old) == -1)
		return -1;
	return (no_replace ? rename_noreplace_anyhow : renameat)(old->dir,
	    old->name, new->dir, new->name);
}

int
file_rename(const struct args *a)
{
	struct place old, new;

	if (place_open(&old, a->operands[0], a) == -1)
		file_fail(a->operands[0]);
	if (place_open(&new, a->operands[1], a) == -1)
		file_fail(a->operands[1]);
	if (rename_place(&old, &new, a->no_replace) == -1)
		file_fail(errno == ENOENT ? old.path : new.path);
	place_close(&old);
	place_close(&new);
	return EXIT_YES;
}

static int
remove_place(const struct place *at, const struct args *a)
{
	struct stat st;

	if (place_check_slash(at, at) == -1 ||
	    fstatat(at->dir, at->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (!a->recursive)
		return unlinkat(at->dir, at->name,
		    S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
	if (beneath_remove_tree(at->dir, at->name) == 0)
		return 0;
	/* Somebody fills it again as it is emptied: that may end. */
	if (errno == ENOTEMPTY)
		errno = EBUSY;
	return -1;
}

static int
remove_one(const char *path, const struct args *a)
{
	struct place at = { .dir = AT_FDCWD };
	int got = place_open(&at, path, a), status = EXIT_YES;

	if (got == 0)
		got = remove_place(&at, a);
	if (got == -1 && !(a->force && errno == ENOENT))
		status = file_warn(path);
	place_close(&at);
	return status;
}

/* All of them, whatever becomes of one. */
int
file_remove(const struct args *a)
{
	int status = EXIT_YES, got;
	size_t i;

	for (i = 0; i < a->count; i++) {
		got = remove_one(a->operands[i], a);
		if (got > status)
			status = got;
	}
	return status;
}
