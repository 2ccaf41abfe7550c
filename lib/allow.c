#include "allow.h"
#include "target.h"

#define SHOWN_MAX 1024	/* bytes of a path in a message */

const char *
allow_check_target(struct span path, struct span query)
{
	const char *why = target_check_path(path);

	return why != NULL ? why : target_check_query(query);
}

/* Keeps the headers that are carried; false when one cannot be. */
static bool
keep_headers(struct record *r, struct span *bad)
{
	size_t i, kept = 0;

	for (i = 0; i < r->nheaders; i++) {
		if (!request_header_is_carried(r->headers[i].name,
		    r->path))
			continue;
		if (!header_value_is_valid(r->headers[i].value)) {
			*bad = r->headers[i].name;
			return false;
		}
		r->headers[kept++] = r->headers[i];
	}
	r->nheaders = kept;
	return true;
}

/* `text method shown`; what is shown is ASCII: a canonical path, a name. */
static void
refuse(struct buf *out, const struct record *r, int status, const char *text,
    struct span method, struct span shown)
{
	struct buf message = { 0 };

	buf_add_str(&message, text);
	if (method.n > 0) {
		buf_add_span(&message, method);
		buf_add_char(&message, ' ');
	}
	buf_add(&message, shown.p, shown.n < SHOWN_MAX ? shown.n : SHOWN_MAX);
	buf_add_char(&message, '\0');
	if (buf_failed(&message))
		out->failed = true;
	else
		record_put_error(out, r->id, status, message.data, NULL);
	buf_free(&message);
}

static enum allow_verdict
judge(const struct rules *rules, struct record *r, struct buf *out)
{
	static const struct span none = { "", 0 };
	struct span bad = none;
	const char *why = allow_check_target(r->path, r->query);

	if (why != NULL) {
		refuse(out, r, 400, "Invalid request path: ", none,
		    span_of(why));
		return ALLOW_REFUSED;
	}
	if (!keep_headers(r, &bad)) {
		refuse(out, r, 400, "Invalid request header: ", none, bad);
		return ALLOW_REFUSED;
	}
	if (rules_match(rules, r->method, r->path) == NULL) {
		refuse(out, r, 403, "Route not allowed: ", r->method, r->path);
		return ALLOW_REFUSED;
	}
	record_put_request(out, r);
	return ALLOW_PASSED;
}

enum allow_verdict
allow_line(const struct rules *rules, struct record *r, size_t body_max,
    struct span line, struct buf *out)
{
	enum record_kind kind;

	r->fault = NULL;
	if (line.n == 0) {
		buf_add_char(out, '\n');	/* a keep-alive */
		return ALLOW_NOT_MINE;
	}
	kind = record_parse(r, line, body_max);
	if (kind == RECORD_REQUEST)
		return judge(rules, r, out);
	if (kind == RECORD_TOO_LARGE && r->method.n > 0) {
		record_put_error(out, r->id, 413, MESSAGE_ENVELOPE_TOO_LARGE,
		    NULL);
		return ALLOW_REFUSED;
	}
	if (kind == RECORD_INVALID)
		return ALLOW_INVALID;
	buf_add_span(out, line);
	buf_add_char(out, '\n');
	return ALLOW_NOT_MINE;
}
