#include <errno.h>

#include "fault.h"

static int
set(struct fault *f, enum fault_kind kind, struct span object,
    const char *reason)
{
	int error = errno;

	if (f->kind == FAULT_NONE) {
		f->kind = kind;
		f->reason = reason;
		f->error = error;
		buf_reset(&f->object, 4096);
		buf_add_span(&f->object, object);
	}
	errno = error;
	return -1;
}

int
fault_input(struct fault *f, struct span object, const char *reason)
{
	return set(f, FAULT_INPUT, object, reason);
}

int
fault_cut(struct fault *f, struct span object, const char *reason)
{
	return set(f, FAULT_CUT, object, reason);
}

int
fault_busy(struct fault *f, struct span object, const char *reason)
{
	return set(f, FAULT_BUSY, object, reason);
}

int
fault_system(struct fault *f, struct span object)
{
	return set(f, FAULT_SYSTEM, object, NULL);
}

void
fault_clear(struct fault *f)
{
	buf_free(&f->object);
	*f = (struct fault){ .kind = FAULT_NONE };
}

void
notice(const struct notices *n, enum notice_kind kind, struct span path,
    const char *text)
{
	if (n != NULL && n->say != NULL)
		n->say(n->arg, kind, path, text);
}
