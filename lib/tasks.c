#include <sys/signalfd.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "process.h"
#include "tasks.h"

#define CHUNK		65536
#define FDS_MAX		64	/* descriptors of all tasks and outputs */
#define KEEP		(256 * 1024)

int
tasks_open(struct tasks *all)
{
	*all = (struct tasks){ .signals = process_signals() };
	return all->signals == -1 ? -1 : 0;
}

void
tasks_close(struct tasks *all)
{
	while (all->first != NULL)
		task_drop(all, all->first);
	io_close(all->signals);
	all->signals = -1;
}

void
task_init(struct task *t, const char *name,
    void (*output)(struct task *, struct span), void *arg)
{
	*t = (struct task){ .name = name, .output = output, .arg = arg,
	    .in = -1, .out = -1, .err = -1 };
}

static void
close_end(int *fd)
{
	io_close(*fd);
	*fd = -1;
}

struct ends {
	int in[2], out[2], err[2];
};

static void
close_ends(struct ends *e)
{
	close_end(&e->in[0]);
	close_end(&e->in[1]);
	close_end(&e->out[0]);
	close_end(&e->out[1]);
	close_end(&e->err[0]);
	close_end(&e->err[1]);
}

static int
open_ends(struct ends *e, const struct task_start *s)
{
	*e = (struct ends){ { s->in, -1 }, { -1, s->out }, { -1, -1 } };
	if ((s->in == -1 && pipe2(e->in, O_CLOEXEC) == -1) ||
	    (s->out == -1 && pipe2(e->out, O_CLOEXEC) == -1) ||
	    pipe2(e->err, O_CLOEXEC) == -1 ||
	    (e->in[1] != -1 && fcntl(e->in[1], F_SETFL, O_NONBLOCK) == -1)) {
		int saved = errno;

		close_ends(e);
		errno = saved;
		return -1;
	}
	return 0;
}

static _Noreturn void
become(const struct task_start *s, const struct ends *e)
{
	char *const *env = s->env != NULL ? s->env : environ;
	static const char reason[] = "cannot be run: ";

	(void)setpgid(0, 0);
	process_default_signals();
	if (dup2(e->in[0], 0) != -1 && dup2(e->out[1], 1) != -1 &&
	    dup2(e->err[1], 2) != -1)
		execvpe(s->argv[0], s->argv, env);
	(void)!write(2, reason, sizeof(reason) - 1);
	(void)!write(2, strerror(errno), strlen(strerror(errno)));
	_exit(errno == ENOENT ? 127 : 126);
}

int
task_start(struct tasks *all, struct task *t, const struct task_start *s)
{
	struct ends e;

	if (open_ends(&e, s) == -1)
		return -1;
	/* What it is to read must be whole. */
	t->pid = buf_failed(&t->to) ? -1 : fork();
	if (t->pid == 0)
		become(s, &e);
	if (t->pid == -1) {
		int saved = errno;

		t->pid = 0;
		close_ends(&e);
		errno = saved;
		return -1;
	}
	(void)setpgid(t->pid, t->pid);
	t->in = e.in[1];
	t->out = e.out[0];
	t->err = e.err[0];
	e.in[1] = e.out[0] = e.err[0] = -1;
	close_ends(&e);
	t->next = all->first;
	all->first = t;
	return 0;
}

size_t
task_pending(const struct task *t)
{
	return t->to.len - t->sent;
}

void
task_signal(const struct task *t, int signo)
{
	if (t->pid > 0)
		kill(-t->pid, signo);
}

static void
forget(struct tasks *all, struct task *t)
{
	struct task **p;

	for (p = &all->first; *p != NULL; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			break;
		}
	t->next = NULL;
}

void
task_drop(struct tasks *all, struct task *t)
{
	forget(all, t);
	if (t->pid > 0) {
		kill(-t->pid, SIGKILL);
		while (!t->reaped && waitpid(t->pid, NULL, 0) == -1 &&
		    errno == EINTR)
			continue;
		t->pid = 0;
	}
	close_end(&t->in);
	close_end(&t->out);
	close_end(&t->err);
	buf_free(&t->to);
	t->sent = 0;
}

/* --- the loop --------------------------------------------------------------- */

static void
write_input(struct task *t)
{
	ssize_t n = write(t->in, t->to.data + t->sent, task_pending(t));

	t->full = n < (ssize_t)task_pending(t);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == -1) {
		close_end(&t->in);
		n = (ssize_t)task_pending(t);
	}
	t->sent += (size_t)n;
	/* Moving what is left costs no more than what was written. */
	if (t->sent >= t->to.len / 2) {
		buf_consume(&t->to, t->sent);
		t->sent = 0;
	}
	if (t->to.len == 0)
		buf_reset(&t->to, KEEP);
}

static void
close_if_done(struct task *t)
{
	if (t->in != -1 && t->finish && task_pending(t) == 0)
		close_end(&t->in);
	if (t->in == -1) {
		buf_reset(&t->to, 0);
		t->sent = 0;
	}
}

static void
read_output(struct task *t)
{
	char chunk[CHUNK];
	ssize_t n = read(t->out, chunk, sizeof(chunk));

	if (n == -1 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0)
		close_end(&t->out);
	else if (t->output != NULL)
		t->output(t, (struct span){ chunk, (size_t)n });
}

/* Keeps the end of what it says. */
static void
read_errors(struct task *t)
{
	char chunk[TASK_TAIL];
	ssize_t n = read(t->err, chunk, sizeof(chunk));
	size_t len, drop;

	if (n == -1 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		close_end(&t->err);
		return;
	}
	len = (size_t)n;
	if (t->tail_len + len > sizeof(t->tail)) {
		drop = t->tail_len + len - sizeof(t->tail);
		memmove(t->tail, t->tail + drop, t->tail_len - drop);
		t->tail_len -= drop;
	}
	memcpy(t->tail + t->tail_len, chunk, len);
	t->tail_len += len;
}

static void
read_signals(struct tasks *all)
{
	struct signalfd_siginfo info;

	while (read(all->signals, &info, sizeof(info)) ==
	    (ssize_t)sizeof(info))
		if (info.ssi_signo != SIGCHLD) {
			all->stop = (int)info.ssi_signo;
			all->stops++;
		}
}

/*
 * What it has started may hold its stderr for ever: that is not waited for.
 * changed: one of them may have ended.
 */
static void
reap(struct tasks *all, bool changed)
{
	struct task *t, *next;
	int status;

	for (t = all->first; t != NULL; t = next) {
		next = t->next;
		if (changed && !t->reaped &&
		    waitpid(t->pid, &status, WNOHANG) == t->pid) {
			t->reaped = true;
			t->status = WIFSIGNALED(status) ?
			    128 + WTERMSIG(status) : WEXITSTATUS(status);
		}
		if (!t->reaped || t->out != -1)
			continue;
		if (t->err != -1) {
			struct pollfd p = { .fd = t->err, .events = POLLIN };

			while (t->err != -1 && poll(&p, 1, 0) == 1)
				read_errors(t);
		}
		t->ended = true;
		t->pid = 0;
		close_end(&t->in);
		close_end(&t->err);
		forget(all, t);
	}
}

struct polled {
	struct pollfd fds[FDS_MAX];
	struct task *of[FDS_MAX];
	size_t n;
};

static void
add(struct polled *p, int fd, short events, struct task *t)
{
	if (fd == -1 || p->n == FDS_MAX)
		return;
	p->fds[p->n] = (struct pollfd){ .fd = fd, .events = events };
	p->of[p->n++] = t;
}

static void
collect(struct tasks *all, struct polled *p)
{
	struct task *t;
	size_t i;

	p->n = 0;
	add(p, all->signals, POLLIN, NULL);
	for (i = 0; i < 2; i++)
		if (all->outputs[i] != NULL &&
		    output_pending(all->outputs[i]) > 0)
			add(p, all->outputs[i]->fd, POLLOUT, NULL);
	for (t = all->first; t != NULL; t = t->next) {
		close_if_done(t);
		if (task_pending(t) > 0)
			add(p, t->in, POLLOUT, t);
		if (!t->paused)
			add(p, t->out, POLLIN, t);
		add(p, t->err, POLLIN, t);
	}
}

static void
serve(const struct pollfd *p, struct task *t)
{
	if (p->revents == 0)
		return;
	if (p->fd == t->in)
		write_input(t);
	else if (p->fd == t->out)
		read_output(t);
	else if (p->fd == t->err)
		read_errors(t);
}

/* What one task has said is often for another, and there most often is room. */
static void
flush_inputs(struct tasks *all)
{
	struct task *t;

	for (t = all->first; t != NULL; t = t->next)
		if (t->in != -1 && task_pending(t) > 0 && !t->full)
			write_input(t);
}

/* What has no reader any more would be told as an error without end. */
static void
flush_outputs(struct tasks *all)
{
	size_t i;

	for (i = 0; i < 2; i++)
		if (all->outputs[i] != NULL &&
		    output_flush(all->outputs[i]) == -1) {
			all->output_gone = true;
			output_drop(all->outputs[i]);
		}
}

int
tasks_wait(struct tasks *all, int64_t deadline)
{
	struct polled p;
	size_t i;
	int n;

	/* Nothing is done before: the caller may wait for just that. */
	collect(all, &p);
	n = poll(p.fds, (nfds_t)p.n, clock_poll_timeout(deadline));
	if (n == -1)
		return errno == EINTR ? 0 : -1;
	if (p.fds[0].revents != 0)
		read_signals(all);
	for (i = 1; i < p.n; i++)
		if (p.of[i] != NULL)
			serve(&p.fds[i], p.of[i]);
	flush_inputs(all);
	flush_outputs(all);
	/* CHLD is blocked, and so its end is told here; a pause looks again. */
	reap(all, n == 0 || p.fds[0].revents != 0);
	return 0;
}
