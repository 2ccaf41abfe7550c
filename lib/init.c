#include <sys/signalfd.h>
#include <sys/wait.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"
#include "init.h"
#include "offspring.h"
#include "process.h"

static pid_t
start_plain(char *const argv[])
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	(void)setsid();
	process_default_signals();
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

/* Ends every other process there is, which only process 1 may do. */
static void
end_all(void)
{
	int64_t until = clock_mono_ms() + COMMAND_GRACE_MS;

	if (getpid() != 1)
		return;
	kill(-1, SIGTERM);
	while (waitpid(-1, NULL, WNOHANG) != -1 && clock_mono_ms() < until)
		poll(NULL, 0, 10);
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) != -1)
		continue;
}

int
init_run(char *const argv[])
{
	int signals = process_signals(), status;
	struct signalfd_siginfo info;
	struct pollfd p = { .fd = signals, .events = POLLIN };
	pid_t main_pid = 0, pid;

	if (signals == -1)
		return -1;
	offspring_adopt();
	if (argv != NULL && (main_pid = start_plain(argv)) == -1)
		return -1;
	for (;;) {
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == main_pid) {
				end_all();
				return WIFSIGNALED(status) ? 128 +
				    WTERMSIG(status) : WEXITSTATUS(status);
			}
		(void)poll(&p, 1, -1);
		if (read(signals, &info, sizeof(info)) !=
		    (ssize_t)sizeof(info) || info.ssi_signo == SIGCHLD)
			continue;
		if (main_pid > 0) {
			kill(main_pid, (int)info.ssi_signo);
			continue;
		}
		end_all();
		return 0;
	}
}
