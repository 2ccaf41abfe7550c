#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
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
#include "spawn.h"

#define CHUNK		65536		/* of output, at a time */
#define LINE_CHUNK	8192		/* the same, when it becomes a line */
#define WAITING_MAX	(256 * 1024)	/* unwritten output: read no more */
#define LOOK_MS		50		/* after TERM: for who came meanwhile */
#define AGAIN_MS	50		/* between one KILL and the next: */
#define AGAIN_MAX_MS	1000		/* twice as long each time */
#define NONE_MAX	5		/* KILLs that reached nobody: give up */
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
	bool last;		/* no more than what is in the pipe: */
	size_t left;
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
	bool half;		/* the spool may end in half a line */
	struct buf told;	/* to end */
	int again_ms, none;	/* of KILLs */
	int64_t asked, idle_from;
	/* On the monotonic clock; -1, never. */
	int64_t deadline, look_at, kill_at, last_at, give_up_at, idle_at;
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

static int
start(struct runner *r, const struct program *p)
{
	struct spawned made;

	if (spawn_program(&made, p) == -1)
		return -1;
	if (made.error != 0) {
		end_error(r->end, made.error == ENOENT ? 127 : 126, p->file,
		    strerror(made.error));
		return 0;
	}
	r->pid = r->group = made.pid;
	r->in = made.in;
	r->streams[0].from = made.out;
	r->streams[1].from = made.err;
	return 0;
}

/* 0 when it runs, or when *end says why not; -1 with errno. */
static int
find_and_start(struct runner *r)
{
	const char *name = r->c->argv.line != NULL ? "argv" :
	    r->c->argv.argv.v[0];
	struct program p;
	int result = 0;

	/* Before it is looked for: its name may be relative. */
	if (r->c->cwd != NULL && chdir(r->c->cwd) == -1) {
		end_error(r->end, 126, "cwd", strerror(errno));
		return 0;
	}
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
put_line(struct runner *r, struct stream *s, struct span text)
{
	struct buf *out = &s->to->lines;

	if (r->half)
		buf_add_char(out, '\n');
	r->half = false;
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
	r->half = true;
	output_drop(to);
}

static void
flush(struct runner *r, struct output *to)
{
	if (!r->reader_gone && output_flush(to) == -1) {
		if (r->io->spool)
			lose(r, to);
		else
			r->reader_gone = true;
	}
	if (r->reader_gone) {
		output_drop(&r->out);
		output_drop(&r->err);
	}
}

static void
close_stream(struct stream *s)
{
	io_close(s->from);
	s->from = -1;
}

static void
read_stream(struct runner *r, struct stream *s)
{
	char chunk[CHUNK + sizeof(s->carry)];
	struct span text = { chunk, s->ncarry };
	size_t most = r->c->lines ? LINE_CHUNK : CHUNK;
	ssize_t n;

	if (s->last && s->left < most)
		most = s->left;
	memcpy(chunk, s->carry, s->ncarry);
	do
		n = read(s->from, chunk + s->ncarry, most);
	while (n == -1 && errno == EINTR);
	if (n > 0 && s->last)
		s->left -= (size_t)n;
	if (n <= 0 || (s->last && s->left == 0))
		close_stream(s);
	text.n += n > 0 ? (size_t)n : 0;
	s->ncarry = 0;
	if (text.n == 0)
		return;
	if (!r->c->lines) {
		buf_add_span(&s->to->lines, text);
		flush(r, s->to);
		return;
	}
	if (s->from != -1) {
		s->ncarry = unfinished(text);
		text.n -= s->ncarry;
		memcpy(s->carry, text.p + text.n, s->ncarry);
	}
	if (text.n > 0)
		put_line(r, s, text);
	flush(r, s->to);
}

/*
 * Who still holds it is none of ours: what is in the pipe comes yet, however
 * slow our reader is, and no more.
 */
static void
finish_stream(struct runner *r, struct stream *s)
{
	int n = 0;

	if (s->from == -1)
		return;
	if (ioctl(s->from, FIONREAD, &n) == -1 || n < 0)
		n = 0;
	s->last = true;
	s->left = (size_t)n;
	if (n > 0)
		return;
	close_stream(s);
	if (s->ncarry > 0)
		put_line(r, s, (struct span){ s->carry, s->ncarry });
	s->ncarry = 0;
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
begin_end(struct runner *r, int64_t now)
{
	r->stage = STAGE_END;
	r->kill_at = now + r->c->grace_ms;
	r->deadline = -1;
	r->idle_at = -1;
}

/*
 * TERM to whoever has not had it.  Who is told now may have begun another
 * since it was looked for; its end need not wake us, and so we look again.
 */
static void
tell_all(struct runner *r, int64_t now)
{
	r->look_at = offspring_signal(&r->told, r->group, SIGTERM) > 0 ?
	    now + LOOK_MS : -1;
}

static void
tell_to_end(struct runner *r, enum runner_cause cause)
{
	int64_t now = clock_mono_ms();

	if (r->stage == STAGE_RUN) {
		r->end->cause = cause;
		begin_end(r, now);
		tell_all(r, now);
	} else if (cause == RUNNER_KILLED && r->stage == STAGE_END) {
		/* Told twice: no more grace. */
		r->kill_at = now;
	} else if (cause == RUNNER_KILLED) {
		/* It has ended; our reader is what we wait for. */
		r->give_up_at = now;
	}
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

/* Reaps what has ended, any: whether there is nobody left. */
static bool
reap(struct runner *r, bool *any)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		*any = true;
		if (pid == r->pid)
			note_end(r, status);
	}
	return pid == -1 && errno == ECHILD;
}

static void
begin_last(struct runner *r, int64_t now, bool alone)
{
	r->stage = STAGE_LAST;
	r->look_at = -1;
	r->kill_at = -1;
	r->last_at = now + (alone ? LAST_MS : LEFT_MS);
	if (r->end->cause == RUNNER_CLOSED || r->end->cause == RUNNER_KILLED)
		r->give_up_at = now + LAST_MS;
}

/* KILL, which some cannot be sent: another user's, or what is not found. */
static void
kill_all(struct runner *r, int64_t now)
{
	if (offspring_signal(NULL, r->group, SIGKILL) > 0)
		r->none = 0;
	else
		r->none++;
	r->kill_at = now + r->again_ms;
	if ((r->again_ms *= 2) > AGAIN_MAX_MS)
		r->again_ms = AGAIN_MAX_MS;
	if (r->none < NONE_MAX)
		return;
	r->end->left = true;
	if (r->pid != 0)
		end_error(r->end, 126, "argv", "it could not be ended");
	begin_last(r, now, false);
}

static void
advance(struct runner *r, int64_t now)
{
	bool reaped = false, alone = reap(r, &reaped);
	bool goes_on = r->c->background && r->end->cause == RUNNER_ITSELF;

	if (reaped)
		r->again_ms = AGAIN_MS;
	if (r->stage == STAGE_RUN && r->pid == 0)
		begin_end(r, now);
	if (r->stage != STAGE_END)
		return;
	if (alone || (r->pid == 0 && goes_on))
		begin_last(r, now, alone);
	else if (now >= r->kill_at)
		kill_all(r, now);
	else if (reaped || (r->look_at != -1 && now >= r->look_at))
		tell_all(r, now);
}

static int64_t
asked_ms(const struct runner *r)
{
	struct stat st;

	if (fstat(r->io->asked, &st) == -1)
		return r->asked;
	return (int64_t)st.st_mtim.tv_sec * 1000 +
	    st.st_mtim.tv_nsec / 1000000;
}

/*
 * That the file was touched counts, not when: the wall clock may jump.  Who
 * waits has touched it ahead, by as long as that may take.
 */
static void
look_if_idle(struct runner *r, int64_t now)
{
	int64_t asked, ahead;

	if (r->idle_at == -1 || now < r->idle_at)
		return;
	r->idle_at = now + r->c->idle_ms / 4 + 1;
	if ((asked = asked_ms(r)) != r->asked) {
		r->asked = asked;
		ahead = asked - clock_wall_ms();
		r->idle_from = now + (ahead > 0 ? ahead : 0);
	}
	if (now - r->idle_from > r->c->idle_ms)
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
	if (r->stage != STAGE_LAST)
		return false;
	return (r->give_up_at != -1 && now >= r->give_up_at) ||
	    (r->streams[0].from == -1 && r->streams[1].from == -1 &&
	    output_pending(&r->out) == 0 && output_pending(&r->err) == 0);
}

static int
wait_time(const struct runner *r)
{
	int64_t first = -1, at[] = { r->deadline, r->look_at, r->kill_at,
	    r->last_at, r->give_up_at, r->idle_at };
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
	if (output_pending(&r->out) == 0 &&
	    (r->io->spool || r->stage != STAGE_RUN))
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
	if (r->reader_gone) {
		flush(r, &r->out);
		tell_to_end(r, RUNNER_CLOSED);
	}
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
		if (r->last_at != -1 && now >= r->last_at) {
			r->last_at = -1;
			finish_stream(r, &r->streams[0]);
			finish_stream(r, &r->streams[1]);
			continue;
		}
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
	there = program_look_up(c->unless, program_path(c), &file) ==
	    PROGRAM_FOUND;
	free(file);
	return there;
}

int
runner_run(const struct command *c, const struct runner_io *io,
    struct runner_end *end)
{
	struct runner r = { .c = c, .io = io, .end = end, .in = -1,
	    .lifeline = io->lifeline, .deadline = -1, .look_at = -1,
	    .kill_at = -1, .last_at = -1, .give_up_at = -1, .idle_at = -1,
	    .again_ms = AGAIN_MS,
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
	if (c->idle_ms > 0 && io->asked != -1) {
		r.asked = asked_ms(&r);
		r.idle_from = clock_mono_ms();
		r.idle_at = r.idle_from + c->idle_ms / 4 + 1;
	}
	result = find_and_start(&r);
	if (result == 0 && r.pid > 0) {
		put_started(&r);
		result = serve(&r);
	}
	if (output_pending(&r.out) > 0 || output_pending(&r.err) > 0) {
		lose(&r, &r.out);
		lose(&r, &r.err);
	}
	io_close(r.in);
	io_close(r.streams[0].from);
	io_close(r.streams[1].from);
	io_close(r.signals);
	output_close(&r.out);
	output_close(&r.err);
	buf_free(&r.told);
	return result;
}
