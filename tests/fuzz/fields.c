/*
 * A request of pc-exec: what is taken, written and read again is the same
 * command and one line; what is refused is said with a reason.
 */
#include <stdint.h>
#include <stdlib.h>

#include "command.h"

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_texts(const struct texts *a, const struct texts *b)
{
	size_t i;

	for (i = 0; i < a->n && i < b->n; i++)
		if (!same_text(a->v[i], b->v[i]))
			return false;
	return a->n == b->n && (a->v == NULL || a->v[a->n] == NULL);
}

static bool
same(const struct command *a, const struct command *b)
{
	return same_text(a->argv.line, b->argv.line) &&
	    same_texts(&a->argv.argv, &b->argv.argv) &&
	    same_texts(&a->env, &b->env) && same_text(a->cwd, b->cwd) &&
	    same_text(a->unless, b->unless) && same_text(a->id, b->id) &&
	    span_equal(a->input, b->input) &&
	    a->timeout_ms == b->timeout_ms && a->grace_ms == b->grace_ms &&
	    a->idle_ms == b->idle_ms && a->lines == b->lines &&
	    a->lifeline == b->lifeline && a->background == b->background;
}

static void
check_taken(const struct command *c)
{
	struct fault f = { .kind = FAULT_NONE };
	struct buf one = { 0 }, two = { 0 };
	struct command again;
	size_t i;

	if ((c->argv.line == NULL) == (c->argv.argv.n == 0))
		abort();
	for (i = 0; i < c->env.n; i++)
		if (*c->env.v[i] == '=' || strchr(c->env.v[i], '=') == NULL)
			abort();
	if (c->timeout_ms < 0 || c->grace_ms < 0 || c->idle_ms < 0)
		abort();
	/* JSON is valid UTF-8, and so is all that was read from it. */
	if (command_put(&one, c, &f) == -1)
		abort();
	if (memchr(one.data, '\n', one.len) != one.data + one.len - 1)
		abort();
	if (command_parse(&again, buf_span(&one), &f) == -1 ||
	    !same(c, &again) || command_put(&two, &again, &f) == -1 ||
	    !span_equal(buf_span(&one), buf_span(&two)))
		abort();
	command_free(&again);
	buf_free(&one);
	buf_free(&two);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fault f = { .kind = FAULT_NONE };
	char *text = malloc(len ? len : 1);
	struct command c;

	if (text == NULL)
		return 0;
	memcpy(text, data, len);
	if (command_parse(&c, (struct span){ text, len }, &f) == 0) {
		/* The values are copies. */
		memset(text, 'x', len);
		check_taken(&c);
	} else if (f.kind != FAULT_INPUT || f.reason == NULL) {
		abort();
	}
	fault_clear(&f);
	command_free(&c);
	free(text);
	return 0;
}
