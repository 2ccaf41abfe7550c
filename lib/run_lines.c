/* Commands that pc-exec runs, and the lines in which it tells of them. */
#include <errno.h>
#include <stddef.h>

#include "base64.h"
#include "lines.h"
#include "running.h"

#define LINE_MAX_BYTES (256 * 1024)

/* Anew: a line may say the same twice. */
static struct span
take_bytes(struct buf *bytes, struct span raw, bool base64)
{
	bytes->len = 0;
	if (!base64)
		json_unescape(bytes, raw);
	else if (base64_is_canonical(raw))
		(void)base64_decode(bytes, raw);
	return buf_span(bytes);
}

static void
take_string(struct said *s, struct span name, struct span raw)
{
	size_t len;	/* of a text: what is behind a NUL is not shown */

	if (json_string_is(name, "stdout"))
		s->out = take_bytes(&s->out_bytes, raw, false);
	else if (json_string_is(name, "stdoutBase64"))
		s->out = take_bytes(&s->out_bytes, raw, true);
	else if (json_string_is(name, "stderr"))
		s->err = take_bytes(&s->err_bytes, raw, false);
	else if (json_string_is(name, "stderrBase64"))
		s->err = take_bytes(&s->err_bytes, raw, true);
	else if (json_string_is(name, "error"))
		s->error = fields_copy(&s->memory, raw, &len);
	else if (json_string_is(name, "startedAt"))
		s->started = fields_copy(&s->memory, raw, &len);
}

/* A string, a number, a flag, or null, by name: what pc-exec writes. */
static void
take(struct said *s, const struct json *j, size_t key)
{
	struct span name = json_raw(j, key), raw = json_raw(j, key + 1);
	enum json_type type = json_type_of(j, key + 1);
	bool flag = type == JSON_BOOL && span_is(raw, "true");
	int64_t n = -1;

	(void)json_integer(j, key + 1, INT64_MAX, &n);
	if (type == JSON_STRING)
		take_string(s, name, raw);
	if (json_string_is(name, "pid"))
		s->pid = n;
	else if (json_string_is(name, "exit"))
		s->ended = (s->status = n) >= 0 && n <= 255;
	else if (json_string_is(name, "signal"))
		s->signal = n > 0 ? n : 0;
	else if (json_string_is(name, "timedOut"))
		s->timed_out = flag;
	else if (json_string_is(name, "skipped"))
		s->skipped = flag;
	else if (json_string_is(name, "lostBytes"))
		s->lost = n > 0 ? n : 0;
	else if (json_string_is(name, "next"))
		s->next = n;
	else if (json_string_is(name, "running"))
		s->running = flag;
}

int
said_parse(struct said *s, struct span line)
{
	struct json j = { .tokens = NULL };
	int result = -1;
	size_t at;

	*s = (struct said){ .pid = -1, .next = -1 };
	if (json_parse(&j, line) == 0 && json_type_of(&j, 0) == JSON_OBJECT) {
		for (at = 1; at < j.count; at = json_skip(&j, at + 1))
			take(s, &j, at);
		result = buf_failed(&s->out_bytes) ||
		    buf_failed(&s->err_bytes) ? -1 : 0;
	}
	json_free(&j);
	return result;
}

void
said_free(struct said *s)
{
	fields_free(&s->memory);
	buf_free(&s->out_bytes);
	buf_free(&s->err_bytes);
}

void
tail_add(struct tail *t, struct span text)
{
	size_t drop;

	if (text.n > sizeof(t->text)) {
		text.p += text.n - sizeof(t->text);
		text.n = sizeof(t->text);
	}
	if (t->len + text.n > sizeof(t->text)) {
		drop = t->len + text.n - sizeof(t->text);
		memmove(t->text, t->text + drop, t->len - drop);
		t->len -= drop;
	}
	if (text.n > 0)
		memcpy(t->text + t->len, text.p, text.n);
	t->len += text.n;
}

/* A command that is waited for. */
struct remote {
	struct lines lines;
	struct said *end;
	struct tail *out, *err;
};

static void
take_line(struct remote *m, struct span line)
{
	struct said s;

	if (said_parse(&s, line) == 0) {
		tail_add(m->out, s.out);
		tail_add(m->err, s.err);
		if (s.ended && !m->end->ended) {
			*m->end = s;
			return;
		}
	}
	said_free(&s);
}

static void
read_remote(struct task *t, struct span bytes)
{
	struct remote *m = t->arg;
	struct span line;
	enum lines_result kind;

	lines_add(&m->lines, bytes);
	while ((kind = lines_next(&m->lines, &line)) != LINES_NONE)
		if (kind == LINES_LINE)
			take_line(m, line);
}

int
run_remote(struct run *r, const char *action, const struct command *c,
    struct said *said, struct tail *out, struct tail *err)
{
	struct remote m = { .lines = { .fd = -1, .max = LINE_MAX_BYTES },
	    .end = said, .out = out, .err = err };
	struct task t, *const all[] = { &t };
	struct fault f = { .kind = FAULT_NONE };
	int result = -1;

	*said = (struct said){ .pid = -1, .next = -1 };
	task_init(&t, action, read_remote, &m);
	/* A channel that does not stream closes its stdin at once. */
	t.finish = !r->c->channel.stream;
	if (command_put(&t.to, c, &f) == -1) {
		(void)run_fail_fault(r, action, &f);
	} else if (run_start_exec(r, &t, EXEC_COMMAND, -1, -1) == 0 &&
	    run_wait(r, action, all, 1, c->timeout_ms + 2 * c->grace_ms +
	    10000) == 0) {
		if (r->o->dry)
			said->ended = true;
		result = said->ended ? 0 : run_fail_exec(r, action, t.status,
		    (struct span){ t.tail, t.tail_len });
	}
	task_drop(&r->tasks, &t);
	lines_free(&m.lines);
	return result;
}
