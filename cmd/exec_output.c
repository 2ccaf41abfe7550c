/* pc-exec --output: what a detached program has said, and will say soon. */
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "exec.h"
#include "execdir.h"
#include "io.h"
#include "process.h"

#define ASKING_MS	60000		/* said that far ahead, and in time again */
#define LOOK_MS		500		/* whether a killed one is still there */
#define POLL_MS		50		/* where nothing notifies */
#define END_MS		2000		/* for COMMAND, when output has come */

struct asking {
	const struct options *o;
	int dir, file, events;
	int holder;		/* tells when its pc-exec ends; or -1 */
	pid_t pid;		/* of COMMAND; 0 when there is none left */
	int64_t deadline;	/* -1: none */
	int64_t say_at;		/* when to say again that we ask */
	off_t size;
	off_t scanned;		/* no whole line from the offset to here */
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

/*
 * Whether there is a whole line, or more than may be printed: half of one may
 * stay for ever.
 */
static bool
has_grown(struct asking *a)
{
	char text[16384];
	struct stat st;
	ssize_t n;

	if (fstat(a->file, &st) == -1)
		cli_fail_errno(a->o->id);
	a->size = st.st_size;
	while (a->scanned < a->size) {
		if ((uint64_t)a->scanned - a->o->offset >= a->o->max_bytes)
			return true;
		n = pread(a->file, text, sizeof(text), a->scanned);
		if (n <= 0 || memchr(text, '\n', (size_t)n) != NULL)
			return n != 0;	/* print_lines tells what failed */
		a->scanned += n;
	}
	return false;
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
wait_a_little(struct asking *a, const sigset_t *unblocked, int64_t until)
{
	struct pollfd p[] = {
		{ .fd = a->events, .events = POLLIN },
		{ .fd = a->holder, .events = POLLIN },
	};
	int64_t left = until - clock_mono_ms();
	int64_t ms = a->events == -1 ? POLL_MS :
	    a->holder == -1 ? LOOK_MS : -1;
	struct timespec ts;
	char events[4096];

	if (ms == -1 || left < ms)
		ms = left > 0 ? left : 0;
	ts = (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
	if (ppoll(p, 2, &ts, unblocked) > 0 &&
	    p[0].revents != 0)
		(void)!read(a->events, events, sizeof(events));
}

/* Not to be known is no answer. */
static bool
is_held(const struct asking *a, pid_t *pid)
{
	int held = execdir_is_running(a->dir, a->o->id, pid);

	if (held == -1)
		cli_fail_errno(a->o->id);
	return held == 1;
}

/* Its pc-exec is watched by a descriptor, where there are such. */
static bool
is_running(struct asking *a)
{
	pid_t pid = 0, again = 0;

	if (!is_held(a, &pid))
		return false;
	if (a->holder != -1 || pid == 0)
		return true;
	a->holder = process_watch(pid);
	/* That pid may have become somebody else's before it was watched. */
	if (is_held(a, &again) && again == pid)
		return true;
	io_close(a->holder);
	a->holder = -1;
	return again != 0;
}

/* Says that somebody asks, for as long as we wait, and not much longer. */
static void
say_asking(struct asking *a, int64_t now)
{
	int64_t ahead = ASKING_MS;

	if (now < a->say_at)
		return;
	if (a->deadline != -1 && a->deadline - now < ahead)
		ahead = a->deadline - now;
	execdir_touch(a->dir, a->o->id, ahead);
	a->say_at = now + ASKING_MS / 2;
}

/*
 * Until there is output, the command has ended, COMMAND has, or the time is
 * up.  Whether the command still ran before the file's size was looked at.
 */
static bool
wait_output(struct asking *a, const sigset_t *unblocked)
{
	bool running;
	int64_t now;

	for (;;) {
		now = clock_mono_ms();
		running = is_running(a);
		if (has_grown(a) || !running || cli_stop ||
		    (a->deadline != -1 && now >= a->deadline) ||
		    (a->o->command != NULL && command_ended(a)))
			return running;
		say_asking(a, now);
		wait_a_little(a, unblocked, a->deadline != -1 &&
		    a->deadline < a->say_at ? a->deadline : a->say_at);
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
	pid_t self = getpid();
	sigset_t set;

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
	if (getppid() != self)
		_exit(EXIT_LATER);
	/* What ends it may come before it is the command: our handler would
	 * take it for itself. */
	process_default_signals();
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
	if ((n = io_pread_full(a->file, p, room, (off_t)offset)) == -1)
		cli_fail_errno(a->o->id);
	if ((end = memrchr(p, '\n', (size_t)n)) != NULL) {
		cli_out((struct span){ p, (size_t)(end + 1 - p) });
		offset += (uint64_t)(end + 1 - p);
	} else if ((uint64_t)n == a->o->max_bytes) {
		/* No line of ours: others of its user can write there. */
		offset += (uint64_t)n;
	}
	buf_free(&text);
	return offset;
}

static _Noreturn void
output_missing(const char *id)
{
	if (errno == ENOENT)
		cli_fail(EXIT_NO, id, "no such id");
	cli_fail_errno(id);
}

int
exec_output(const struct options *o)
{
	struct asking a = { .o = o, .holder = -1,
	    .scanned = (off_t)o->offset };
	struct buf line = { 0 };
	sigset_t unblocked;
	uint64_t next;
	bool running;

	a.dir = exec_open_dir(o, false);
	if ((a.file = execdir_read(a.dir, o->id)) == -1)
		output_missing(o->id);
	cli_catch_stop(&unblocked);
	sigdelset(&unblocked, SIGCHLD);
	a.events = watch_file(a.file);
	a.deadline = o->command == NULL ? clock_mono_ms() + o->wait_ms : -1;
	/* What was read before need not be kept; not every system can. */
	if (o->offset >= 4096)
		(void)fallocate(a.file, FALLOC_FL_PUNCH_HOLE |
		    FALLOC_FL_KEEP_SIZE, 0, (off_t)(o->offset & ~4095ULL));
	if (o->command != NULL)
		start_command(&a);
	running = wait_output(&a, &unblocked);
	execdir_touch(a.dir, o->id, 0);
	end_command(&a);
	next = print_lines(&a);
	buf_add_str(&line, "{\"next\":");
	buf_add_int(&line, (int64_t)next);
	/* What is left when it has ended may be half a line. */
	buf_add_str(&line, running || (next < (uint64_t)a.size &&
	    next > o->offset) ? ",\"running\":true}\n" :
	    ",\"running\":false}\n");
	cli_out_buf(&line);
	buf_free(&line);
	return EXIT_YES;
}
