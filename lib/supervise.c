#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "presence.h"
#include "process.h"
#include "record.h"
#include "supervise.h"

#define BIND_WAIT_MS 2000	/* a dead parent's child may still be ending */

static int
listen_within(struct address *a, mode_t mode, int64_t ms)
{
	int64_t deadline = clock_mono_ms() + ms;
	int fd;

	while ((fd = address_listen(a, mode)) == -1 && errno == EADDRINUSE &&
	    clock_mono_ms() < deadline)
		poll(NULL, 0, 10);
	return fd;
}

/* ready.json, in the order of the protocol. */
static void
put_ready(struct buf *out, const struct address *a)
{
	char now[CLOCK_TEXT_SIZE];
	struct buf text = { 0 };

	clock_format(clock_wall_ms(), now);
	buf_add_str(out, "{");
	json_put_key(out, "pid");
	buf_add_int(out, getpid());
	json_put_key(out, "host");
	address_put_host(a, &text);
	json_put_string(out, buf_span(&text));
	out->failed |= text.failed;
	json_put_key(out, "port");
	buf_add_int(out, (int64_t)address_port(a));
	json_put_key(out, "baseUrl");
	buf_reset(&text, text.cap);
	address_put_url(a, &text);
	json_put_string(out, buf_span(&text));
	out->failed |= text.failed;
	json_put_key(out, "startedAt");
	json_put_string(out, span_of(now));
	buf_add_str(out, "}\n");
	buf_free(&text);
}

static int
publish(const struct supervise *s)
{
	struct buf ready = { 0 };
	int result = -1;

	put_ready(&ready, s->address);
	errno = ENOMEM;
	if (!buf_failed(&ready) && presence_write_pid(s->q, getpid()) == 0 &&
	    presence_write_ready(s->q, buf_span(&ready)) == 0)
		result = 0;
	if (result == 0 && s->ready_fd != -1) {
		(void)io_write_all(s->ready_fd, ready.data, ready.len);
		close(s->ready_fd);
	}
	buf_free(&ready);
	return result;
}

/* The child's pid; *alive is the pipe that tells it that we live. */
static pid_t
start_child(const struct supervise *s, int listener, int *alive,
    volatile sig_atomic_t *stop, const sigset_t *unblocked)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) == -1)
		return -1;
	pid = fork();
	if (pid == 0) {
		close(ends[1]);
		_exit(gateway_run(s->q, s->gateway, listener, ends[0], stop,
		    unblocked) == 0 ? 0 : 111);
	}
	close(ends[0]);
	if (pid == -1)
		close(ends[1]);
	else
		*alive = ends[1];
	return pid;
}

/* What supervise_run waits for. */
struct wait {
	const struct supervise *s;
	volatile sig_atomic_t *stop;
	const sigset_t *unblocked;
	pid_t command;		/* 0 when there is none, or it has ended */
	bool told;		/* the command, to end */
};

static bool
is_over(const struct wait *w)
{
	return w->s->command != NULL ? w->command == 0 : *w->stop;
}

static void
look_at_command(struct wait *w)
{
	int status;

	if (w->command == 0)
		return;
	if (waitpid(w->command, &status, WNOHANG) == w->command) {
		w->command = 0;
		*w->s->command_status = WIFSIGNALED(status) ?
		    128 + WTERMSIG(status) : WEXITSTATUS(status);
	} else if (*w->stop && !w->told) {
		kill(w->command, *w->stop);
		w->told = true;
	}
}

/*
 * Until the child ends or it is over; then the child is told, and given a
 * while.
 */
static void
wait_child(struct wait *w, pid_t pid)
{
	int64_t deadline = -1;

	for (;;) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		look_at_command(w);
		if (is_over(w) && deadline == -1) {
			kill(pid, SIGTERM);
			deadline = clock_mono_ms() + SUPERVISE_STOP_MS * 3 / 4;
		}
		if (deadline != -1 && clock_mono_ms() >= deadline)
			kill(pid, SIGKILL);
		/* CHLD is blocked but for this wait. */
		if (deadline == -1)
			(void)ppoll(NULL, 0, NULL, w->unblocked);
		else
			(void)poll(NULL, 0, 10);
	}
}

/* Serves until it is over: 0, or -1 when the child will not stay up. */
static int
keep_running(struct wait *w, int listener)
{
	int64_t crashes[SUPERVISE_CRASHES_MAX] = { 0 }, now;
	const struct supervise *s = w->s;
	size_t n = 0;
	int alive;
	pid_t pid;

	for (;;) {
		pid = start_child(s, listener, &alive, w->stop, w->unblocked);
		if (pid == -1)
			return -1;
		wait_child(w, pid);
		close(alive);
		look_at_command(w);
		if (is_over(w))
			return 0;
		s->gateway->warn("gateway", "the server crashed; restarting");
		now = clock_mono_ms();
		if (n >= SUPERVISE_CRASHES_MAX &&
		    now - crashes[n % SUPERVISE_CRASHES_MAX] <
		    SUPERVISE_WINDOW_MS) {
			errno = ECHILD;
			return -1;
		}
		crashes[n++ % SUPERVISE_CRASHES_MAX] = now;
	}
}

/* The command ends when we do, whatever way. */
static int
start_command(struct wait *w)
{
	const struct supervise *s = w->s;
	struct buf url = { 0 };
	pid_t parent = getpid();

	if (s->command == NULL)
		return 0;
	address_put_url(s->address, &url);
	buf_add_char(&url, '\0');
	errno = ENOMEM;
	if (!buf_failed(&url))
		w->command = fork();
	if (w->command == 0 && !buf_failed(&url)) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(111);
		process_default_signals();
		s->command(s->command_arg, url.data);
		_exit(126);
	}
	buf_free(&url);
	if (w->command > 0)
		return 0;
	w->command = 0;
	return -1;
}

/* When the server gave up: the command has no use any more. */
static void
end_command(struct wait *w)
{
	int64_t deadline = clock_mono_ms() + SUPERVISE_STOP_MS;

	if (w->command > 0)
		kill(w->command, SIGTERM);
	for (look_at_command(w); w->command > 0; look_at_command(w)) {
		if (clock_mono_ms() >= deadline)
			kill(w->command, SIGKILL);
		(void)poll(NULL, 0, 10);
	}
}

static void
note_child(int signo)
{
	(void)signo;
}

/* So that a child's end interrupts the wait for it, and nothing else. */
static void
catch_child(sigset_t *unblocked)
{
	struct sigaction sa = { .sa_handler = note_child };
	sigset_t child;

	sigemptyset(&sa.sa_mask);
	sigaction(SIGCHLD, &sa, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	sigdelset(unblocked, SIGCHLD);
}

int
supervise_run(const struct supervise *s, volatile sig_atomic_t *stop,
    const sigset_t *unblocked, const char **what)
{
	sigset_t waiting = *unblocked;
	struct wait w = { .s = s, .stop = stop, .unblocked = &waiting };
	int lock, listener, result, saved;

	*what = "gateway.lock";
	if ((lock = presence_claim(s->q)) == -1)
		return -1;
	catch_child(&waiting);
	*what = "cannot listen";
	listener = listen_within(s->address, s->socket_mode,
	    presence_is_left(s->q) ? BIND_WAIT_MS : 0);
	if (listener == -1) {
		io_close(lock);
		return -1;
	}
	*what = "ready.json";
	result = publish(s);
	if (result == 0) {
		*what = NULL;
		result = start_command(&w);
		if (result == 0)
			result = keep_running(&w, listener);
	}
	saved = errno;
	end_command(&w);
	presence_withdraw(s->q);
	address_withdraw(s->address);
	close(listener);
	close(lock);
	errno = saved;
	return result;
}
