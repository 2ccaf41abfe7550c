/*
 * A response line into a queue where "a" is claimed and "b" waits.  What is
 * published is one file, a record with the line's id, and only if somebody
 * waits for it; what is said of it is one line.
 */
#include <stdio.h>

#include "fuzz.h"
#include "respond.h"

#define BODY_MAX 1024

static char folder[] = "/tmp/pc-fuzz.XXXXXX";
static const char request[] = "{\"id\":\"a\",\"method\":\"GET\",\"path\":\"/\","
    "\"query\":\"\",\"headers\":{},\"body\":\"\",\"createdAt\":\"t\"}\n";

static void
remove_folder(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	(void)!system(command);
}

static bool
count(void *ctx, const char *id)
{
	(void)id;
	++*(size_t *)ctx;
	return true;
}

static size_t
responses(const struct queue *q)
{
	size_t n = 0;

	check(queue_each(q, QUEUE_RESPONSES, count, &n) == 0);
	return n;
}

static void
check_report(struct span line, bool wrote)
{
	static struct record r;

	check(fuzz_is_line(line));
	check(record_parse(&r, line, BODY_MAX) == RECORD_REPORT);
	check((memmem(line.p, line.n, "\"wrote\":true", 12) != NULL) == wrote);
}

static void
check_published(struct queue *q, struct responder *by, const char *id)
{
	static struct record r;
	struct buf b = { 0 };
	int64_t mtime;
	size_t i;

	check(queue_read(q, QUEUE_RESPONSES, id, 1 << 20, &b, &mtime) == 0);
	check(!queue_has(q, QUEUE_CLAIMED, id) &&
	    !queue_has(q, QUEUE_REQUESTS, id));
	check(fuzz_is_line(buf_span(&b)));
	check(record_parse(&r, buf_span(&b), BODY_MAX) == RECORD_RESPONSE);
	check(span_is(r.id, id) && (r.status == by->record.status ||
	    r.status == 504));
	check(r.expires_at > 0);
	for (i = 0; i < r.nheaders; i++)
		check(utf8_is_valid(r.headers[i].value));
	buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct queue q;
	static struct responder r = { .body_max = BODY_MAX };
	static const char *const ids[] = { "a", "b" };
	struct span line = fuzz_block(data, len);
	struct buf out = { 0 };
	bool known;
	size_t i;

	if (r.q == NULL) {
		check(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
		check(queue_open(&q, folder, QUEUE_CREATE) == 0);
		r.q = &q;
	}
	check(queue_submit(&q, "a", span_of(request)) == 0);
	check(queue_submit(&q, "b", span_of(request)) == 0);
	check(queue_claim(&q, "a") == 0);
	switch (respond_line(&r, line, &out)) {
	case RESPOND_REPORTED:
		known = span_is(r.record.id, "a") || span_is(r.record.id, "b");
		check_report(buf_span(&out), known);
		check(responses(&q) == known);
		if (known)
			check_published(&q, &r,
			    span_is(r.record.id, "a") ? "a" : "b");
		break;
	case RESPOND_PASSED:
		check(out.len == len + 1 && memcmp(out.data, data, len) == 0);
		check(responses(&q) == 0);
		break;
	default:
		check(out.len == 0 && responses(&q) == 0);
		break;
	}
	for (i = 0; i < 2; i++) {
		(void)queue_remove(&q, QUEUE_REQUESTS, ids[i]);
		(void)queue_remove(&q, QUEUE_CLAIMED, ids[i]);
		(void)queue_remove(&q, QUEUE_RESPONSES, ids[i]);
	}
	check(responses(&q) == 0);
	buf_free(&out);
	free((char *)line.p);
	return 0;
}
