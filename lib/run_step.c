/* The steps that a run is made of: words, execs, failures. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bridge.h"
#include "clock.h"
#include "io.h"

#define ATTEMPTS	3
#define AGAIN_MS	300	/* before the second; then more */
#define CHANNEL_MARK	"PAPERCLIP_SANDBOX_EXEC_CHANNEL=bridge"

char *
run_text(struct run *r, const char *format, ...)
{
	va_list args;
	char *text = NULL, *copy = NULL;

	va_start(args, format);
	if (vasprintf(&text, format, args) == -1)
		text = NULL;
	va_end(args);
	if (text != NULL)
		copy = fields_alloc(&r->memory, strlen(text) + 1);
	if (copy == NULL) {
		errno = ENOMEM;
		(void)run_fail_errno(r, "memory");
	} else {
		memcpy(copy, text, strlen(text));
	}
	free(text);
	return copy;
}

struct fields_memory
run_scratch(struct run *r)
{
	struct fields_memory before = r->memory;

	r->memory = (struct fields_memory){ .first = NULL };
	return before;
}

void
run_give_back(struct run *r, struct fields_memory before)
{
	fields_free(&r->memory);
	r->memory = before;
}

const char *
run_quoted(struct run *r, const char *text)
{
	struct buf b = { 0 };
	char *quoted = NULL;

	if (text != NULL && utf8_is_valid(span_of(text)))
		json_put_string(&b, span_of(text));
	if (b.len > 0 && !buf_failed(&b))
		quoted = run_text(r, "%.*s", (int)b.len, b.data);
	buf_free(&b);
	return quoted != NULL ? quoted : "null";
}

int
run_fail(struct run *r, int status, const char *format, ...)
{
	va_list args;
	char *text;

	if (r->end->message.len > 0)
		return -1;
	va_start(args, format);
	if (vasprintf(&text, format, args) == -1)
		text = NULL;
	va_end(args);
	buf_add_str(&r->end->message, text != NULL ? text : "out of memory");
	r->end->status = status;
	r->end->phase = r->phase;
	free(text);
	return -1;
}

int
run_fail_errno(struct run *r, const char *what)
{
	return run_fail(r, RUN_STATUS_LATER, "%s: %s", what, strerror(errno));
}

int
run_fail_fault(struct run *r, const char *what, struct fault *f)
{
	bool named = f->object.len > 0;

	(void)run_fail(r, f->kind == FAULT_SYSTEM ? RUN_STATUS_LATER :
	    RUN_STATUS_NEVER, "%s: %.*s%s%s", what, (int)f->object.len,
	    named ? f->object.data : "", named ? ": " : "",
	    f->kind == FAULT_SYSTEM ? strerror(f->error) : f->reason);
	fault_clear(f);
	return -1;
}

void
run_event(struct run *r, const char *step, const char *what,
    const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) != -1) {
		r->o->event(r->o->arg, step, what, span_of(text));
		free(text);
	}
	va_end(args);
}

int64_t
run_show(struct run *r, bool now)
{
	int64_t time = clock_mono_ms();

	if (r->o->show_ms == 0)
		return -1;
	if (now || time >= r->show_at) {
		r->o->show(r->o->arg, r->phase, r->requests, r->bytes);
		r->show_at = time + r->o->show_ms;
	}
	return r->show_at;
}

bool
run_is_cancelled(struct run *r)
{
	return r->tasks.stops > (r->finishing ? r->stops_before : 0);
}

/* --- words ------------------------------------------------------------------ */

void
words_add(struct run *r, struct wordlist *w, const char *word)
{
	char **v = w->v, *copy;

	/* Nobody writes through it: argv's type is history (POSIX exec). */
	copy = word != NULL ? run_text(r, "%s", word) : NULL;
	if (copy == NULL) {
		w->failed = true;
		return;
	}
	if (w->n + 1 >= w->cap) {
		v = fields_alloc(&r->memory, (2 * w->cap + 16) * sizeof(*v));
		if (v == NULL) {
			w->failed = true;
			(void)run_fail_errno(r, "memory");
			return;
		}
		if (w->n > 0)
			memcpy(v, w->v, w->n * sizeof(*v));
		w->cap = 2 * w->cap + 16;
		w->v = v;
	}
	w->v[w->n++] = copy;
	w->v[w->n] = NULL;
}

void
words_add_all(struct run *r, struct wordlist *w, const struct texts *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		words_add(r, w, t->v[i]);
}

void
words_add_each(struct run *r, struct wordlist *w, const char *option,
    const struct texts *t)
{
	size_t i;

	for (i = 0; i < t->n; i++) {
		words_add(r, w, option);
		words_add(r, w, t->v[i]);
	}
}

int
run_put_request(struct run *r, struct buf *out, const struct wordlist *w)
{
	struct command c = { .argv.argv = { w->v, w->n }, .lifeline = true,
	    .grace_ms = COMMAND_GRACE_MS };
	struct fault f = { .kind = FAULT_NONE };

	if (w->failed || (r->end->message.len > 0 && !r->finishing))
		return -1;
	return command_put(out, &c, &f) == 0 ? 0 :
	    run_fail_fault(r, "request", &f);
}

void
run_exec_words(struct run *r, struct wordlist *w)
{
	words_add(r, w, r->tools);
	words_add(r, w, "pc-exec");
	words_add(r, w, "-C");
	words_add(r, w, run_text(r, "%s/exec", r->root));
}

/* --- starting --------------------------------------------------------------- */

static bool
is_named(const char *pair, const char *name)
{
	size_t n = strcspn(name, "=");

	return strncmp(pair, name, n) == 0 && pair[n] == '=';
}

/*
 * Our environment, without the API's token, which is none of their business;
 * and more.
 */
static char **
make_env(const struct texts *more)
{
	static char mark[] = CHANNEL_MARK;
	size_t n = 0, i;
	char **env, **p;

	while (environ[n] != NULL)
		n++;
	env = p = calloc(n + more->n + 2, sizeof(*env));
	if (env == NULL)
		return NULL;
	for (n = 0; environ[n] != NULL; n++) {
		bool skip = is_named(environ[n], "PC_API_TOKEN") ||
		    is_named(environ[n], mark);

		for (i = 0; i < more->n; i++)
			skip = skip || is_named(environ[n], more->v[i]);
		if (!skip)
			*p++ = environ[n];
	}
	for (i = 0; i < more->n; i++)
		*p++ = more->v[i];
	*p = mark;
	return env;
}

/* In a rehearsal everything has ended at once, and well. */
static int
pretend(struct task *t, int in, int out)
{
	io_close(in);
	io_close(out);
	t->ended = true;
	return 0;
}

/* As task_start does when it fails. */
static int
refuse(int in, int out)
{
	io_close(in);
	io_close(out);
	return -1;
}

static void
add_program(struct run *r, struct wordlist *w, enum exec_kind kind)
{
	if (kind == EXEC_SHELL) {
		words_add(r, w, "sh");
		return;
	}
	words_add(r, w, r->tools);
	words_add(r, w, "pc-exec");
	if (kind == EXEC_BECOME)
		words_add(r, w, "--become");
	if (kind == EXEC_DETACH)
		words_add(r, w, "--detach");
}

int
run_start_exec(struct run *r, struct task *t, enum exec_kind kind, int in,
    int out)
{
	struct task_start s = { .in = in, .out = out };
	struct wordlist w = { .v = NULL };
	char **env;
	int result;

	words_add_all(r, &w, &r->c->channel.argv);
	add_program(r, &w, kind);
	if (w.failed)
		return refuse(in, out);
	r->execs++;
	if (r->o->dry) {
		run_print_dry(r, &w, buf_span(&t->to));
		return pretend(t, in, out);
	}
	s.argv = w.v;
	s.env = env = make_env(&r->c->channel.env);
	result = env == NULL ? refuse(in, out) :
	    task_start(&r->tasks, t, &s);
	if (result == -1)
		(void)run_fail_errno(r, "channel");
	free(env);
	return result;
}

int
run_start_local(struct run *r, struct task *t, const struct wordlist *w,
    int in, int out, bool token)
{
	static const struct texts none = { NULL, 0 };
	struct task_start s = { .argv = w->v, .in = in, .out = out };
	char **env = NULL;
	int result;

	if (w->failed)
		return refuse(in, out);
	if (r->o->dry) {
		run_print_dry(r, w, (struct span){ "", 0 });
		return pretend(t, in, out);
	}
	if (!token && (s.env = env = make_env(&none)) == NULL) {
		(void)run_fail_errno(r, t->name);
		return refuse(in, out);
	}
	result = task_start(&r->tasks, t, &s);
	if (result == -1)
		(void)run_fail_errno(r, t->name);
	free(env);
	return result;
}

/* --- waiting ---------------------------------------------------------------- */

/* The relay's channel is open already, and wants to be looked after. */
static int
wait_once(struct run *r, int64_t deadline)
{
	int64_t due = run_show(r, false);

	if (due != -1 && due < deadline)
		deadline = due;
	if (r->bridge != NULL && r->c->channel.stream && !r->finishing) {
		if (bridge_tend(r->bridge) == -1)
			return -1;
		due = bridge_due(r->bridge);
		if (due != -1 && due < deadline)
			deadline = due;
	}
	return tasks_wait(&r->tasks, deadline);
}

int
run_wait(struct run *r, const char *action, struct task *const tasks[],
    size_t n, int64_t timeout_ms)
{
	int64_t deadline = clock_mono_ms() +
	    (timeout_ms > 0 ? timeout_ms : r->c->exec_ms);
	size_t i, left;

	for (;;) {
		for (i = left = 0; i < n; i++)
			left += !tasks[i]->ended;
		if (left == 0)
			return 0;
		if (run_is_cancelled(r)) {
			(void)run_fail(r, 128 + r->tasks.stop,
			    "%s: stopped by signal %d", action,
			    r->tasks.stop);
			break;
		}
		if (clock_mono_ms() >= deadline) {
			(void)run_fail(r, RUN_STATUS_LATER, "%s timed out",
			    action);
			break;
		}
		if (wait_once(r, deadline) == -1) {
			(void)run_fail_errno(r, action);
			break;
		}
	}
	for (i = 0; i < n; i++)
		if (!tasks[i]->ended)
			task_drop(&r->tasks, tasks[i]);
	return -1;
}

char *
run_last_lines(struct run *r, struct span text, size_t lines, size_t max)
{
	struct buf b = { 0 };
	const char *p = text.p + text.n, *from;
	size_t n;
	char *joined;

	while (text.n > 0 && lines > 0 && p > text.p) {
		for (from = p; from > text.p && from[-1] != '\n'; from--)
			continue;
		n = (size_t)(p - from);
		if (n > 0 && from[n - 1] == '\r')
			n--;
		if (n > 0) {
			struct buf more = { 0 };

			buf_add(&more, from, n);
			if (b.len > 0)
				buf_add_str(&more, " / ");
			buf_add_span(&more, buf_span(&b));
			buf_free(&b);
			b = more;
			lines--;
		}
		p = from > text.p ? from - 1 : from;
	}
	n = b.len > max ? b.len - max : 0;
	joined = run_text(r, "%.*s", (int)(b.len - n),
	    b.len > 0 ? b.data + n : "");
	buf_free(&b);
	return joined;
}

int
run_fail_exec(struct run *r, const char *action, int status, struct span tail)
{
	char *lines = run_last_lines(r, tail, 3, 1000);

	return run_fail(r, status == RUN_STATUS_NEVER ? RUN_STATUS_NEVER :
	    RUN_STATUS_LATER, "%s failed with exit code %d%s%s", action,
	    status, lines != NULL && *lines != '\0' ? ": " : "",
	    lines != NULL ? lines : "");
}

bool
run_may_try_again(struct run *r, int status, int attempt)
{
	int64_t until = clock_mono_ms() + ((int64_t)AGAIN_MS << (2 * attempt));

	/* What was refused will be refused again. */
	if (status == 0 || status == 1 || status == RUN_STATUS_NEVER ||
	    status == 126 || status == 127 || attempt + 1 >= ATTEMPTS)
		return false;
	while (clock_mono_ms() < until && !run_is_cancelled(r))
		if (wait_once(r, until) == -1)
			return false;
	return !run_is_cancelled(r);
}

static void
collect(struct task *t, struct span bytes)
{
	struct buf *out = t->arg;

	if (out != NULL && out->len < RUN_OUTPUT_MAX)
		buf_add_span(out, bytes);
}

int
run_exec(struct run *r, struct exec *e)
{
	struct task t, *const all[] = { &t };
	int status;

	task_init(&t, e->action, collect, e->out);
	buf_add_span(&t.to, e->input);
	t.finish = true;
	if (run_start_exec(r, &t, e->kind, -1, -1) == -1 ||
	    run_wait(r, e->action, all, 1, e->timeout_ms) == -1) {
		task_drop(&r->tasks, &t);
		return -1;
	}
	status = t.status;
	memcpy(e->tail_text, t.tail, t.tail_len);
	e->tail = (struct span){ e->tail_text, t.tail_len };
	task_drop(&r->tasks, &t);
	if (status != 0 && !e->tried)
		return run_fail_exec(r, e->action, status, e->tail);
	return status;
}

int
run_words(struct run *r, struct exec *e, const struct wordlist *w)
{
	struct buf request = { 0 };
	struct span input = e->input;
	int result;

	if ((result = run_put_request(r, &request, w)) == 0) {
		buf_add_span(&request, input);
		e->input = buf_span(&request);
		result = run_exec(r, e);
		/* It may be tried again. */
		e->input = input;
	}
	buf_free(&request);
	return result;
}

int
run_local(struct run *r, const char *action, const struct wordlist *w,
    struct buf *out)
{
	struct task t, *const all[] = { &t };
	int status;

	task_init(&t, action, collect, out);
	t.finish = true;
	if (run_start_local(r, &t, w, -1, -1, false) == -1 ||
	    run_wait(r, action, all, 1, 0) == -1) {
		task_drop(&r->tasks, &t);
		return -1;
	}
	status = t.status;
	if (status != 0)
		(void)run_fail_exec(r, action, status,
		    (struct span){ t.tail, t.tail_len });
	task_drop(&r->tasks, &t);
	return status == 0 ? 0 : -1;
}
