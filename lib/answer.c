#include <time.h>

#include "answer.h"

struct phrase {
	int status;
	const char *text;
};

/* RFC 9110 15; the others get an empty phrase, which is allowed. */
static const struct phrase phrases[] = {
	{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" },
	{ 204, "No Content" }, { 206, "Partial Content" },
	{ 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" },
	{ 304, "Not Modified" }, { 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" }, { 400, "Bad Request" },
	{ 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
	{ 405, "Method Not Allowed" }, { 406, "Not Acceptable" },
	{ 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" },
	{ 412, "Precondition Failed" }, { 413, "Content Too Large" },
	{ 415, "Unsupported Media Type" }, { 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" }, { 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" }, { 501, "Not Implemented" },
	{ 502, "Bad Gateway" }, { 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" },
};

static const char *
phrase_of(int status)
{
	size_t i;

	for (i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (phrases[i].status == status)
			return phrases[i].text;
	return "";
}

/* Length and date are ours to say. */
static bool
is_passed_on(const struct record_header *h)
{
	return header_name_is_valid(h->name) &&
	    header_value_is_valid(h->value) &&
	    !header_is_hop_by_hop(h->name) &&
	    !header_name_is(h->name, "content-length") &&
	    !header_name_is(h->name, "date");
}

/* RFC 9110 6.6.1, made once a second. */
static void
put_date(struct buf *out)
{
	static time_t made;
	static char line[64];
	time_t now = time(NULL);
	struct tm tm;

	if (now != made) {
		gmtime_r(&now, &tm);
		strftime(line, sizeof(line),
		    "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
		made = now;
	}
	buf_add_str(out, line);
}

void
answer_put(struct buf *out, const struct record *r, int flags)
{
	bool bodiless = (flags & ANSWER_HEAD) || r->status == 204 ||
	    r->status == 304;
	size_t i;

	buf_add_str(out, "HTTP/1.1 ");
	buf_add_int(out, r->status);
	buf_add_char(out, ' ');
	buf_add_str(out, phrase_of(r->status));
	buf_add_str(out, "\r\n");
	put_date(out);
	for (i = 0; i < r->nheaders; i++) {
		if (!is_passed_on(&r->headers[i]))
			continue;
		buf_add_span(out, r->headers[i].name);
		buf_add_str(out, ": ");
		buf_add_span(out, r->headers[i].value);
		buf_add_str(out, "\r\n");
	}
	if (!(flags & ANSWER_KEEP_ALIVE))
		buf_add_str(out, "connection: close\r\n");
	else if (flags & ANSWER_HTTP_1_0)
		buf_add_str(out, "connection: keep-alive\r\n");
	if (!bodiless) {
		buf_add_str(out, "content-length: ");
		buf_add_int(out, (int64_t)record_body_len(r));
		buf_add_str(out, "\r\n");
	}
	buf_add_str(out, "\r\n");
	if (!bodiless)
		record_body_decode(r, out);
}

void
answer_put_error(struct buf *out, int status, const char *message,
    const char *outcome, int flags)
{
	struct buf body = { 0 };
	struct record r = { 0 };

	record_make_error(&r, &body, status, message, outcome);
	answer_put(out, &r, flags);
	out->failed |= body.failed;
	buf_free(&body);
}
