#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base64.h"
#include "clock.h"
#include "io.h"
#include "offspring.h"
#include "output.h"
#include "process.h"
#include "program.h"
#include "runner.h"

#define CHUNK		65536		/* of output, at a time */
#define LINE_CHUNK	8192		/* the same, when it becomes a line */
#define WAITING_MAX	(256 * 1024)	/* unwritten output: read no more */
#define AGAIN_MS	50		/* between one KILL and the next */
#define LAST_MS		1000		/* for output, after the last process */
#define LEFT_MS		50		/* the same, when some may go on */

enum stage {
	STAGE_RUN,
	STAGE_END,		/* told to end, or ending what it left */
	STAGE_LAST		/* all have ended; the rest of their output */
};

/* One of its two outputs. */
struct stream {
	const char *key;
	int from;		/* -1 when it has ended */
	struct output *to;
	char carry[4];		/* the beginning of a character */
	size_t ncarry;
};

struct runner {
	const struct command *c;
	const struct runner_io *io;
	struct runner_end *end;
	enum stage stage;
	pid_t pid, group;
	int signals, lifeline, in;
	size_t input_at;
	struct stream streams[2];
	struct output out, err;
	bool reader_gone;
	bool hurry;		/* nobody waits for a slow reader any more */
	int64_t deadline, kill_at, last_at, idle_at;	/* -1: never */
};

static void
end_error(struct runner_end *e, int status, const char *object,
    const char *reason)
{
	e->status = status;
	if (e->error.len > 0)
		return;
	buf_add_str(&e->error, object);
	buf_add_str(&e->error, ": ");
	buf_add_str(&e->error, reason);
}

/* --- the process ------------------------------------------------------------ */

/* What the child tells when it cannot become the program. */
struct failure {
	int error;
	bool cwd;
};

static _Noreturn void
become(const struct program *p, const char *cwd, const int fds[static 3],
    int tell)
{
	struct failure f = { .cwd = false };
	pid_t parent = getppid();
	int i;

	(void)setsid();
	/* If we are killed, so is it; what it started is found by its mark. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	process_default_signals();
	for (i = 0; i < 3; i++)
		if (dup2(fds[i], i) == -1)
			goto fail;
	if (cwd != NULL && chdir(cwd) == -1) {
		f.cwd = true;
		goto fail;
	}
	execve(p->file, p->argv, p->env);
fail:
	f.error = errno;
	(void)io_write_all(tell, &f, sizeof(f));
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

static int
start(struct runner *r, const struct program *p)
{
	int pipes[4][2], fds[3], result = -1, saved;
	struct failure f;

	if (make_pipes(pipes) == -1)
		goto out;
	fds[0] = pipes[0][0];
	fds[1] = pipes[1][1];
	fds[2] = pipes[2][1];
	r->pid = fork();
	if (r->pid == -1)
		goto out;
	if (r->pid == 0)
		become(p, r->c->cwd, fds, pipes[3][1]);
	r->group = r->pid;
	io_close(keep_end(&pipes[3][1]));
	if (io_read_full(pipes[3][0], &f, sizeof(f)) == (ssize_t)sizeof(f)) {
		(void)waitpid(r->pid, NULL, 0);
		r->pid = 0;
		end_error(r->end, f.error == ENOENT && !f.cwd ? 127 : 126,
		    f.cwd ? "cwd" : p->file, strerror(f.error));
		result = 0;
		goto out;
	}
	r->in = keep_end(&pipes[0][1]);
	r->streams[0].from = keep_end(&pipes[1][0]);
	r->streams[1].from = keep_end(&pipes[2][0]);
	result = fcntl(r->in, F_SETFL, O_NONBLOCK);
out:
	saved = errno;
	close_pipes(pipes);
	errno = saved;
	return result;
}

/* 0 when it runs, or when *end says why not; -1 with errno. */
static int
find_and_start(struct runner *r)
{
	const char *name = r->c->argv.line != NULL ? "argv" :
	    r->c->argv.argv.v[0];
	struct program p;
	int result = 0;

	switch (program_find(&p, r->c, r->io->mark)) {
	case PROGRAM_FOUND:
		result = start(r, &p);
		break;
	case PROGRAM_NONE:
		end_error(r->end, 127, name, "not found");
		break;
	case PROGRAM_DENIED:
		end_error(r->end, 126, name, "not executable");
		break;
	case PROGRAM_NO_SHELL:
		end_error(r->end, 127, name,
		    "a line for a shell, and there is no shell here");
		break;
	case PROGRAM_FAILED:
		result = -1;
		break;
	}
	program_free(&p);
	return result;
}

/* --- its output ------------------------------------------------------------- */

/* How many bytes at the end are the beginning of a character (RFC 3629). */
static size_t
unfinished(struct span text)
{
	size_t back, need;

	for (back = 1; back <= 3 && back <= text.n; back++) {
		unsigned char c = (unsigned char)text.p[text.n - back];

		if ((c & 0xc0) == 0x80)
			continue;
		need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
		return need > back ? back : 0;
	}
	return 0;
}

static void
put_line(struct stream *s, struct span text)
{
	struct buf *out = &s->to->lines;

	buf_add_str(out, "{\"");
	buf_add_str(out, s->key);
	if (utf8_is_valid(text)) {
		buf_add_str(out, "\":");
		json_put_string(out, text);
	} else {
		buf_add_str(out, "Base64\":\"");
		base64_encode(out, text);
		buf_add_char(out, '"');
	}
	buf_add_str(out, "}\n");
}

/* The first line: which process it is. */
static void
put_started(struct runner *r)
{
	struct buf *out = &r->out.lines;
	char now[CLOCK_TEXT_SIZE];

	if (!r->c->lines)
		return;
	clock_format(clock_wall_ms(), now);
	buf_add_str(out, "{\"pid\":");
	buf_add_int(out, r->pid);
	json_put_key(out, "startedAt");
	json_put_string(out, span_of(now));
	buf_add_str(out, "}\n");
}

static void
lose(struct runner *r, struct output *to)
{
	r->end->lost += output_pending(to);
	buf_reset(&to->lines, 0);
	to->sent = 0;
}

static void
flush(struct runner *r, struct output *to)
{
	if (r->reader_gone) {
		buf_reset(&to->lines, 0);
		to->sent = 0;
	} else if (output_flush(to) == -1) {
		if (r->io->spool)
			lose(r, to);
		else
			r->reader_gone = true;
	}
}

static void
read_stream(struct runner *r, struct stream *s)
{
	char chunk[CHUNK + sizeof(s->carry)];
	struct span text = { chunk, s->ncarry };
	ssize_t n;

	memcpy(chunk, s->carry, s->ncarry);
	do
		n = read(s->from, chunk + s->ncarry,
		    r->c->lines ? LINE_CHUNK : CHUNK);
	while (n == -1 && errno == EINTR);
	if (n <= 0) {
		io_close(s->from);
		s->from = -1;
	}
	text.n += n > 0 ? (size_t)n : 0;
	s->ncarry = 0;
	if (text.n == 0)
		return;
	if (!r->c->lines) {
		buf_add_span(&s->to->lines, text);
		flush(r, s->to);
		return;
	}
	if (n > 0) {
		s->ncarry = unfinished(text);
		text.n -= s->ncarry;
		memcpy(s->carry, text.p + text.n, s->ncarry);
	}
	if (text.n > 0)
		put_line(s, text);
	flush(r, s->to);
}

static void
write_input(struct runner *r)
{
	struct span rest = r->c->input;
	ssize_t n = 0;

	rest.p += r->input_at;
	rest.n -= r->input_at;
	if (rest.n > 0)
		n = write(r->in, rest.p, rest.n);
	if (n > 0)
		r->input_at += (size_t)n;
	if (r->input_at == r->c->input.n ||
	    (n == -1 && errno != EAGAIN && errno != EINTR)) {
		io_close(r->in);
		r->in = -1;
	}
}

/* --- its end ---------------------------------------------------------------- */

static void
tell_to_end(struct runner *r, enum runner_cause cause)
{
	r->hurry = r->hurry || cause != RUNNER_DEADLINE;
	if (r->stage != STAGE_RUN) {
		/* Told twice: no more grace. */
		if (r->stage == STAGE_END && cause == RUNNER_KILLED)
			r->kill_at = clock_mono_ms();
		return;
	}
	r->end->cause = cause;
	r->stage = STAGE_END;
	r->deadline = -1;
	r->kill_at = clock_mono_ms() + r->c->grace_ms;
	offspring_signal(r->group, SIGTERM);
}

static void
note_end(struct runner *r, int status)
{
	r->pid = 0;
	if (WIFSIGNALED(status)) {
		r->end->signal = WTERMSIG(status);
		r->end->status = 128 + r->end->signal;
	} else {
		r->end->status = WEXITSTATUS(status);
	}
}

/* Reaps what has ended: whether there is nobody left. */
static bool
reap(struct runner *r)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == r->pid)
			note_end(r, status);
	return pid == -1 && errno == ECHILD;
}

static void
advance(struct runner *r, int64_t now)
{
	bool alone = reap(r);

	if (r->stage == STAGE_RUN && r->pid == 0) {
		r->stage = STAGE_END;
		r->deadline = -1;
		r->kill_at = now + r->c->grace_ms;
		if (!alone && !r->c->background)
			offspring_signal(r->group, SIGTERM);
	}
	if (r->stage == STAGE_END && (alone || (r->pid == 0 &&
	    r->c->background && r->end->cause == RUNNER_ITSELF))) {
		r->stage = STAGE_LAST;
		r->kill_at = -1;
		r->last_at = now + (alone ? LAST_MS : LEFT_MS);
	}
	if (r->stage == STAGE_END && now >= r->kill_at) {
		offspring_signal(r->group, SIGKILL);
		r->kill_at = now + AGAIN_MS;
	}
}

static void
look_if_idle(struct runner *r, int64_t now)
{
	struct stat st;
	int64_t asked;

	if (r->idle_at == -1 || now < r->idle_at)
		return;
	r->idle_at = now + r->c->idle_ms / 4 + 1;
	if (fstat(r->io->asked, &st) == -1)
		return;
	asked = (int64_t)st.st_mtim.tv_sec * 1000 +
	    st.st_mtim.tv_nsec / 1000000;
	if (clock_wall_ms() - asked > r->c->idle_ms)
		tell_to_end(r, RUNNER_IDLE);
}

static void
read_signals(struct runner *r)
{
	struct signalfd_siginfo info;

	while (read(r->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			tell_to_end(r, RUNNER_KILLED);
}

/*
 * Nothing is expected there but its end; whoever wants to know whether the
 * channel still works sends a line, and gets an empty one.
 */
static void
read_lifeline(struct runner *r)
{
	char dropped[4096];
	ssize_t n = read(r->lifeline, dropped, sizeof(dropped));

	if (n > 0 && r->c->lines && memchr(dropped, '\n', (size_t)n) != NULL &&
	    output_pending(&r->out) < WAITING_MAX)
		buf_add_char(&r->out.lines, '\n');
	if (n > 0 || (n == -1 && (errno == EINTR || errno == EAGAIN)))
		return;
	r->lifeline = -1;
	tell_to_end(r, RUNNER_CLOSED);
}

static bool
is_done(const struct runner *r, int64_t now)
{
	bool read_all = r->streams[0].from == -1 && r->streams[1].from == -1;
	bool written = output_pending(&r->out) == 0 &&
	    output_pending(&r->err) == 0;

	return r->stage == STAGE_LAST && (read_all || now >= r->last_at) &&
	    (written || r->reader_gone || (r->hurry && now >= r->last_at));
}

static int
wait_time(const struct runner *r)
{
	int64_t first = -1, at[] = { r->deadline, r->kill_at, r->last_at,
	    r->idle_at };
	size_t i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		if (at[i] != -1 && (first == -1 || at[i] < first))
			first = at[i];
	return clock_poll_timeout(first);
}

static int
stream_to_poll(const struct stream *s)
{
	return output_pending(s->to) < WAITING_MAX ? s->from : -1;
}

static int
serve_once(struct runner *r)
{
	struct pollfd fds[] = {
		{ .fd = r->signals, .events = POLLIN },
		{ .fd = r->lifeline, .events = POLLIN },
		{ .fd = r->in, .events = POLLOUT },
		{ .fd = stream_to_poll(&r->streams[0]), .events = POLLIN },
		{ .fd = stream_to_poll(&r->streams[1]), .events = POLLIN },
		{ .fd = r->reader_gone ? -1 : r->out.fd,
		    .events = output_pending(&r->out) > 0 ? POLLOUT : 0 },
		{ .fd = output_pending(&r->err) > 0 ? r->err.fd : -1,
		    .events = POLLOUT },
	};
	size_t i;

	/* Once it has gone, it would be said without end. */
	if (r->io->spool || r->stage != STAGE_RUN)
		if (output_pending(&r->out) == 0)
			fds[5].fd = -1;
	if (poll(fds, sizeof(fds) / sizeof(fds[0]), wait_time(r)) == -1)
		return errno == EINTR ? 0 : -1;
	if (fds[0].revents != 0)
		read_signals(r);
	if (fds[1].revents != 0)
		read_lifeline(r);
	if (fds[2].revents != 0)
		write_input(r);
	for (i = 0; i < 2; i++)
		if (fds[3 + i].revents != 0)
			read_stream(r, &r->streams[i]);
	if (fds[5].revents & POLLOUT)
		flush(r, &r->out);
	else if (io_peer_gone(fds[5].revents))
		r->reader_gone = true;
	if (fds[6].revents != 0)
		flush(r, &r->err);
	if (r->reader_gone)
		tell_to_end(r, RUNNER_CLOSED);
	return 0;
}

static int
serve(struct runner *r)
{
	int64_t now;

	for (;;) {
		now = clock_mono_ms();
		advance(r, now);
		if (is_done(r, now))
			return 0;
		if (r->stage == STAGE_RUN && r->deadline != -1 &&
		    now >= r->deadline)
			tell_to_end(r, RUNNER_DEADLINE);
		if (r->stage == STAGE_LAST && now >= r->last_at)
			r->last_at = now + LAST_MS;	/* a slow reader */
		look_if_idle(r, now);
		if (serve_once(r) == -1)
			return -1;
	}
}

static bool
is_needless(const struct command *c)
{
	char *file = NULL;
	bool there;

	if (c->unless == NULL)
		return false;
	there = program_look_up(c->unless, getenv("PATH"), &file) ==
	    PROGRAM_FOUND;
	free(file);
	return there;
}

int
runner_run(const struct command *c, const struct runner_io *io,
    struct runner_end *end)
{
	struct runner r = { .c = c, .io = io, .end = end, .in = -1,
	    .lifeline = io->lifeline, .deadline = -1, .kill_at = -1,
	    .last_at = -1, .idle_at = -1,
	    .streams = { { .key = "stdout", .from = -1 },
	    { .key = "stderr", .from = -1 } } };
	int result;

	*end = (struct runner_end){ .status = 0 };
	if ((end->skipped = is_needless(c)))
		return 0;
	if ((r.signals = process_signals()) == -1)
		return -1;
	offspring_adopt();
	output_open(&r.out, io->out);
	output_open(&r.err, io->err);
	r.streams[0].to = &r.out;
	r.streams[1].to = c->lines ? &r.out : &r.err;
	if (c->timeout_ms > 0)
		r.deadline = clock_mono_ms() + c->timeout_ms;
	if (c->idle_ms > 0 && io->asked != -1)
		r.idle_at = clock_mono_ms() + c->idle_ms / 4 + 1;
	result = find_and_start(&r);
	if (result == 0 && r.pid > 0) {
		put_started(&r);
		result = serve(&r);
	}
	end->unread = r.reader_gone || output_pending(&r.out) > 0;
	io_close(r.in);
	io_close(r.streams[0].from);
	io_close(r.streams[1].from);
	io_close(r.signals);
	output_close(&r.out);
	output_close(&r.err);
	return result;
}

static const char *const cause_names[] = {
	[RUNNER_CLOSED] = "closed", [RUNNER_DEADLINE] = "deadline",
	[RUNNER_KILLED] = "killed", [RUNNER_IDLE] = "idle"
};

static void
put_text(struct buf *out, const char *key, struct span text)
{
	json_put_key(out, key);
	if (text.n == 0)
		buf_add_str(out, "null");
	else if (utf8_is_valid(text))
		json_put_string(out, text);
	else
		buf_add_str(out, "\"(not UTF-8)\"");
}

void
runner_put_report(struct buf *out, const struct command *c,
    const struct runner_end *end)
{
	const char *cause = cause_names[end->cause];

	buf_add_str(out, "{\"exit\":");
	buf_add_int(out, end->status);
	json_put_key(out, "signal");
	if (end->signal != 0)
		buf_add_int(out, end->signal);
	else
		buf_add_str(out, "null");
	json_put_key(out, "timedOut");
	buf_add_str(out, end->cause == RUNNER_DEADLINE ? "true" : "false");
	put_text(out, "ended", span_of(cause != NULL ? cause : ""));
	put_text(out, "error", buf_span(&end->error));
	if (end->skipped)
		buf_add_str(out, ",\"skipped\":true");
	if (end->lost > 0) {
		json_put_key(out, "lostBytes");
		buf_add_int(out, (int64_t)end->lost);
	}
	if (c->id != NULL)
		put_text(out, "id", span_of(c->id));
	buf_add_str(out, "}\n");
}
