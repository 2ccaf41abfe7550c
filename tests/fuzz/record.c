/*
 * Records and the lines between tools: what is accepted, written and read
 * again is the same record, and one line.
 */
#include <stdint.h>
#include <stdlib.h>

#include "id.h"
#include "record.h"

static void
put(struct buf *out, const struct record *r, enum record_kind kind)
{
	if (kind == RECORD_REQUEST)
		record_put_request(out, r);
	else
		record_put_response(out, r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct record a, b;
	struct buf one = { 0 }, two = { 0 }, body_a = { 0 }, body_b = { 0 };
	enum record_kind kind;
	struct span line;
	char *text = malloc(len ? len : 1);

	if (text == NULL)
		return 0;
	memcpy(text, data, len);
	kind = record_parse(&a, (struct span){ text, len }, 4096);
	if (kind == RECORD_INVALID && a.fault == NULL)
		abort();
	if (kind == RECORD_REQUEST && !id_is_valid(a.id))
		abort();
	if (kind == RECORD_REQUEST || kind == RECORD_RESPONSE) {
		if (kind == RECORD_RESPONSE && a.completed_at.n == 0)
			a.completed_at = span_of("t");
		put(&one, &a, kind);
		line = buf_span(&one);
		if (memchr(line.p, '\n', line.n) != line.p + line.n - 1)
			abort();
		if (kind == RECORD_REQUEST || a.id.n > 0) {
			if (record_parse(&b, line, 4096) != kind)
				abort();
			put(&two, &b, kind);
			if (!span_equal(buf_span(&one), buf_span(&two)))
				abort();
			record_body_decode(&a, &body_a);
			record_body_decode(&b, &body_b);
			if (body_a.len != record_body_len(&a) ||
			    !span_equal(buf_span(&body_a), buf_span(&body_b)))
				abort();
		}
	}
	buf_free(&one);
	buf_free(&two);
	buf_free(&body_a);
	buf_free(&body_b);
	free(text);
	return 0;
}
