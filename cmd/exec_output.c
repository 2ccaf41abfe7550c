/* pc-exec --output: what a detached program has said, and more. */
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "exec.h"
#include "execdir.h"

#define LOOK_MS		500	/* whether a killed one is still there */
#define POLL_MS		50	/* where nothing notifies */
#define END_MS		2000	/* for COMMAND, when output has come */

struct asking {
	const struct options *o;
	int dir, file, events;
	pid_t pid;		/* of COMMAND; 0 when there is none left */
	int64_t deadline;
	off_t size;
};

/* A descriptor that tells when the file grows; -1 where there is none. */
static int
watch_file(int file)
{
	char path[64];
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (fd != -1 && inotify_add_watch(fd, path, IN_MODIFY) == -1) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool
has_grown(struct asking *a)
{
	struct stat st;

	if (fstat(a->file, &st) == 0)
		a->size = st.st_size;
	return a->size > (off_t)a->o->offset;
}

static bool
command_ended(struct asking *a)
{
	if (a->pid > 0 && waitpid(a->pid, NULL, WNOHANG) != 0)
		a->pid = 0;
	return a->pid == 0;
}

/* COMMAND's end is CHLD, which is let through here only. */
static void
wait_a_little(struct asking *a, const sigset_t *unblocked)
{
	struct pollfd p = { .fd = a->events, .events = POLLIN };
	int64_t now = clock_mono_ms();
	int64_t ms = a->events != -1 ? LOOK_MS : POLL_MS;
	struct timespec ts;
	char events[4096];

	/* With a COMMAND its end is waited for, whatever the time. */
	if (a->pid == 0 && a->deadline - now < ms)
		ms = a->deadline > now ? a->deadline - now : 0;
	ts = (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
	if (ppoll(&p, 1, &ts, unblocked) > 0)
		(void)!read(a->events, events, sizeof(events));
}

/*
 * Until there is output, the command has ended, COMMAND has, or the time is
 * up.  Whether the command still ran before the file's size was looked at.
 */
static bool
wait_output(struct asking *a, const sigset_t *unblocked)
{
	bool command = a->pid > 0, running;

	for (;;) {
		running = execdir_is_running(a->dir, a->o->id, true);
		if (has_grown(a) || !running || cli_stop ||
		    (command ? command_ended(a) :
		    clock_mono_ms() >= a->deadline))
			return running;
		wait_a_little(a, unblocked);
	}
}

static void
note_child(int signo)
{
	(void)signo;
}

/* It writes to our stdout: all it has to say comes before ours. */
static void
start_command(struct asking *a)
{
	struct sigaction sa = { .sa_handler = note_child };
	sigset_t set, none;

	sigemptyset(&sa.sa_mask);
	sigaction(SIGCHLD, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if ((a->pid = fork()) == -1)
		cli_fail_errno("fork");
	if (a->pid > 0)
		return;
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execvp(a->o->command[0], a->o->command);
	cli_fail(errno == ENOENT ? 127 : 126, a->o->command[0],
	    strerror(errno));
}

static void
end_command(struct asking *a)
{
	int64_t until = clock_mono_ms() + END_MS;

	if (!command_ended(a))
		kill(a->pid, SIGTERM);
	while (!command_ended(a)) {
		if (clock_mono_ms() >= until)
			kill(a->pid, SIGKILL);
		poll(NULL, 0, 2);
	}
}

/* Prints whole lines from the offset on: the offset after them. */
static uint64_t
print_lines(struct asking *a)
{
	uint64_t offset = a->o->offset;
	size_t room = a->o->max_bytes;
	struct buf text = { 0 };
	char *p, *end;
	ssize_t n;

	if (a->size <= (off_t)offset)
		return offset;
	if ((uint64_t)a->size - offset < room)
		room = (size_t)((uint64_t)a->size - offset);
	if ((p = buf_reserve(&text, room)) == NULL)
		cli_fail_errno(a->o->id);
	do
		n = pread(a->file, p, room, (off_t)offset);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		cli_fail_errno(a->o->id);
	if ((end = memrchr(p, '\n', (size_t)n)) != NULL) {
		cli_out((struct span){ p, (size_t)(end + 1 - p) });
		offset += (uint64_t)(end + 1 - p);
	}
	buf_free(&text);
	return offset;
}

int
exec_output(const struct options *o)
{
	struct asking a = { .o = o, .pid = 0 };
	struct buf line = { 0 };
	sigset_t unblocked;
	uint64_t next;
	bool running;

	a.dir = exec_open_dir(o, false);
	if ((a.file = execdir_read(a.dir, o->id)) == -1)
		cli_fail(errno == ENOENT ? EXIT_NO : EXIT_NEVER, o->id,
		    errno == ENOENT ? "no such id" : strerror(errno));
	cli_catch_stop(&unblocked);
	sigdelset(&unblocked, SIGCHLD);
	a.events = watch_file(a.file);
	a.deadline = clock_mono_ms() + o->wait_ms;
	/* What was read before need not be kept; not every system can. */
	if (o->offset >= 4096)
		(void)fallocate(a.file, FALLOC_FL_PUNCH_HOLE |
		    FALLOC_FL_KEEP_SIZE, 0, (off_t)(o->offset & ~4095ULL));
	if (o->command != NULL)
		start_command(&a);
	running = wait_output(&a, &unblocked);
	end_command(&a);
	next = print_lines(&a);
	buf_add_str(&line, "{\"next\":");
	buf_add_int(&line, (int64_t)next);
	/* What is left when it has ended may be half a line. */
	buf_add_str(&line, running || (next < (uint64_t)a.size &&
	    next > o->offset) ? ",\"running\":true}\n" :
	    ",\"running\":false}\n");
	cli_out(buf_span(&line));
	buf_free(&line);
	return EXIT_YES;
}
