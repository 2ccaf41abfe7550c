#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "io.h"
#include "process.h"
#include "spawn.h"

static _Noreturn void
become(const struct program *p, pid_t parent, const int fds[static 3],
    int tell)
{
	int i, error;

	(void)setsid();
	/* If we are killed, so is it; what it started is found by its mark. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	process_default_signals();
	for (i = 0; i < 3; i++)
		if (dup2(fds[i], i) == -1)
			break;
	if (i == 3)
		execve(p->file, p->argv, p->env);
	error = errno;
	(void)io_write_all(tell, &error, sizeof(error));
	_exit(126);
}

/* Four pipes: its three, and one that tells what failed. */
static int
make_pipes(int pipes[static 4][2])
{
	int i;

	for (i = 0; i < 4; i++)
		pipes[i][0] = pipes[i][1] = -1;
	for (i = 0; i < 4; i++)
		if (pipe2(pipes[i], O_CLOEXEC) == -1)
			return -1;
	return 0;
}

static void
close_pipes(int pipes[static 4][2])
{
	int i;

	for (i = 0; i < 4; i++) {
		io_close(pipes[i][0]);
		io_close(pipes[i][1]);
	}
}

/* Takes an end out of a pipe that is going to be closed. */
static int
keep_end(int *end)
{
	int fd = *end;

	*end = -1;
	return fd;
}

int
spawn_program(struct spawned *s, const struct program *p)
{
	int pipes[4][2], fds[3], result = -1, saved;
	pid_t self = getpid();

	*s = (struct spawned){ .in = -1, .out = -1, .err = -1 };
	if (make_pipes(pipes) == -1)
		goto out;
	fds[0] = pipes[0][0];
	fds[1] = pipes[1][1];
	fds[2] = pipes[2][1];
	if (fcntl(pipes[0][1], F_SETFL, O_NONBLOCK) == -1 ||
	    (s->pid = fork()) == -1)
		goto out;
	if (s->pid == 0)
		become(p, self, fds, pipes[3][1]);
	result = 0;
	io_close(keep_end(&pipes[3][1]));
	if (io_read_full(pipes[3][0], &s->error, sizeof(s->error)) ==
	    (ssize_t)sizeof(s->error)) {
		(void)waitpid(s->pid, NULL, 0);
		s->pid = 0;
		goto out;
	}
	s->error = 0;
	s->in = keep_end(&pipes[0][1]);
	s->out = keep_end(&pipes[1][0]);
	s->err = keep_end(&pipes[2][0]);
out:
	saved = errno;
	close_pipes(pipes);
	errno = saved;
	return result;
}
