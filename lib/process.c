#include <sys/signalfd.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "process.h"

/* Of the fields of /proc/PID/stat, counted from the one after the name. */
enum { STAT_STATE = 0, STAT_THREADS = 17, STAT_START = 19 };

/* A file of /proc as text, cut to size; its length, or -1. */
static ssize_t
read_text(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd == -1)
		return -1;
	n = io_read_full(fd, out, size - 1);
	io_close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n;
}

static ssize_t
read_proc(pid_t pid, const char *file, char *out, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, file);
	return read_text(path, out, size);
}

/* Where a field of /proc/PID/stat begins, or NULL. */
static const char *
stat_field(const char *stat, int field)
{
	/* The name is the program's choice: it may hold spaces and brackets. */
	const char *p = strrchr(stat, ')');
	int i;

	for (i = 0; p != NULL && i <= field; i++)
		if ((p = strchr(p, ' ')) != NULL)
			p++;
	return p;
}

static uint64_t
stat_number(const char *stat, int field)
{
	const char *p = stat_field(stat, field);

	return p != NULL ? strtoull(p, NULL, 10) : 0;
}

uint64_t
process_start(pid_t pid)
{
	char stat[1024];

	if (read_proc(pid, "stat", stat, sizeof(stat)) <= 0)
		return 0;
	return stat_number(stat, STAT_START);
}

int
process_watch(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

void
process_default_signals(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;
	int n;

	sigemptyset(&plain.sa_mask);
	for (n = 1; n < NSIG; n++)
		sigaction(n, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int
process_signals(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t set;

	/* Whoever ignores CHLD has nobody to wait for. */
	sigemptyset(&plain.sa_mask);
	sigaction(SIGCHLD, &plain, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
		return -1;
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Whether it has ended, be it reaped or not; false without pidfds. */
static bool
has_ended(pid_t pid)
{
	struct pollfd p = { .fd = process_watch(pid), .events = POLLIN };
	bool ended = p.fd != -1 && poll(&p, 1, 0) == 1;

	io_close(p.fd);
	return ended;
}

bool
process_is_alive(pid_t pid, uint64_t start)
{
	char stat[1024];
	const char *state;

	if (pid <= 0 || (kill(pid, 0) == -1 && errno == ESRCH) ||
	    has_ended(pid))
		return false;
	if (read_proc(pid, "stat", stat, sizeof(stat)) <= 0 ||
	    (state = stat_field(stat, STAT_STATE)) == NULL)
		return kill(pid, 0) == 0 || errno != ESRCH;
	/* A first thread that has ended looks like a zombie as well. */
	if ((*state == 'Z' || *state == 'X') &&
	    stat_number(stat, STAT_THREADS) <= 1)
		return false;
	return start == 0 || stat_number(stat, STAT_START) == start;
}

void
process_boot(char out[static PROCESS_BOOT_SIZE])
{
	if (read_text("/proc/sys/kernel/random/boot_id", out,
	    PROCESS_BOOT_SIZE) != PROCESS_BOOT_SIZE - 1)
		out[0] = '\0';
}

static void
make_printable(char *s)
{
	for (; *s != '\0'; s++)
		if (*s < 0x20 || *s > 0x7e)
			*s = '?';
}

void
process_command(pid_t pid, char *out, size_t size)
{
	ssize_t n = read_proc(pid, "cmdline", out, size), i;

	if (n < 0)
		n = 0;
	while (n > 0 && out[n - 1] == '\0')
		n--;
	for (i = 0; i < n; i++)
		if (out[i] == '\0')
			out[i] = ' ';
	out[n] = '\0';
	make_printable(out);
}

void
process_join(char *const argv[], char *out, size_t size)
{
	size_t len = 0, n;

	out[0] = '\0';
	for (; *argv != NULL && len + 1 < size; argv++) {
		if (len > 0)
			out[len++] = ' ';
		n = strlen(*argv);
		if (n > size - 1 - len)
			n = size - 1 - len;
		memcpy(out + len, *argv, n);
		len += n;
		out[len] = '\0';
	}
	make_printable(out);
}
