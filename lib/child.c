#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "child.h"
#include "clock.h"
#include "io.h"
#include "process.h"

static const int passed[] = {
	SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2
};

static void
add_signals(sigset_t *set)
{
	size_t i;

	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGIO);
	for (i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		sigaddset(set, passed[i]);
}

/* Who ignores CHLD has nobody to wait for. */
static void
hold_signals(struct child *c)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t set;

	sigemptyset(&plain.sa_mask);
	add_signals(&set);
	sigprocmask(SIG_BLOCK, &set, &c->mask);
	sigaction(SIGCHLD, &plain, &c->on_child);
}

static void
restore_signals(const struct child *c)
{
	sigaction(SIGCHLD, &c->on_child, NULL);
	sigprocmask(SIG_SETMASK, &c->mask, NULL);
}

int
child_fork(struct child *c, void (*run)(void *), void *arg)
{
	int ends[2], saved;
	char byte;

	*c = (struct child){ .pid = -1, .guard = -1, .start = -1 };
	if (pipe2(ends, O_CLOEXEC) == -1)
		return -1;
	hold_signals(c);
	c->pid = fork();
	if (c->pid == 0) {
		close(ends[1]);
		if (io_read_full(ends[0], &byte, 1) != 1)
			_exit(111);
		close(ends[0]);
		restore_signals(c);
		run(arg);
		_exit(126);
	}
	saved = errno;
	close(ends[0]);
	c->start = ends[1];
	if (c->pid != -1)
		return 0;
	close(ends[1]);
	restore_signals(c);
	errno = saved;
	return -1;
}

int
child_start(struct child *c)
{
	int result = io_write_all(c->start, "", 1);

	io_close(c->start);
	return result;
}

void
child_abandon(struct child *c)
{
	close(c->start);
	while (waitpid(c->pid, NULL, 0) == -1 && errno == EINTR)
		continue;
	restore_signals(c);
}

int
child_guard(struct child *c)
{
	struct pollfd end = { .fd = process_watch(c->pid), .events = POLLIN };

	if (end.fd == -1)
		return -1;
	c->guard = fork();
	if (c->guard == 0) {
		close(c->start);
		while (poll(&end, 1, -1) == -1 && errno == EINTR)
			continue;
		_exit(0);
	}
	io_close(end.fd);
	return c->guard != -1 ? 0 : -1;
}

static bool
has_ended(const struct child *c, int *status)
{
	siginfo_t end = { .si_pid = 0 };

	if (waitid(P_PID, (id_t)c->pid, &end, WEXITED | WNOHANG | WNOWAIT) ==
	    -1 || end.si_pid == 0)
		return false;
	*status = end.si_code == CLD_EXITED ? end.si_status :
	    128 + end.si_status;
	return true;
}

/* The next of the signals, or -1; deadline as in child_wait_until. */
static int
next_signal(const sigset_t *set, siginfo_t *info, int64_t deadline)
{
	struct timespec left;
	int ms;

	if (deadline < 0)
		return sigwaitinfo(set, info);
	ms = clock_poll_timeout(deadline);
	left = (struct timespec){ ms / 1000, ms % 1000 * 1000000L };
	return sigtimedwait(set, info, &left);
}

bool
child_wait_until(struct child *c, int64_t deadline, int *status)
{
	siginfo_t info;
	sigset_t set;

	add_signals(&set);
	while (!has_ended(c, status)) {
		if (deadline >= 0 && clock_mono_ms() >= deadline)
			return false;
		if (next_signal(&set, &info, deadline) == -1 ||
		    info.si_signo == SIGCHLD)
			continue;
		if (info.si_signo == SIGIO)
			return has_ended(c, status);
		/* A terminal's has reached the whole group already. */
		if (info.si_code != SI_KERNEL)
			kill(c->pid, info.si_signo);
	}
	return true;
}

int
child_wait(struct child *c)
{
	int status;

	while (!child_wait_until(c, -1, &status))
		continue;
	return status;
}

void
child_reap(struct child *c)
{
	while (waitpid(c->pid, NULL, 0) == -1 && errno == EINTR)
		continue;
	if (c->guard == -1)
		return;
	kill(c->guard, SIGKILL);
	while (waitpid(c->guard, NULL, 0) == -1 && errno == EINTR)
		continue;
}
