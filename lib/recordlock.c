#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "recordlock.h"

#define LOOK_MS 5
#define DYING_MS 1000	/* KILL takes no time, but the kernel does */

int
recordlock_take(int fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int got;

	do
		got = fcntl(fd, F_SETLK, &fl);
	while (got == -1 && errno == EINTR);
	if (got == 0)
		return 0;
	if (errno == EACCES)
		errno = EAGAIN;
	return -1;
}

int
recordlock_holder(int fd, pid_t *pid)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	while (fcntl(fd, F_GETLK, &fl) == -1)
		if (errno != EINTR)
			return -1;
	if (fl.l_type == F_UNLCK)
		return 0;
	*pid = fl.l_pid > 0 ? fl.l_pid : 0;
	return 1;
}

/*
 * Until holder has it no more, whoever has, or the deadline: false then.
 */
static bool
wait_gone(int fd, pid_t holder, int64_t deadline)
{
	pid_t pid = holder;
	int held;

	/* Not known is not gone. */
	while ((held = recordlock_holder(fd, &pid)) == -1 ||
	    (held == 1 && pid == holder)) {
		if (clock_mono_ms() >= deadline)
			return false;
		poll(NULL, 0, LOOK_MS);
	}
	return true;
}

/*
 * The signal goes to the process that held the lock when its pidfd was
 * taken: that pid cannot have been reused meanwhile.  Without pidfds (old
 * kernels) the lock is looked at a moment before the kill.
 */
static int
signal_holder(int fd, int signo, pid_t pid)
{
	int process = (int)syscall(SYS_pidfd_open, pid, 0), result = -1;
	pid_t again = 0;
	int held = recordlock_holder(fd, &again);

	if (held == -1)
		result = -1;
	else if (held == 0 || again != pid)
		result = 0;
	else if (process != -1)
		result = (int)syscall(SYS_pidfd_send_signal, process, signo,
		    NULL, 0);
	else
		result = kill(pid, signo);
	io_close(process);
	return result == -1 && errno == ESRCH ? 0 : result;
}

int
recordlock_stop(int fd, int64_t kill_ms, pid_t *pid)
{
	int held;

	*pid = 0;
	held = recordlock_holder(fd, pid);
	if (held != 1)
		return held;
	if (*pid == 0) {
		errno = EPERM;		/* in another pid namespace */
		return -1;
	}
	if (signal_holder(fd, SIGTERM, *pid) == -1)
		return -1;
	if (wait_gone(fd, *pid, clock_mono_ms() + kill_ms))
		return 0;
	if (signal_holder(fd, SIGKILL, *pid) == -1)
		return -1;
	if (wait_gone(fd, *pid, clock_mono_ms() + kill_ms + DYING_MS))
		return 0;
	errno = ETIMEDOUT;
	return -1;
}
