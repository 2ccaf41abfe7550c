#include <sys/random.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io.h"
#include "put.h"

#define ATTEMPTS	16	/* at a name that nobody has */

static int
make_name(struct put *p)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -1;
	snprintf(p->temporary, sizeof(p->temporary), PUT_PREFIX "%016" PRIx64,
	    random);
	return 0;
}

/* The only way to name such a file needs /proc, or a capability. */
static int
open_nameless(int dir)
{
	int fd;

	if (access("/proc/self/fd", X_OK) == -1)
		return -1;
	do
		fd = openat(dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	while (fd == -1 && errno == EINTR);
	return fd;
}

static int
open_named(struct put *p)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd, i;

	for (i = 0; i < ATTEMPTS; i++) {
		if (make_name(p) == -1)
			break;
		fd = openat(p->dir, p->temporary, flags, 0600);
		if (fd != -1)
			return fd;
		if (errno != EEXIST && errno != EINTR)
			break;
	}
	p->temporary[0] = '\0';
	return -1;
}

int
put_open(struct put *p, int dir, const char *name, mode_t mode)
{
	*p = (struct put){ .dir = dir, .name = name, .mode = mode };
	p->fd = open_nameless(dir);
	if (p->fd == -1)
		p->fd = open_named(p);
	return p->fd == -1 ? -1 : 0;
}

static int
give_name(const struct put *p, const char *name)
{
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", p->fd);
	return linkat(AT_FDCWD, self, p->dir, name, AT_SYMLINK_FOLLOW);
}

/* The name itself when it is free, else a temporary one to rename. */
static int
name_it(struct put *p)
{
	int i;

	if (give_name(p, p->name) == 0)
		return 0;
	for (i = 0; i < ATTEMPTS && errno == EEXIST; i++) {
		if (make_name(p) == -1)
			break;
		if (give_name(p, p->temporary) == 0)
			return 0;
	}
	p->temporary[0] = '\0';
	return -1;
}

/* On some file systems this is where a write fails. */
static int
close_written(struct put *p)
{
	int fd = p->fd;

	p->fd = -1;
	return close(fd) == -1 && errno != EINTR ? -1 : 0;
}

static int
replace(struct put *p)
{
	if (p->temporary[0] == '\0' && name_it(p) == -1)
		return -1;
	if (p->temporary[0] == '\0') {
		(void)close_written(p);	/* never on one of these */
		return 0;
	}
	if (close_written(p) == -1 ||
	    renameat(p->dir, p->temporary, p->dir, p->name) == -1)
		return -1;
	p->temporary[0] = '\0';
	return 0;
}

static int
sync_folder(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), got;

	if (fd == -1)
		return -1;
	got = fsync(fd);
	io_close(fd);
	return got;
}

int
put_commit(struct put *p, bool sync)
{
	if (fchmod(p->fd, p->mode) == -1 ||
	    (sync && fdatasync(p->fd) == -1) || replace(p) == -1) {
		put_abort(p);
		return -1;
	}
	return sync ? sync_folder(p->dir) : 0;
}

void
put_abort(struct put *p)
{
	int saved = errno;

	if (p->temporary[0] != '\0')
		(void)unlinkat(p->dir, p->temporary, 0);
	p->temporary[0] = '\0';
	if (p->fd != -1)
		close(p->fd);
	p->fd = -1;
	errno = saved;
}

/* The folder of the file at path, whose last slash this is. */
static int
open_folder(const char *path, const char *slash)
{
	char *folder = strndup(path, (size_t)(slash - path) + 1);
	int dir = -1;

	if (folder != NULL)
		dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(folder);
	return dir;
}

int
put_file(const char *path, mode_t mode, struct span content)
{
	const char *slash = strrchr(path, '/');
	int dir = slash == NULL ? AT_FDCWD : open_folder(path, slash);
	int result = -1;
	struct put p;

	if (dir == -1)
		return -1;
	if (put_open(&p, dir, slash == NULL ? path : slash + 1, mode) == 0) {
		result = io_write_all(p.fd, content.p, content.n);
		if (result == 0)
			result = put_commit(&p, false);
		else
			put_abort(&p);
	}
	if (dir != AT_FDCWD)
		io_close(dir);
	return result;
}
