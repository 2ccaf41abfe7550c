#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "lock.h"

#define AGAIN_US 10000

int
lock_open(int dirfd, const char *name)
{
	int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	struct stat st;
	int fd;

	do
		fd = openat(dirfd, name, O_RDWR | O_CREAT | flags, 0666);
	while (fd == -1 && errno == EINTR);
	/* Another user's, or in a sticky folder: it exists, or this fails. */
	if (fd == -1 && (errno == EACCES || errno == EPERM || errno == EROFS))
		fd = openat(dirfd, name, O_RDONLY | flags);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0) {
		if (S_ISREG(st.st_mode))
			return fd;
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	}
	io_close(fd);
	return -1;
}

static enum lock_result
attempt(int fd, int how)
{
	int got = flock(fd, how);

	/* Who does not wait has not been interrupted by our timer. */
	while (got == -1 && errno == EINTR && (how & LOCK_NB))
		got = flock(fd, how);
	if (got == 0)
		return LOCK_TAKEN;
	return errno == EWOULDBLOCK || errno == EINTR ? LOCK_BUSY :
	    LOCK_FAILED;
}

static void
interrupt(int signo)
{
	(void)signo;
}

/*
 * A timer interrupts the wait.  It goes on ticking after the deadline, so
 * that a tick just before the system call begins is not the last one.
 */
static enum lock_result
wait_until(int fd, int how, int64_t deadline)
{
	struct sigaction catch = { .sa_handler = interrupt }, action;
	struct itimerval timer = { .it_interval = { 0, AGAIN_US } }, none =
	    { .it_value = { 0, 0 } };
	int64_t left = deadline - clock_mono_ms() + 1;
	enum lock_result result;
	sigset_t alarm_only, mask;
	int saved;

	if (left < 1)
		left = 1;		/* 0 would be no timer */
	timer.it_value.tv_sec = left / 1000;
	timer.it_value.tv_usec = left % 1000 * 1000;
	sigemptyset(&catch.sa_mask);
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigaction(SIGALRM, &catch, &action);
	sigprocmask(SIG_UNBLOCK, &alarm_only, &mask);
	setitimer(ITIMER_REAL, &timer, NULL);
	do
		result = attempt(fd, how);
	while (result == LOCK_BUSY && clock_mono_ms() < deadline);
	saved = errno;
	setitimer(ITIMER_REAL, &none, NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGALRM, &action, NULL);
	errno = saved;
	return result;
}

enum lock_result
lock_take(int fd, enum lock_kind kind, int64_t deadline)
{
	int how = kind == LOCK_SHARED ? LOCK_SH : LOCK_EX;
	enum lock_result result = attempt(fd, how | LOCK_NB);

	if (result != LOCK_BUSY)
		return result;
	if (deadline < 0) {
		do
			result = attempt(fd, how);
		while (result == LOCK_BUSY);
		return result;
	}
	if (clock_mono_ms() >= deadline)
		return LOCK_BUSY;
	return wait_until(fd, how, deadline);
}

int
lock_confirm(int dirfd, const char *name, int fd)
{
	struct stat mine, named;
	int again, error = 0;

	again = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_NOCTTY | O_CLOEXEC);
	if (again == -1) {
		if (errno == ENOENT || errno == ELOOP)
			errno = ESTALE;
		return -1;
	}
	if (fstat(fd, &mine) == -1 || fstat(again, &named) == -1)
		error = errno;
	else if (mine.st_dev != named.st_dev || mine.st_ino != named.st_ino)
		error = ESTALE;
	else if (flock(again, LOCK_EX | LOCK_NB) == 0)
		error = ENOTSUP;
	else if (errno != EWOULDBLOCK)
		error = errno;
	close(again);
	errno = error;
	return error == 0 ? 0 : -1;
}

enum lock_result
lock_acquire(int dirfd, const char *name, enum lock_kind kind,
    int64_t deadline, int *fd)
{
	enum lock_result result;

	for (;;) {
		if ((*fd = lock_open(dirfd, name)) == -1)
			return LOCK_FAILED;
		result = lock_take(*fd, kind, deadline);
		if (result == LOCK_TAKEN &&
		    lock_confirm(dirfd, name, *fd) == 0)
			return LOCK_TAKEN;
		io_close(*fd);
		*fd = -1;
		if (result == LOCK_TAKEN && errno != ESTALE)
			return LOCK_FAILED;
		if (result != LOCK_TAKEN)
			return result;
	}
}

void
lock_release(int fd)
{
	int saved = errno;

	flock(fd, LOCK_UN);
	close(fd);
	errno = saved;
}
