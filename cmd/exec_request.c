/* The request of pc-exec: one object of JSON, and where it ends on stdin. */
#include <unistd.h>

#include "cli.h"
#include "exec.h"
#include "io.h"

/* Follows the text of an object to its end: how much of it that took, or 0. */
struct object_end {
	size_t at, depth;
	bool string, escape;
};

static size_t
find_end(struct object_end *e, struct span text)
{
	for (; e->at < text.n; e->at++) {
		char c = text.p[e->at];

		if (e->escape)
			e->escape = false;
		else if (e->string && c == '\\')
			e->escape = true;
		else if (c == '"')
			e->string = !e->string;
		else if (e->string)
			continue;
		else if (c == '{' || c == '[')
			e->depth++;
		else if ((c == '}' || c == ']') && (e->depth == 0 ||
		    --e->depth == 0))
			return ++e->at;
		else if (e->depth == 0 && c != ' ' && c != '\n' &&
		    c != '\t' && c != '\r')
			return text.n;	/* no object: the parser says so */
	}
	return 0;
}

void
exec_read_request(struct command *c, size_t chunk)
{
	struct fault f = { .kind = FAULT_NONE };
	struct object_end end = { 0 };
	struct buf text = { 0 };
	char end_of_line = '\0';	/* also at the end of file */
	ssize_t n;
	size_t len;

	while ((len = find_end(&end, buf_span(&text))) == 0) {
		if (text.len > COMMAND_SIZE_MAX)
			cli_fail(EXIT_NEVER, "stdin", "a request over 4M");
		n = io_read_some(STDIN_FILENO, &text, chunk);
		if (n == -1)
			cli_fail_errno("stdin");
		if (n == 0)
			cli_fail(EXIT_NEVER, "stdin", text.len == 0 ?
			    "no request" : "the request is cut short");
	}
	if (chunk == 1 && io_read_full(STDIN_FILENO, &end_of_line, 1) == -1)
		cli_fail_errno("stdin");
	if (chunk == 1 && end_of_line != '\n' && end_of_line != '\0')
		cli_fail(EXIT_NEVER, "stdin", "no newline after the request");
	if (command_parse(c, (struct span){ text.data, len }, &f) == -1) {
		if (f.kind == FAULT_INPUT && f.object.len == 0)
			buf_add_str(&f.object, "stdin");
		cli_fail_fault(&f);
	}
	/* The values were copied. */
	buf_free(&text);
}
