#include <errno.h>
#include <stddef.h>

#include "command.h"

#define DAY_MS (24 * 3600 * 1000)

#define MEMBER(name, kind, member) \
	.key = (name), .type = (kind), .at = offsetof(struct command, member)

static const struct field fields[] = {
	{ MEMBER("argv", FIELD_WORDS, argv) },
	{ MEMBER("background", FIELD_FLAG, background) },
	{ MEMBER("cwd", FIELD_TEXT, cwd) },
	{ MEMBER("env", FIELD_MAP, env) },
	{ MEMBER("graceMs", FIELD_NUMBER, grace_ms), .max = DAY_MS },
	{ MEMBER("id", FIELD_TEXT, id) },
	{ MEMBER("idleMs", FIELD_NUMBER, idle_ms), .max = DAY_MS },
	{ MEMBER("lifeline", FIELD_FLAG, lifeline) },
	{ MEMBER("lines", FIELD_FLAG, lines) },
	{ MEMBER("stdin", FIELD_BYTES, input) },
	{ MEMBER("timeoutMs", FIELD_NUMBER, timeout_ms),
	    .max = (int64_t)366 * DAY_MS },
	{ MEMBER("unless", FIELD_TEXT, unless) },
	{ .key = NULL }
};

int
command_parse(struct command *c, struct span text, struct fault *f)
{
	*c = (struct command){ .grace_ms = COMMAND_GRACE_MS,
	    .lifeline = true };
	if (fields_read(text, fields, c, &c->memory, f) == -1)
		return -1;
	if (c->argv.line == NULL && c->argv.argv.n == 0)
		return fault_input(f, span_of("argv"), "missing");
	if (c->id != NULL && !id_is_valid(span_of(c->id)))
		return fault_input(f, span_of("id"),
		    "not 1 to 128 of A-Z a-z 0-9 _ -");
	return 0;
}

void
command_free(struct command *c)
{
	fields_free(&c->memory);
}

struct writer {
	struct buf *out;
	struct fault *fault;
	bool failed;
};

static void
put_text(struct writer *w, const char *key, struct span text)
{
	if (!utf8_is_valid(text)) {
		w->failed = true;
		(void)fault_input(w->fault, span_of(key), "not UTF-8");
		return;
	}
	json_put_string(w->out, text);
}

static void
put_member(struct writer *w, const char *key, const char *text)
{
	if (text == NULL)
		return;
	json_put_key(w->out, key);
	put_text(w, key, span_of(text));
}

static void
put_number(struct writer *w, const char *key, int64_t number)
{
	json_put_key(w->out, key);
	buf_add_int(w->out, number);
}

static void
put_words(struct writer *w, const struct words *words)
{
	size_t i;

	json_put_key(w->out, "argv");
	if (words->line != NULL) {
		put_text(w, "argv", span_of(words->line));
		return;
	}
	buf_add_char(w->out, '[');
	for (i = 0; i < words->argv.n; i++) {
		if (i > 0)
			buf_add_char(w->out, ',');
		put_text(w, "argv", span_of(words->argv.v[i]));
	}
	buf_add_char(w->out, ']');
}

static void
put_env(struct writer *w, const struct texts *env)
{
	size_t i;

	if (env->n == 0)
		return;
	json_put_key(w->out, "env");
	buf_add_char(w->out, '{');
	for (i = 0; i < env->n; i++) {
		const char *pair = env->v[i], *value = strchr(pair, '=');

		if (i > 0)
			buf_add_char(w->out, ',');
		put_text(w, "env", (struct span){ pair,
		    (size_t)(value - pair) });
		buf_add_char(w->out, ':');
		put_text(w, "env", span_of(value + 1));
	}
	buf_add_char(w->out, '}');
}

int
command_put(struct buf *out, const struct command *c, struct fault *f)
{
	struct writer w = { .out = out, .fault = f };

	buf_add_char(out, '{');
	put_words(&w, &c->argv);
	put_env(&w, &c->env);
	put_member(&w, "cwd", c->cwd);
	put_member(&w, "unless", c->unless);
	put_member(&w, "id", c->id);
	if (c->input.n > 0) {
		json_put_key(out, "stdin");
		put_text(&w, "stdin", c->input);
	}
	if (c->timeout_ms > 0)
		put_number(&w, "timeoutMs", c->timeout_ms);
	put_number(&w, "graceMs", c->grace_ms);
	if (c->idle_ms > 0)
		put_number(&w, "idleMs", c->idle_ms);
	if (c->lines)
		buf_add_str(out, ",\"lines\":true");
	if (!c->lifeline)
		buf_add_str(out, ",\"lifeline\":false");
	if (c->background)
		buf_add_str(out, ",\"background\":true");
	buf_add_str(out, "}\n");
	if (!w.failed && buf_failed(out)) {
		errno = ENOMEM;
		return fault_system(f, span_of(""));
	}
	return w.failed ? -1 : 0;
}
