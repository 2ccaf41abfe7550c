#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "io.h"
#include "mode.h"

int
mode_set_at(int dir, const char *name, unsigned mode)
{
	char link[40];
	struct stat st;
	int fd, got;

	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return -1;
	got = fstat(fd, &st);
	/* No mode is set through a link: the descriptor is the entry's own. */
	if (got == -1 || S_ISLNK(st.st_mode) || (st.st_mode & 07777) == mode) {
		io_close(fd);
		return got;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	got = chmod(link, mode);
	io_close(fd);
	if (got == 0 || errno != ENOENT)
		return got;
	/* Without /proc it must be opened, and so be readable. */
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return -1;
	got = fchmod(fd, mode);
	io_close(fd);
	return got;
}
