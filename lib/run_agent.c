/*
 * The agent, beside its relay.  On a channel that streams it has an exec of
 * its own, ends with it, and its output comes as it is made.  On one that
 * returns everything at the end it is detached; one exec at a time waits for
 * its output and for requests, another returns a batch of answers.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "bridge.h"
#include "clock.h"
#include "io.h"

#define LINE_MAX_BYTES	(256 * 1024)
#define WAITING_MAX	(256 * 1024)	/* our reader is slow: read no more */
#define PING_MS		20000
#define SILENT_MS	60000		/* a channel that hangs */
#define LAST_MS		8000		/* for its end, after it was told */
#define POLL_SECONDS	25
#define POLL_SLACK_MS	60000
#define FAILURES_MAX	20		/* of polls, one after another */
#define BACKOFF_MAX_MS	5000

struct agent {
	struct run *r;
	struct task exec;	/* streaming: its own; else the poll */
	struct lines lines;
	struct output out, err;
	bool told;		/* to end */
	bool ended;
	bool reported;		/* its end, by its pc-exec */
	int status;
	int64_t told_at, heard_at, ping_at;
	/* polling */
	uint64_t offset;
	bool polled;		/* this poll's last line has come */
	bool recover;		/* the next one looks for lost claims */
	unsigned failures;
	int64_t again_at, poll_until;
};

/* --- what it says ----------------------------------------------------------- */

static void
take_said(struct agent *a, const struct said *s)
{
	struct run *r = a->r;

	buf_add_span(&a->out.lines, s->out);
	buf_add_span(&a->err.lines, s->err);
	if (s->pid >= 0) {
		run_event(r, "agent", "started", "\"pid\":%lld,"
		    "\"startedAt\":%s", (long long)s->pid,
		    run_quoted(r, s->started));
	}
	if (s->ended && !a->ended) {
		a->ended = a->reported = true;
		a->status = (int)s->status;
		run_event(r, "agent", "ended", "\"status\":%d,\"signal\":%d,"
		    "\"timedOut\":%s,\"lostBytes\":%lld", (int)s->status,
		    (int)s->signal, s->timed_out ? "true" : "false",
		    (long long)s->lost);
		if (s->error != NULL && *s->error != '\0')
			(void)run_fail(r, (int)s->status, "agent: %s",
			    s->error);
		else if (s->timed_out)
			(void)run_fail(r, (int)s->status,
			    "agent: timed out");
		else if (s->signal != 0 && !a->told)
			(void)run_fail(r, (int)s->status,
			    "agent: ended by signal %d", (int)s->signal);
	}
	if (s->next >= 0) {
		a->polled = true;
		a->offset = (uint64_t)s->next;
		/* Its pc-exec is gone, and has not said why. */
		if (!s->running && !a->ended) {
			a->ended = true;
			a->status = RUN_STATUS_LATER;
			(void)run_fail(r, RUN_STATUS_LATER,
			    "agent: it was killed with its pc-exec");
		}
	}
}

static void
take_line(struct agent *a, struct span line)
{
	struct said s;

	if (line.n == 0)
		return;
	if (line.n > 6 && memcmp(line.p, "{\"id\":", 6) == 0 &&
	    a->r->bridge != NULL) {
		bridge_take(a->r->bridge, line);
		return;
	}
	if (said_parse(&s, line) == 0)
		take_said(a, &s);
	said_free(&s);
}

static void
read_exec(struct task *t, struct span bytes)
{
	struct agent *a = t->arg;
	struct span line;
	enum lines_result kind;

	a->heard_at = clock_mono_ms();
	lines_add(&a->lines, bytes);
	while ((kind = lines_next(&a->lines, &line)) != LINES_NONE)
		if (kind == LINES_LINE)
			take_line(a, line);
}

/* --- streaming -------------------------------------------------------------- */

static int
start_stream(struct agent *a)
{
	struct wordlist w = { .v = NULL };
	struct run *r = a->r;

	run_exec_words(r, &w);
	task_init(&a->exec, "agent", read_exec, a);
	if (run_put_request(r, &a->exec.to, &w) == -1 ||
	    run_put_agent(r, &a->exec.to) == -1)
		return -1;
	a->heard_at = clock_mono_ms();
	a->ping_at = a->heard_at + PING_MS;
	return run_start_exec(r, &a->exec, EXEC_BECOME, -1, -1);
}

static int
tend_stream(struct agent *a, int64_t now)
{
	struct run *r = a->r;

	a->exec.paused = output_pending(&a->out) > WAITING_MAX ||
	    output_pending(&a->err) > WAITING_MAX;
	/* Who is not listened to is not silent. */
	if (a->exec.paused)
		a->heard_at = now;
	if (a->exec.ended && r->o->dry) {
		a->ended = true;
	} else if (a->exec.ended && !a->ended) {
		a->ended = true;
		a->status = RUN_STATUS_LATER;
		return run_fail_exec(r, "agent", a->exec.status,
		    (struct span){ a->exec.tail, a->exec.tail_len });
	} else if (now >= a->heard_at + SILENT_MS) {
		a->ended = true;
		a->status = RUN_STATUS_LATER;
		return run_fail(r, RUN_STATUS_LATER, "agent: its channel "
		    "hangs: no sign of life for %d s", SILENT_MS / 1000);
	} else if (now >= a->ping_at) {
		buf_add_char(&a->exec.to, '\n');
		a->ping_at = now + PING_MS;
	}
	return 0;
}

/* --- polling ---------------------------------------------------------------- */

static int
start_detached(struct agent *a)
{
	struct exec e = { .action = "agent" };
	struct wordlist w = { .v = NULL };
	struct buf request = { 0 };
	int result = -1;

	run_exec_words(a->r, &w);
	words_add(a->r, &w, "--detach");
	if (run_put_agent(a->r, &request) == 0) {
		e.input = buf_span(&request);
		result = run_words(a->r, &e, &w);
	}
	buf_free(&request);
	return result;
}

/* What of the channel's output is for each of the two. */
static uint64_t
share(const struct run *r)
{
	uint64_t max = r->c->channel.output_max;

	return max == 0 ? 8 << 20 : max / 2 - 4096;
}

static void
poll_words(struct agent *a, struct wordlist *w)
{
	struct run *r = a->r;
	struct bridge *b = r->bridge;
	char *bytes = run_text(r, "%llu", (unsigned long long)share(r));

	run_exec_words(r, w);
	words_add(r, w, "--output");
	words_add(r, w, RUN_AGENT_ID);
	words_add(r, w, "--offset");
	words_add(r, w, run_text(r, "%llu", (unsigned long long)a->offset));
	words_add(r, w, "--max-bytes");
	words_add(r, w, bytes);
	words_add(r, w, "-w");
	words_add(r, w, run_text(r, "%ds", POLL_SECONDS));
	if (b == NULL)
		return;
	words_add(r, w, r->tools);
	words_add(r, w, "pc-drain");
	words_add(r, w, "-q");
	words_add(r, w, r->queue);
	words_add(r, w, "-m");
	words_add(r, w, run_text(r, "%llu",
	    (unsigned long long)r->c->limits.body));
	words_add(r, w, "--epoch");
	words_add(r, w, run_text(r, "%llu",
	    (unsigned long long)r->o->epoch));
	if (a->recover) {
		words_add(r, w, "--recover");
		words_add(r, w, "--except");
		words_add(r, w, "-");
		return;
	}
	words_add(r, w, "-w");
	words_add(r, w, run_text(r, "%ds", POLL_SECONDS));
	words_add(r, w, "-n");
	words_add(r, w, run_text(r, "%lld",
	    (long long)r->c->limits.in_flight));
	words_add(r, w, "--max-bytes");
	words_add(r, w, bytes);
}

static int
start_poll(struct agent *a)
{
	struct fields_memory before = run_scratch(a->r);
	struct wordlist w = { .v = NULL };
	struct task *t = &a->exec;
	int result;

	poll_words(a, &w);
	task_init(t, "poll", read_exec, a);
	lines_free(&a->lines);
	a->lines = (struct lines){ .fd = -1, .max = a->r->bridge != NULL ?
	    a->r->bridge->line_max : LINE_MAX_BYTES };
	a->polled = false;
	a->poll_until = clock_mono_ms() + POLL_SECONDS * 1000 + POLL_SLACK_MS;
	result = run_put_request(a->r, &t->to, &w);
	if (a->recover && a->r->bridge != NULL) {
		(void)bridge_put_held(a->r->bridge, &t->to);
		buf_add_char(&t->to, '\n');
	}
	t->finish = true;
	if (result == 0)
		result = run_start_exec(a->r, t, EXEC_BECOME, -1, -1);
	run_give_back(a->r, before);
	return result;
}

static int64_t
backoff(unsigned failures)
{
	int64_t ms = 100LL << (failures < 6 ? failures : 6);

	return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

static void
tell_lost(struct agent *a)
{
	struct fields_memory before = run_scratch(a->r);
	char *said = run_last_lines(a->r, (struct span){ a->exec.tail,
	    a->exec.tail_len }, 2, 400);

	run_event(a->r, "relay", "lost", "\"reason\":\"%s\",\"status\":%d,"
	    "\"said\":%s", a->exec.ended ? "ended" : "silent", a->exec.ended ?
	    a->exec.status : -1, run_quoted(a->r, said));
	run_give_back(a->r, before);
}

static int
tend_poll(struct agent *a, int64_t now)
{
	struct run *r = a->r;

	a->exec.paused = false;
	if (a->exec.pid > 0 && now < a->poll_until)
		return 0;
	if (a->again_at != -1) {
		if (now < a->again_at)
			return 0;
		a->again_at = -1;
		return start_poll(a);
	}
	if (a->polled) {
		a->recover = a->failures > 0 && r->bridge != NULL;
		a->failures = 0;
		task_drop(&r->tasks, &a->exec);
		return a->ended ? 0 : start_poll(a);
	}
	tell_lost(a);
	if (++a->failures > FAILURES_MAX) {
		a->ended = true;
		a->status = RUN_STATUS_LATER;
		return run_fail_exec(r, "agent", a->exec.status,
		    (struct span){ a->exec.tail, a->exec.tail_len });
	}
	task_drop(&r->tasks, &a->exec);
	/* What it had claimed is not known to us: the next one asks. */
	a->recover = true;
	a->again_at = now + backoff(a->failures);
	return 0;
}

/* The exec that takes answers back; its reports are the bridge's. */
static void
read_reports(struct task *t, struct span bytes)
{
	struct bridge *b = t->arg;
	struct span line;
	enum lines_result kind;

	lines_add(&b->from_answer, bytes);
	while ((kind = lines_next(&b->from_answer, &line)) != LINES_NONE)
		if (kind == LINES_LINE)
			bridge_take(b, line);
}

static int
start_answers(struct bridge *b)
{
	struct fields_memory before = run_scratch(b->r);
	struct wordlist w = { .v = NULL };
	struct run *r = b->r;
	struct task *t = &b->answer;
	int result;

	task_init(t, "answer", read_reports, b);
	lines_free(&b->from_answer);
	b->from_answer = (struct lines){ .fd = -1, .max = b->line_max };
	words_add(r, &w, r->tools);
	words_add(r, &w, "pc-respond");
	words_add(r, &w, "-q");
	words_add(r, &w, r->queue);
	words_add(r, &w, "-m");
	words_add(r, &w, run_text(r, "%llu",
	    (unsigned long long)r->c->limits.body));
	result = run_put_request(r, &t->to, &w);
	buf_add_span(&t->to, buf_span(&b->waiting));
	buf_reset(&b->waiting, b->waiting.cap);
	t->finish = true;
	if (result == 0)
		result = run_start_exec(r, t, EXEC_BECOME, -1, -1);
	run_give_back(r, before);
	return result;
}

static int
tend_answers(struct bridge *b, int64_t now)
{
	struct task *t = &b->answer;

	if (t->pid > 0)
		return 0;
	if (t->ended) {
		if (t->status != 0) {
			/* None of it is known to be there: all of it again. */
			buf_reset(&b->waiting, b->waiting.cap);
			bridge_put_unpublished(b, &b->waiting);
			b->answer_at = now + backoff(b->answer_failures++);
		} else {
			b->answer_failures = 0;
			b->answer_at = 0;
		}
		task_drop(&b->r->tasks, t);
		task_init(t, "answer", read_reports, b);
	}
	if (!bridge_has_answers(b) || now < b->answer_at)
		return 0;
	return start_answers(b);
}

/* --- its time --------------------------------------------------------------- */

static int
tell_to_end(struct agent *a, int64_t now)
{
	struct wordlist w = { .v = NULL };
	struct exec e = { .action = "ending the agent", .tried = true };
	struct run *r = a->r;

	a->told = true;
	a->told_at = now;
	r->stops_before = r->tasks.stops;
	r->finishing = true;
	run_event(r, "agent", "told", "\"signal\":%d", r->tasks.stop);
	if (r->c->channel.stream) {
		/* Its lifeline: TERM, then KILL, there. */
		a->exec.finish = true;
		return 0;
	}
	run_exec_words(r, &w);
	words_add(r, &w, "--kill");
	words_add(r, &w, RUN_AGENT_ID);
	a->reported = run_words(r, &e, &w) == 0;
	a->ended = true;
	a->status = 128 + r->tasks.stop;
	return 0;
}

static int64_t
earliest(int64_t a, int64_t b)
{
	return b == -1 || (a != -1 && a < b) ? a : b;
}

static int64_t
next_due(const struct agent *a)
{
	const struct bridge *b = a->r->bridge;
	int64_t due = -1;

	if (a->told)
		due = a->told_at + LAST_MS;
	if (a->r->c->channel.stream) {
		if (b != NULL)
			due = earliest(due, bridge_due(b));
		due = earliest(due, a->ping_at);
		return earliest(due, a->heard_at + SILENT_MS);
	}
	due = earliest(due, a->exec.pid > 0 ? a->poll_until : a->again_at);
	if (b != NULL && b->resend_at != -1)
		due = earliest(due, b->resend_at);
	if (b != NULL && bridge_has_answers(b) && b->answer.pid == 0)
		due = earliest(due, b->answer_at);
	return due;
}

static int
tend(struct agent *a)
{
	struct run *r = a->r;
	int64_t now = clock_mono_ms();
	bool stream = r->c->channel.stream;

	if (r->bridge != NULL && stream && bridge_tend(r->bridge) == -1)
		return -1;
	if (r->bridge != NULL && !stream &&
	    (bridge_tend_host(r->bridge) == -1 ||
	    tend_answers(r->bridge, now) == -1))
		return -1;
	if (!a->told && r->tasks.stop != 0 && tell_to_end(a, now) == -1)
		return -1;
	if (r->tasks.output_gone && !a->told) {
		(void)run_fail(r, RUN_STATUS_LATER,
		    "stdout: its reader has gone");
		r->tasks.stop = SIGPIPE;
		if (tell_to_end(a, now) == -1)
			return -1;
	}
	if (a->told && now >= a->told_at + LAST_MS)
		a->ended = true;
	if (a->ended)
		return 0;
	return stream ? tend_stream(a, now) : tend_poll(a, now);
}

/* All that it has said is our reader's; who is slow may take his time. */
static void
flush(struct agent *a)
{
	struct tasks *all = &a->r->tasks;

	while (!all->output_gone && !run_is_cancelled(a->r) &&
	    (output_pending(&a->out) > 0 || output_pending(&a->err) > 0))
		if (tasks_wait(all, -1) == -1)
			break;
}

static int
attend(struct agent *a)
{
	struct run *r = a->r;

	for (;;) {
		if (tend(a) == -1)
			return -1;
		if (a->ended)
			return 0;
		if (tasks_wait(&r->tasks, earliest(next_due(a),
		    run_show(r, false))) == -1)
			return run_fail_errno(r, "agent");
	}
}

int
run_command(struct run *r)
{
	struct agent a = { .r = r, .again_at = -1, .status = 0,
	    .lines = { .fd = -1, .max = LINE_MAX_BYTES } };
	int result;

	output_open(&a.out, STDOUT_FILENO);
	output_open(&a.err, STDERR_FILENO);
	r->tasks.outputs[0] = &a.out;
	r->tasks.outputs[1] = &a.err;
	if (r->c->channel.stream) {
		result = start_stream(&a);
	} else {
		result = start_detached(&a);
		if (result == 0 && !r->o->dry)
			result = start_poll(&a);
		a.ended = r->o->dry;
	}
	if (result == 0)
		result = attend(&a);
	flush(&a);
	r->agent_left = !a.reported && !r->o->dry;
	task_drop(&r->tasks, &a.exec);
	r->tasks.outputs[0] = r->tasks.outputs[1] = NULL;
	output_close(&a.out);
	output_close(&a.err);
	lines_free(&a.lines);
	if (r->end->message.len == 0)
		r->end->status = a.told ? 128 + r->tasks.stop : a.status;
	return result;
}
