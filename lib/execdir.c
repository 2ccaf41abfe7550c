#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "execdir.h"
#include "id.h"
#include "io.h"
#include "offspring.h"
#include "recordlock.h"

#define NAME_SIZE (ID_MAX + sizeof(".lock"))

int
execdir_open(const char *path, bool make)
{
	struct stat st;
	int fd;

	if (make && mkdir(path, 0700) == -1 && errno != EEXIST)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
	    (st.st_mode & 022) == 0)
		return fd;
	io_close(fd);
	errno = EPERM;
	return -1;
}

static int
open_file(int dir, const char *id, const char *suffix, int flags)
{
	char name[NAME_SIZE];
	struct stat st;
	int fd;

	snprintf(name, sizeof(name), "%s%s", id, suffix);
	fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
	    O_CLOEXEC, 0600);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	io_close(fd);
	errno = EINVAL;
	return -1;
}

/* Removed by the one who had it before, who held it until then. */
static bool
is_removed(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

int
execdir_claim(int dir, const char *id)
{
	int fd;

	for (;;) {
		fd = open_file(dir, id, ".lock", O_RDWR | O_CREAT);
		if (fd == -1)
			return -1;
		if (recordlock_take(fd) == -1 || futimens(fd, NULL) == -1) {
			io_close(fd);
			return -1;
		}
		if (!is_removed(fd))
			return fd;
		close(fd);
	}
}

int
execdir_spool(int dir, const char *id)
{
	return open_file(dir, id, ".out", O_WRONLY | O_CREAT | O_TRUNC |
	    O_APPEND);
}

int
execdir_read(int dir, const char *id)
{
	return open_file(dir, id, ".out", O_RDWR);
}

bool
execdir_is_running(int dir, const char *id, bool touch)
{
	int fd = open_file(dir, id, ".lock", O_RDWR);
	bool running;
	pid_t pid;

	if (fd == -1)
		return false;
	running = recordlock_holder(fd, &pid);
	if (touch)
		(void)futimens(fd, NULL);
	io_close(fd);
	return running;
}

void
execdir_mark(int dir, const char *id, char out[static EXECDIR_MARK_SIZE])
{
	struct stat st = { .st_dev = 0 };

	(void)fstat(dir, &st);
	snprintf(out, EXECDIR_MARK_SIZE, "PC_EXEC_ID=%jx-%jx-%s",
	    (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, id);
}

/* What a killed pc-exec has left is known by its environment. */
static int
kill_left(int dir, const char *id)
{
	char mark[EXECDIR_MARK_SIZE];
	int tries;

	execdir_mark(dir, id, mark);
	for (tries = 0; offspring_signal_marked(mark, SIGKILL) > 0; tries++) {
		if (tries == 100) {
			errno = ETIMEDOUT;
			return -1;
		}
		poll(NULL, 0, 10);
	}
	return 0;
}

enum execdir_end
execdir_kill(int dir, const char *id, int64_t kill_ms)
{
	int fd = open_file(dir, id, ".lock", O_RDWR), result;
	pid_t pid;

	if (fd == -1)
		return errno == ENOENT ? EXECDIR_NONE : EXECDIR_STUCK;
	result = recordlock_stop(fd, kill_ms, &pid);
	/*
	 * While its files are removed id is ours, or whoever runs it anew
	 * would lose his.
	 */
	if (result == 0 && recordlock_take(fd) == -1) {
		if (errno != EAGAIN)
			result = -1;
	} else if (result == 0 && !is_removed(fd)) {
		if ((result = kill_left(dir, id)) == 0)
			execdir_forget(dir, id);
	}
	io_close(fd);
	return result == 0 ? EXECDIR_ENDED : EXECDIR_STUCK;
}

void
execdir_forget(int dir, const char *id)
{
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), "%s.out", id);
	unlinkat(dir, name, 0);
	snprintf(name, sizeof(name), "%s.lock", id);
	unlinkat(dir, name, 0);
}
