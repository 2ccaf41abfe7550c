#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "problem.h"

int
problem_set(struct problem *p, enum problem_kind kind, const char *code,
    const char *format, ...)
{
	char *text = NULL;
	va_list args;

	if (p->kind != PROBLEM_NONE)
		return -1;
	p->kind = kind;
	p->code = code;
	va_start(args, format);
	if (vasprintf(&text, format, args) == -1)
		text = NULL;
	va_end(args);
	buf_add_str(&p->message, text != NULL ? text : strerror(ENOMEM));
	buf_add_char(&p->message, '\0');
	free(text);
	return -1;
}

int
problem_memory(struct problem *p)
{
	return problem_set(p, PROBLEM_LATER, "system", "%s",
	    strerror(ENOMEM));
}

int
problem_fault(struct problem *p, const char *code, struct fault *f)
{
	const char *reason = f->kind == FAULT_SYSTEM ? strerror(f->error) :
	    f->reason;

	(void)problem_set(p, f->kind == FAULT_SYSTEM ? PROBLEM_LATER :
	    PROBLEM_INPUT, code, "%.*s%s%s", (int)f->object.len,
	    f->object.len > 0 ? f->object.data : "",
	    f->object.len > 0 ? ": " : "", reason);
	fault_clear(f);
	return -1;
}

const char *
problem_text(const struct problem *p)
{
	return p->message.len == 0 || buf_failed(&p->message) ?
	    strerror(ENOMEM) : p->message.data;
}

void
problem_clear(struct problem *p)
{
	buf_free(&p->message);
	*p = (struct problem){ .kind = PROBLEM_NONE };
}
