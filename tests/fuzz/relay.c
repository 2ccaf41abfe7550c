/*
 * pc-forward's lines, with an API that cannot be reached.  Each request is
 * answered, once unless it comes again, and is not said to have been handled;
 * whatever is no request goes on as it is, in order; nothing else comes out.
 */
#include "fuzz.h"
#include "relay.h"

#define BODY_MAX 1024
#define IDS_MAX 512

static struct relay_options options = { .dispatch = {
	.api = { .url = "unix:/nowhere/at/all", .token = "t",
	    .in_flight_max = 4, .body_max = BODY_MAX }, .timeout_ms = 30000 } };
static size_t warnings;

static void
warn(const char *object, const char *reason)
{
	(void)object;
	(void)reason;
	warnings++;
}

/* A request's id, how often it came, and how often it was answered. */
struct asked {
	struct buf id;
	size_t came, answered;
};

struct want {
	struct asked ids[IDS_MAX];
	size_t nids;
	struct buf passed;	/* lines */
	size_t invalid, too_large;
};

static struct asked *
find(struct want *w, struct span id, bool add)
{
	size_t i;

	for (i = 0; i < w->nids; i++)
		if (span_equal(buf_span(&w->ids[i].id), id))
			return &w->ids[i];
	if (!add)
		return NULL;
	check(w->nids < IDS_MAX);
	buf_add_span(&w->ids[w->nids].id, id);
	return &w->ids[w->nids++];
}

/* What each line asks for. */
static void
note(struct want *w, struct span text)
{
	static struct record r;
	enum record_kind kind;
	struct span line;

	while (text.n > 0) {
		bool last = memchr(text.p, '\n', text.n) == NULL;

		line = fuzz_cut(&text, '\n');
		if (last && line.n == 0)
			break;
		kind = line.n == 0 ? RECORD_REPORT :
		    record_parse(&r, line, RECORD_BODY_MAX);
		if (kind == RECORD_REQUEST) {
			find(w, r.id, true)->came++;
		} else if (kind == RECORD_INVALID) {
			w->invalid++;
		} else {
			buf_add_span(&w->passed, line);
			buf_add_char(&w->passed, '\n');
		}
	}
}

static void
check_answer(struct want *w, struct span line)
{
	static struct record r;
	struct asked *a;
	size_t i;

	check(record_parse(&r, line, RECORD_BODY_MAX) == RECORD_RESPONSE);
	check((a = find(w, r.id, false)) != NULL && r.status >= 400);
	check(++a->answered <= a->came);
	for (i = 0; i < r.nheaders; i++)
		check(!span_is(r.headers[i].value, OUTCOME_INDETERMINATE));
}

static void
check_output(struct want *w, struct span out)
{
	struct span passed = buf_span(&w->passed), line, rest, next;
	size_t i;

	check(out.n == 0 || out.p[out.n - 1] == '\n');
	while (out.n > 0) {
		line = fuzz_cut(&out, '\n');
		rest = passed;
		if (rest.n > 0) {
			next = fuzz_cut(&rest, '\n');
			if (span_equal(next, line)) {
				passed = rest;
				continue;
			}
		}
		check_answer(w, line);
	}
	check(passed.n == 0);
	for (i = 0; i < w->nids; i++)
		check(w->ids[i].answered > 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct want w;
	static volatile sig_atomic_t stop;
	int in = fuzz_file(data, len), out = fuzz_file("", 0);
	struct buf text = { 0 };
	off_t size;
	sigset_t none;

	sigemptyset(&none);
	options.dispatch.warn = warn;
	warnings = 0;
	note(&w, (struct span){ (const char *)data, len });
	check(relay_run(&options, in, out, &stop, &none) == RELAY_ENDED);
	size = lseek(out, 0, SEEK_END);
	check(buf_reserve(&text, (size_t)size + 1) != NULL);
	check(pread(out, text.data, (size_t)size, 0) == size);
	text.len = (size_t)size;
	check_output(&w, buf_span(&text));
	check(warnings >= w.invalid);
	for (; w.nids > 0; w.nids--)
		buf_free(&w.ids[w.nids - 1].id);
	buf_free(&w.passed);
	buf_free(&text);
	memset(&w, 0, sizeof(w));
	close(in);
	close(out);
	return 0;
}
