/* What --dry-run prints: each command in a line, as a shell would take it. */
#include <stdio.h>
#include <stdlib.h>

#include "running.h"

/* Dashes first are an option's, and mean nothing to a shell. */
static bool
is_plain(const char *word)
{
	const char *rest = word + strspn(word, "-");

	return runconfig_is_plain(rest) || (*rest == '\0' && rest > word);
}

static bool
is_control(char c)
{
	return (unsigned char)c < ' ' || c == '\177';
}

/* Dollar-single-quotes (POSIX.1-2024, XCU 2.2.4): one line, safe to see. */
static void
put_escaped(struct buf *out, struct span word)
{
	char octal[5];
	size_t i;

	buf_add_str(out, "$'");
	for (i = 0; i < word.n; i++) {
		if (is_control(word.p[i])) {
			(void)snprintf(octal, sizeof(octal), "\\%03o",
			    (unsigned)word.p[i] & 0377);
			buf_add_str(out, octal);
			continue;
		}
		if (word.p[i] == '\'' || word.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, word.p[i]);
	}
	buf_add_char(out, '\'');
}

/* As a shell would take it. */
static void
put_quoted(struct buf *out, struct span word)
{
	char *copy = strndup(word.p, word.n);
	size_t i = 0;

	while (i < word.n && !is_control(word.p[i]))
		i++;
	if (i < word.n) {
		put_escaped(out, word);
	} else if (copy != NULL && is_plain(copy)) {
		buf_add_span(out, word);
	} else {
		buf_add_char(out, '\'');
		for (i = 0; i < word.n; i++)
			if (word.p[i] == '\'')
				buf_add_str(out, "'\\''");
			else
				buf_add_char(out, word.p[i]);
		buf_add_char(out, '\'');
	}
	free(copy);
}

void
run_print_dry(struct run *r, const struct wordlist *w, struct span input)
{
	struct buf line = { 0 };
	const char *end;
	size_t i;

	for (i = 0; i < w->n; i++) {
		if (i > 0)
			buf_add_char(&line, ' ');
		put_quoted(&line, span_of(w->v[i]));
	}
	/* The request is the command; what follows it is data. */
	if (input.n > 0 && *input.p == '{' &&
	    (end = memchr(input.p, '\n', input.n)) != NULL) {
		buf_add_str(&line, " <<< ");
		put_quoted(&line, (struct span){ input.p,
		    (size_t)(end - input.p) });
	}
	buf_add_char(&line, '\n');
	if (!buf_failed(&line))
		r->o->would(r->o->arg, buf_span(&line));
	buf_free(&line);
}
