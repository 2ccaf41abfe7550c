/*
 * Lines out of a stream, in reads of any length: the same lines, and the same
 * are too long, as when all is there; no more is kept than a line and a read.
 */
#include "fuzz.h"
#include "lines.h"

#define KEEP_MAX 262144		/* what lines.c keeps for the next read */

/* What came of it: "=LINE\n", or "!\n" for one too long; the last, "~". */
static void
take(struct buf *out, struct lines *l)
{
	enum lines_result kind;
	struct span line;

	while ((kind = lines_next(l, &line)) != LINES_NONE) {
		if (kind == LINES_TOO_LONG) {
			buf_add_str(out, "!\n");
			continue;
		}
		check(line.n <= l->max);
		buf_add_char(out, '=');
		buf_add_span(out, line);
		buf_add_char(out, '\n');
	}
	check(l->in.len - l->at <= l->max);
}

static void
want(struct buf *out, struct span text, size_t max)
{
	bool last;
	struct span line;

	while (text.n > 0) {
		last = memchr(text.p, '\n', text.n) == NULL;
		line = fuzz_cut(&text, '\n');
		if (line.n > max) {
			buf_add_str(out, "!\n");
			continue;
		}
		buf_add_char(out, last ? '~' : '=');
		buf_add_span(out, line);
		buf_add_char(out, '\n');
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lines l = { .fd = -1 };
	struct buf got = { 0 }, all = { 0 };
	struct span rest, piece, line;
	unsigned int cut;

	if (len < 2)
		return 0;
	cut = data[0];
	l.max = data[1];
	rest = (struct span){ (const char *)data + 2, len - 2 };
	want(&all, rest, l.max);
	while (rest.n > 0) {
		cut = cut * 1103515245 + 12345;
		piece = rest;
		piece.n = 1 + (cut >> 16) % (data[0] + 1u);
		if (piece.n > rest.n)
			piece.n = rest.n;
		piece = fuzz_block(rest.p, piece.n);
		lines_add(&l, piece);
		free((char *)piece.p);
		rest.p += piece.n;
		rest.n -= piece.n;
		take(&got, &l);
		check(l.in.cap <= KEEP_MAX);
	}
	if (lines_last(&l, &line)) {
		buf_add_char(&got, '~');
		buf_add_span(&got, line);
		buf_add_char(&got, '\n');
	}
	check(span_equal(buf_span(&got), buf_span(&all)));
	lines_free(&l);
	buf_free(&got);
	buf_free(&all);
	return 0;
}
