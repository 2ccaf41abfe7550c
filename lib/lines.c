#include "io.h"
#include "lines.h"

#define CHUNK 65536

/* Room for more: what was taken is given up. */
static void
make_room(struct lines *l)
{
	if (l->at > 0) {
		buf_consume(&l->in, l->at);
		l->scanned -= l->at;
		l->at = 0;
	}
	if (l->in.len == 0)
		buf_reset(&l->in, 4 * CHUNK);
}

ssize_t
lines_fill(struct lines *l)
{
	make_room(l);
	return io_read_some(l->fd, &l->in, CHUNK);
}

void
lines_add(struct lines *l, struct span bytes)
{
	make_room(l);
	buf_add_span(&l->in, bytes);
}

enum lines_result
lines_next(struct lines *l, struct span *line)
{
	const char *end;
	bool skipped;

	for (;;) {
		if (l->scanned == l->in.len)
			end = NULL;
		else
			end = memchr(l->in.data + l->scanned, '\n',
			    l->in.len - l->scanned);
		if (end == NULL)
			break;
		*line = (struct span){ l->in.data + l->at,
		    (size_t)(end - l->in.data) - l->at };
		skipped = l->skipping;
		l->skipping = false;
		l->at += line->n + 1;
		l->scanned = l->at;
		if (!skipped)
			return line->n > l->max ? LINES_TOO_LONG : LINES_LINE;
	}
	l->scanned = l->in.len;
	if (l->in.len - l->at <= l->max)
		return LINES_NONE;
	l->at = l->in.len;
	if (l->skipping)
		return LINES_NONE;
	l->skipping = true;
	return LINES_TOO_LONG;
}

bool
lines_last(struct lines *l, struct span *line)
{
	if (l->at == l->in.len || l->skipping)
		return false;
	*line = (struct span){ l->in.data + l->at, l->in.len - l->at };
	return true;
}

void
lines_free(struct lines *l)
{
	buf_free(&l->in);
}
