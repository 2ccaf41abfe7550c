/* What the commands of pc-file share: failing, and paths. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "cli.h"
#include "file.h"
#include "io.h"

int
file_status(int error)
{
	switch (error) {
	case ENOENT: case EEXIST: case ENOTEMPTY:
		return EXIT_NO;
	case EACCES: case EFBIG: case EINVAL: case EISDIR: case ELOOP:
	case ENAMETOOLONG: case ENOTDIR: case EPERM: case EROFS: case EXDEV:
		return EXIT_NEVER;
	default:
		return EXIT_LATER;
	}
}

int
file_warn(const char *object)
{
	int status = file_status(errno);

	cli_warn(object, strerror(errno));
	return status;
}

_Noreturn void
file_fail(const char *object)
{
	exit(file_warn(object));
}

_Noreturn void
file_fail_memory(void)
{
	cli_fail_memory(EXIT_LATER);
}

/* --- paths --- */

/* A path that ends in no name is none that can be made, moved or removed. */
static int
place_split(struct place *at, const char *path, struct buf *parent)
{
	struct span s = span_of(path), name;

	*at = (struct place){ .path = path, .dir = AT_FDCWD };
	while (s.n > 1 && s.p[s.n - 1] == '/') {
		at->slash = true;
		s.n--;
	}
	name = path_name(s);
	if (name.n == 0 || span_is(name, ".") || span_is(name, "..")) {
		errno = EINVAL;
		return -1;
	}
	if (name.n >= sizeof(at->name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(at->name, name.p, name.n);
	buf_add(parent, s.p, s.n - name.n);
	buf_add_char(parent, '\0');
	if (buf_failed(parent))
		file_fail_memory();
	return 0;
}

int
place_open(struct place *at, const char *path, const struct args *a)
{
	struct buf parent = { 0 };
	int got = place_split(at, path, &parent);

	if (got == 0 && parent.data[0] != '\0') {
		if (a->parents)
			got = cli_make_folders(parent.data,
			    (0777 & ~a->umask) | 0300);
		if (got == 0)
			at->dir = open(parent.data,
			    O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (at->dir == -1)
			got = -1;
	}
	buf_free(&parent);
	return got;
}

int
place_check_slash(const struct place *at, const struct place *what)
{
	struct stat st;

	if (!at->slash)
		return 0;
	if (fstatat(what->dir, what->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return -1;
	}
	return 0;
}

void
place_close(const struct place *at)
{
	if (at->dir != AT_FDCWD)
		io_close(at->dir);
}
