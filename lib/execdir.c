#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "execdir.h"
#include "id.h"
#include "io.h"
#include "offspring.h"
#include "recordlock.h"

#define NAME_SIZE (ID_MAX + sizeof(".lock"))
#define GRACE_MS 2000		/* for what a killed one has left */

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
	if (fstat(fd, &st) == 0) {
		if (st.st_uid == geteuid() && (st.st_mode & 022) == 0)
			return fd;
		errno = EPERM;
	}
	io_close(fd);
	return -1;
}

static int
open_file(int dir, const char *id, const char *suffix, int flags)
{
	char name[NAME_SIZE];
	struct stat st;
	int fd;

	snprintf(name, sizeof(name), "%s%s", id, suffix);
	do
		fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK |
		    O_NOCTTY | O_CLOEXEC, 0600);
	while (fd == -1 && errno == EINTR);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0) {
		if (S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
		    st.st_nlink <= 1)
			return fd;
		errno = EINVAL;
	}
	io_close(fd);
	return -1;
}

/* Whether the name still is that of this file, which it was opened by. */
static bool
is_named(int dir, const char *id, const char *suffix, int fd)
{
	char name[NAME_SIZE];
	struct stat st, now;

	snprintf(name, sizeof(name), "%s%s", id, suffix);
	return fstat(fd, &st) == 0 &&
	    fstatat(dir, name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == now.st_dev && st.st_ino == now.st_ino;
}

int
execdir_claim(int dir, const char *id)
{
	int fd, saved;

	for (;;) {
		fd = open_file(dir, id, ".lock", O_RDWR | O_CREAT);
		if (fd == -1)
			return -1;
		if (recordlock_take(fd) == -1 || futimens(fd, NULL) == -1)
			break;
		if (is_named(dir, id, ".lock", fd))
			return fd;
		/* Who had it has removed it meanwhile. */
		close(fd);
	}
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

int
execdir_spool(int dir, const char *id)
{
	int fd = open_file(dir, id, ".out", O_WRONLY | O_CREAT | O_APPEND);

	/* Not by O_TRUNC, before it is known which file that is. */
	if (fd != -1 && ftruncate(fd, 0) == -1) {
		io_close(fd);
		return -1;
	}
	return fd;
}

int
execdir_read(int dir, const char *id)
{
	return open_file(dir, id, ".out", O_RDWR);
}

int
execdir_is_running(int dir, const char *id, pid_t *pid)
{
	int fd = open_file(dir, id, ".lock", O_RDWR), running;

	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	running = recordlock_holder(fd, pid);
	io_close(fd);
	return running;
}

void
execdir_touch(int dir, const char *id, int64_t ahead_ms)
{
	int fd = open_file(dir, id, ".lock", O_RDWR);
	int64_t at = clock_wall_ms() + ahead_ms;
	struct timespec times[2];

	times[0] = times[1] = (struct timespec){ (time_t)(at / 1000),
	    (long)(at % 1000) * 1000000 };
	if (fd != -1)
		(void)futimens(fd, times);
	io_close(fd);
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
end_left(int dir, const char *id, int64_t kill_ms)
{
	char mark[EXECDIR_MARK_SIZE];
	int64_t start = clock_mono_ms();
	int64_t grace = kill_ms < GRACE_MS ? kill_ms : GRACE_MS, spent;
	int signo = SIGTERM;

	execdir_mark(dir, id, mark);
	while (offspring_signal_marked(mark, signo) > 0) {
		spent = clock_mono_ms() - start;
		if (spent > grace + GRACE_MS) {
			errno = ETIMEDOUT;
			return -1;
		}
		signo = spent >= grace ? SIGKILL : 0;
		poll(NULL, 0, 10);
	}
	return 0;
}

/*
 * What is left of the one that was stopped.  We hold its lock meanwhile, so
 * that nobody begins under its id; who has begun already is left alone.
 */
static int
clean_up(int dir, const char *id, int fd, int64_t kill_ms)
{
	if (recordlock_take(fd) == -1)
		return errno == EAGAIN ? 0 : -1;
	if (!is_named(dir, id, ".lock", fd))
		return 0;
	if (end_left(dir, id, kill_ms) == -1)
		return -1;
	return execdir_forget(dir, id);
}

enum execdir_end
execdir_kill(int dir, const char *id, int64_t kill_ms)
{
	int fd = open_file(dir, id, ".lock", O_RDWR), result;
	pid_t pid;

	if (fd == -1)
		return errno == ENOENT ? EXECDIR_NONE : EXECDIR_STUCK;
	result = recordlock_stop(fd, kill_ms, &pid);
	if (result == 0)
		result = clean_up(dir, id, fd, kill_ms);
	io_close(fd);
	return result == 0 ? EXECDIR_ENDED : EXECDIR_STUCK;
}

int
execdir_forget(int dir, const char *id)
{
	char name[NAME_SIZE];

	/* The lock last: as long as it is there, --kill finds the rest. */
	snprintf(name, sizeof(name), "%s.out", id);
	if (unlinkat(dir, name, 0) == -1 && errno != ENOENT)
		return -1;
	snprintf(name, sizeof(name), "%s.lock", id);
	return unlinkat(dir, name, 0) == -1 && errno != ENOENT ? -1 : 0;
}
