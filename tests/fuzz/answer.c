/*
 * A response record, as whoever may write in a queue writes it, as an HTTP
 * answer: by a plain reading it is one message, with the status, the length
 * and the body that were meant, and no header that was not there.
 */
#include <stdio.h>

#include "answer.h"
#include "fuzz.h"

/* What is before the next CR LF, cut off the front of s with it. */
static struct span
cut_line(struct span *s)
{
	const char *at = memmem(s->p, s->n, "\r\n", 2);
	struct span line;

	check(at != NULL);
	line = (struct span){ s->p, (size_t)(at - s->p) };
	s->p += line.n + 2;
	s->n -= line.n + 2;
	return line;
}

static bool
is_there(const struct record *r, struct span name, struct span value)
{
	size_t i;

	for (i = 0; i < r->nheaders; i++)
		if (span_equal(r->headers[i].name, name) &&
		    span_equal(r->headers[i].value, value))
			return true;
	return span_is(name, "date") || span_is(name, "connection");
}

static void
check_message(const struct record *r, struct span m, int flags)
{
	bool bodiless = (flags & ANSWER_HEAD) || r->status == 204 ||
	    r->status == 304;
	struct span line = cut_line(&m), name;
	struct buf body = { 0 };
	char text[32];
	size_t i, lengths = 0;

	snprintf(text, sizeof(text), "HTTP/1.1 %d ", r->status);
	check(line.n >= strlen(text) &&
	    memcmp(line.p, text, strlen(text)) == 0);
	record_body_decode(r, &body);
	snprintf(text, sizeof(text), "%zu", body.len);
	while ((line = cut_line(&m)).n > 0) {
		for (i = 0; i < line.n; i++)
			check((unsigned char)line.p[i] >= ' ' ||
			    line.p[i] == '\t');
		name = fuzz_cut(&line, ':');
		check(header_name_is_valid(name) && *line.p == ' ');
		line.p++;
		line.n--;
		check(!header_name_is(name, "transfer-encoding"));
		if (header_name_is(name, "content-length")) {
			check(span_is(line, text));
			lengths++;
		} else {
			check(is_there(r, name, line));
		}
	}
	check(lengths == !bodiless);
	check(span_equal(m, bodiless ? (struct span){ "", 0 } :
	    buf_span(&body)));
	buf_free(&body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct record r;
	struct buf out = { 0 };
	struct span line;
	int flags;

	if (len == 0)
		return 0;
	flags = data[0] & 7;
	line = fuzz_block(data + 1, len - 1);
	if (record_parse(&r, line, 65536) == RECORD_RESPONSE &&
	    r.status != 0) {
		answer_put(&out, &r, flags);
		check_message(&r, buf_span(&out), flags);
	}
	buf_free(&out);
	free((char *)line.p);
	return 0;
}
