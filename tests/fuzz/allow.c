/*
 * A line of the bridge through the allowlist.  What comes out is one line: a
 * request that a rule allows, with canonical path and carried headers only,
 * that passes again as it is; a refusal with the request's id; or the line.
 */
#include "allow.h"
#include "fuzz.h"

#define BODY_MAX 1024

static const char rules_text[] = "GET /api/issues/:id\nPOST /api/issues\n"
    "GET /a\nGET /:x.txt\n";

static void
check_passed(const struct rules *rules, const struct record *in,
    struct span out)
{
	static struct record r;
	struct buf again = { 0 };
	size_t i;

	check(record_parse(&r, out, BODY_MAX) == RECORD_REQUEST);
	check(span_equal(r.id, in->id) && span_equal(r.method, in->method));
	check(span_equal(r.path, in->path) && span_equal(r.query, in->query));
	check(allow_check_target(r.path, r.query) == NULL);
	check(rules_match(rules, r.method, r.path) != NULL);
	for (i = 0; i < r.nheaders; i++) {
		check(request_header_is_carried(r.headers[i].name,
		    r.path));
		check(header_value_is_valid(r.headers[i].value));
	}
	check(allow_line(rules, &r, BODY_MAX,
	    (struct span){ out.p, out.n - 1 }, &again) == ALLOW_PASSED);
	check(span_equal(buf_span(&again), out));
	buf_free(&again);
}

static void
check_refused(const struct record *in, struct span out)
{
	static struct record r;

	check(record_parse(&r, out, 65536) == RECORD_RESPONSE);
	check(span_equal(r.id, in->id));
	check(r.status == 400 || r.status == 403 || r.status == 413);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct rules rules;
	static struct record r;
	struct buf out = { 0 };
	struct span line = fuzz_block(data, len);
	const char *fault;
	size_t n;

	if (rules.count == 0)
		check(rules_parse(&rules, span_of(rules_text), &n, &fault) ==
		    0);
	switch (allow_line(&rules, &r, BODY_MAX, line, &out)) {
	case ALLOW_PASSED:
		check(fuzz_is_line(buf_span(&out)));
		check_passed(&rules, &r, buf_span(&out));
		break;
	case ALLOW_REFUSED:
		check(fuzz_is_line(buf_span(&out)));
		check_refused(&r, buf_span(&out));
		break;
	case ALLOW_NOT_MINE:
		check(out.len == len + 1 && out.data[len] == '\n');
		check(len == 0 || memcmp(out.data, data, len) == 0);
		break;
	case ALLOW_INVALID:
		check(out.len == 0 && r.fault != NULL);
		break;
	}
	buf_free(&out);
	free((char *)line.p);
	return 0;
}
