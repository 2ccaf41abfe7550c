#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "copy.h"
#include "entry.h"
#include "io.h"

#define CHUNK	65536
#define RANGE	(1024 * 1024 * 1024)

/* A run of data, by reading and writing. */
static int
copy_by_hand(int from, int to, off_t at, off_t len)
{
	char block[CHUNK];
	ssize_t n;

	if (lseek(to, at, SEEK_SET) == -1)
		return -1;
	while (len > 0) {
		n = pread(from, block, len < CHUNK ? (size_t)len : CHUNK, at);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		if (io_write_all(to, block, (size_t)n) == -1)
			return -1;
		at += n;
		len -= n;
	}
	return 0;
}

static int
copy_run(int from, int to, off_t at, off_t len, bool *by_kernel)
{
	off_t in = at, out = at;
	ssize_t n;

	while (len > 0 && *by_kernel) {
		n = copy_file_range(from, &in, to, &out,
		    len < RANGE ? (size_t)len : RANGE, 0);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno != EXDEV && errno != EINVAL &&
		    errno != ENOSYS && errno != EOPNOTSUPP && errno != EPERM)
			return -1;
		/* Some report 0 for files they cannot do (procfs). */
		if (n <= 0)
			*by_kernel = false;
		else
			len -= n;
	}
	return len > 0 ? copy_by_hand(from, to, in, len) : 0;
}

int
copy_data(int from, int to, uint64_t size)
{
	off_t at = 0, hole, end = (off_t)size;
	bool by_kernel = true;

	if (size == 0 || ioctl(to, FICLONE, from) == 0)
		return 0;
	while (at < end) {
		off_t data = lseek(from, at, SEEK_DATA);

		if (data == -1 && errno == ENXIO)
			break;
		if (data == -1)
			data = at;
		hole = lseek(from, data, SEEK_HOLE);
		if (hole == -1 || hole > end)
			hole = end;
		if (data >= hole)
			break;
		if (copy_run(from, to, data, hole - data, &by_kernel) == -1)
			return -1;
		at = hole;
	}
	return ftruncate(to, end);
}

static int
copy_file(int dir, const char *name, int to_dir, const char *to)
{
	struct stat st;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	int from, fd, got = -1;

	from = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);
	if (from == -1)
		return -1;
	fd = openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
	    O_CLOEXEC, 0600);
	if (fd == -1 || fstat(from, &st) == -1)
		goto out;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		goto out;
	}
	times[1] = st.st_mtim;
	if (copy_data(from, fd, (uint64_t)st.st_size) == 0 &&
	    fchmod(fd, st.st_mode & 0777) == 0)
		got = futimens(fd, times);
out:
	io_close(from);
	io_close(fd);
	return got;
}

int
copy_entry(int dir, const char *name, int temporary_dir,
    const char *temporary, int to_dir, const char *to)
{
	char target[ENTRY_TARGET_MAX + 1];
	struct stat st;
	ssize_t n;
	int got = -1, saved;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (unlinkat(temporary_dir, temporary, 0) == -1 && errno != ENOENT)
		return -1;
	if (S_ISREG(st.st_mode)) {
		got = copy_file(dir, name, temporary_dir, temporary);
	} else if (S_ISLNK(st.st_mode)) {
		n = readlinkat(dir, name, target, sizeof(target));
		if (n == (ssize_t)sizeof(target)) {
			errno = ENAMETOOLONG;
		} else if (n != -1) {
			target[n] = '\0';
			got = symlinkat(target, temporary_dir, temporary);
		}
	} else {
		errno = EINVAL;
	}
	if (got == 0)
		got = renameat(temporary_dir, temporary, to_dir, to);
	if (got == -1) {
		saved = errno;
		unlinkat(temporary_dir, temporary, 0);
		errno = saved;
	}
	return got;
}
