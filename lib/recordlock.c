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

int
recordlock_take(int fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_SETLK, &fl) == 0)
		return 0;
	if (errno == EACCES)
		errno = EAGAIN;
	return -1;
}

bool
recordlock_holder(int fd, pid_t *pid)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_GETLK, &fl) == -1 || fl.l_type == F_UNLCK)
		return false;
	*pid = fl.l_pid > 0 ? fl.l_pid : 0;
	return true;
}

/* Until nobody has it, or the deadline: false then. */
static bool
wait_gone(int fd, int64_t deadline)
{
	pid_t pid;

	while (recordlock_holder(fd, &pid)) {
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
signal_holder(int fd, int signo, pid_t *pid)
{
	pid_t again = 0;
	int process, result = -1;

	if (!recordlock_holder(fd, pid))
		return 0;
	if (*pid == 0) {
		errno = EPERM;		/* in another pid namespace */
		return -1;
	}
	process = (int)syscall(SYS_pidfd_open, *pid, 0);
	if (!recordlock_holder(fd, &again) || again != *pid)
		result = 0;
	else if (process != -1)
		result = (int)syscall(SYS_pidfd_send_signal, process, signo,
		    NULL, 0);
	else
		result = kill(*pid, signo);
	io_close(process);
	return result == -1 && errno == ESRCH ? 0 : result;
}

int
recordlock_stop(int fd, int64_t kill_ms, pid_t *pid)
{
	pid_t ignored;

	*pid = 0;
	if (signal_holder(fd, SIGTERM, pid) == -1)
		return -1;
	if (wait_gone(fd, clock_mono_ms() + kill_ms))
		return 0;
	if (signal_holder(fd, SIGKILL, &ignored) == -1)
		return -1;
	if (wait_gone(fd, clock_mono_ms() + kill_ms))
		return 0;
	errno = ETIMEDOUT;
	return -1;
}
