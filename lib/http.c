/*
 * http.c - see http.h.
 *
 * A head is read line by line; scan remembers complete lines, so that no byte
 * is looked at again.  The spans of lines read in an earlier call may point
 * into a buffer that has moved since: a head that took several calls is
 * therefore read once more, as a whole, when its end is there.
 */
#include "ascii.h"
#include "http.h"
#include "target.h"

#define TEXT	1	/* may stand in a line: blanks, and what is printed */
#define TOKEN	2	/* may stand in a method or header name */

/* 0x80 to 0xff are TEXT as well: see byte_is(). */
static const unsigned char ascii[128] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/*  !  "  #  $  %  &  '  (  )  *  +  ,  -  .  / */
	1, 3, 1, 3, 3, 3, 3, 3, 1, 1, 3, 3, 1, 3, 3, 1,
	3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1,
	/* @ A to Z [ \ ] ^ _ */
	1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
	3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 3, 3,
	/* ` a to z { | } ~ DEL */
	3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
	3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 3, 1, 3, 0,
};

static bool
byte_is(char byte, int class)
{
	unsigned char c = (unsigned char)byte;

	return c < 128 ? (ascii[c] & class) != 0 : class == TEXT;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct span
trim(struct span s)
{
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	while (s.n > 0 && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	return s;
}

/* Cuts what is before sep, and sep, off the front of s; false without sep. */
static bool
cut(struct span *s, char sep, struct span *front)
{
	const char *at = s->n > 0 ? memchr(s->p, sep, s->n) : NULL;

	if (at == NULL)
		return false;
	*front = (struct span){ s->p, (size_t)(at - s->p) };
	s->p = at + 1;
	s->n -= front->n + 1;
	return true;
}

static bool
is_token(struct span s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (!byte_is(s.p[i], TOKEN))
			return false;
	return s.n > 0;
}

static bool
is_target(struct span s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return s.n > 0;
}

/* These return 0 or the status to answer with. */

static int
parse_version(struct span s, int *minor)
{
	if (s.n != 8 || !span_starts(s, "HTTP/") || s.p[6] != '.' ||
	    !ascii_is_digit(s.p[5]) || !ascii_is_digit(s.p[7]))
		return 400;
	*minor = s.p[7] - '0';
	return s.p[5] == '1' && *minor <= 1 ? 0 : 505;
}

static int
parse_request_line(struct span line, struct http_request *req)
{
	if (!cut(&line, ' ', &req->method) || !cut(&line, ' ', &req->target))
		return 400;
	if (!is_token(req->method) || req->method.n > HTTP_METHOD_MAX ||
	    !is_target(req->target))
		return 400;
	return parse_version(line, &req->minor);
}

/* A folded line needs no rule of its own: a blank is in no name. */
static int
parse_header(struct span line, struct http_header *h)
{
	if (!cut(&line, ':', &h->name) || !is_token(h->name))
		return 400;
	h->value = trim(line);
	return 0;
}

static int
parse_line(const struct http_scan *scan, struct span line,
    struct http_request *req)
{
	if (scan->lines > HTTP_HEADERS_MAX)
		return 431;
	if (scan->lines > 0)
		return parse_header(line, &req->headers[scan->lines - 1]);
	if (line.n > 0)
		return parse_request_line(line, req);
	/* Only empty lines so far, of two bytes each. */
	return scan->line < 2 * HTTP_EMPTY_LINES_MAX ? 0 : 400;
}

/* 1 and a line, 0 when its end has not come, -1 for a byte of no line. */
static int
find_line(struct http_scan *scan, struct span in, struct span *line)
{
	size_t at = scan->at;

	while (at < in.n && byte_is(in.p[at], TEXT))
		at++;
	scan->at = at;
	if (at >= in.n || (in.p[at] == '\r' && at + 1 == in.n))
		return 0;
	if (in.p[at] != '\r' || in.p[at + 1] != '\n')
		return -1;
	*line = (struct span){ in.p + scan->line, at - scan->line };
	return 1;
}

static int
parse_length(struct span s, uint64_t *length)
{
	uint64_t digit, n = 0;
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (!ascii_is_digit(s.p[i]))
			return 400;
		digit = (uint64_t)(s.p[i] - '0');
		if (n > (UINT64_MAX - digit) / 10)
			return 400;
		n = n * 10 + digit;
	}
	*length = n;
	return s.n > 0 ? 0 : 400;
}

/* Where the body ends and who is meant: two readings are no reading. */
static int
check_framing(struct http_request *req)
{
	struct span length = http_header_get(req, "content-length");
	struct span coding = http_header_get(req, "transfer-encoding");
	static const char *const once[] = {
		"content-length", "transfer-encoding", "host"
	};
	const struct http_header *h;
	size_t i;

	for (i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
		h = http_header_next(req, once[i], NULL);
		if (h != NULL && http_header_next(req, once[i], h) != NULL)
			return 400;
	}
	req->has_length = length.p != NULL;
	req->content_length = 0;
	if (req->has_length && parse_length(length, &req->content_length) != 0)
		return 400;
	req->chunked = coding.p != NULL;
	if (req->chunked && (req->has_length || req->minor == 0 ||
	    !ascii_is(coding, "chunked")))
		return 400;
	req->host = http_header_get(req, "host");
	if (req->host.p == NULL)
		return req->minor == 0 ? 0 : 400;
	return target_is_authority(req->host) ? 0 : 400;
}

static bool
connection_has(const struct http_request *req, const char *option)
{
	const struct http_header *h = NULL;
	struct span rest, item;

	while ((h = http_header_next(req, "connection", h)) != NULL) {
		rest = h->value;
		while (cut(&rest, ',', &item))
			if (ascii_is(trim(item), option))
				return true;
		if (ascii_is(trim(rest), option))
			return true;
	}
	return false;
}

static int
check_head(struct http_request *req)
{
	const struct http_header *h = NULL;
	bool expects = false;

	if (check_framing(req) != 0)
		return 400;
	req->keep_alive = !connection_has(req, "close") &&
	    (req->minor == 1 || connection_has(req, "keep-alive"));
	while ((h = http_header_next(req, "expect", h)) != NULL) {
		if (!ascii_is(h->value, "100-continue"))
			return 400;
		expects = true;
	}
	/* RFC 9110 10.1.1: in HTTP/1.0 it is ignored. */
	req->expect_continue = expects && req->minor == 1 &&
	    (req->chunked || req->content_length > 0);
	return 0;
}

ssize_t
http_parse_head(struct http_scan *scan, struct span in,
    struct http_request *req, int *status)
{
	bool resumed = scan->lines > 0;
	struct span line;
	int found, bad;

	if (in.n > HTTP_HEAD_MAX)
		in.n = HTTP_HEAD_MAX;
	while ((found = find_line(scan, in, &line)) == 1) {
		if (line.n == 0 && scan->lines > 0)
			break;
		if ((bad = parse_line(scan, line, req)) != 0) {
			*status = bad;
			return -1;
		}
		scan->lines += line.n > 0;
		scan->at += 2;
		scan->line = scan->at;
	}
	if (found == 0 && in.n < HTTP_HEAD_MAX)
		return 0;
	if (found != 1) {
		*status = found == 0 ? 431 : 400;
		return -1;
	}
	if (resumed) {
		*scan = (struct http_scan){ 0 };
		return http_parse_head(scan, in, req, status);
	}
	req->nheaders = scan->lines - 1;
	if ((bad = check_head(req)) != 0) {
		*status = bad;
		return -1;
	}
	return (ssize_t)(scan->at + 2);
}

const struct http_header *
http_header_next(const struct http_request *req, const char *name,
    const struct http_header *after)
{
	const struct http_header *h = after == NULL ? req->headers : after + 1;

	for (; h < req->headers + req->nheaders; h++)
		if (ascii_is(h->name, name))
			return h;
	return NULL;
}

struct span
http_header_get(const struct http_request *req, const char *name)
{
	const struct http_header *h = http_header_next(req, name, NULL);

	return h != NULL ? h->value : (struct span){ NULL, 0 };
}

/* Where in a chunked body the next byte stands. */
enum chunked_state {
	SIZE, SIZE_END, DATA, DATA_END, DATA_END_LF,
	TRAILER, TRAILER_NAME, TRAILER_VALUE, TRAILER_END, LAST_END, DONE, BAD
};

static enum chunked_state
step_size(struct http_chunked *body, char c)
{
	int digit = ascii_hex_value(c);

	if (c == '\r' && body->digits > 0)
		return SIZE_END;
	/* The limit on digits is also what keeps left from overflowing. */
	if (digit == -1 || body->digits == HTTP_CHUNK_DIGITS_MAX)
		return BAD;
	body->digits++;
	body->left = body->left << 4 | (uint64_t)digit;
	return SIZE;
}

static enum chunked_state
step_trailer(struct http_chunked *body, char c)
{
	if (++body->trailers > HTTP_TRAILERS_MAX)
		return BAD;
	switch (body->state) {
	case TRAILER:
		if (c == '\r')
			return LAST_END;
		return byte_is(c, TOKEN) ? TRAILER_NAME : BAD;
	case TRAILER_NAME:
		if (c == ':')
			return TRAILER_VALUE;
		return byte_is(c, TOKEN) ? TRAILER_NAME : BAD;
	case TRAILER_VALUE:
		if (c == '\r')
			return TRAILER_END;
		return byte_is(c, TEXT) ? TRAILER_VALUE : BAD;
	case TRAILER_END:
		return c == '\n' ? TRAILER : BAD;
	default:
		return c == '\n' ? DONE : BAD;
	}
}

static enum chunked_state
step(struct http_chunked *body, char c)
{
	switch (body->state) {
	case SIZE:
		return step_size(body, c);
	case SIZE_END:
		if (c != '\n')
			return BAD;
		body->digits = 0;
		return body->left > 0 ? DATA : TRAILER;
	case DATA_END:
		return c == '\r' ? DATA_END_LF : BAD;
	case DATA_END_LF:
		return c == '\n' ? SIZE : BAD;
	default:
		return step_trailer(body, c);
	}
}

enum http_chunked_result
http_chunked_decode(struct http_chunked *body, struct span in,
    size_t *consumed, struct span *data)
{
	size_t i = 0, n;

	while (i < in.n && body->state != DATA && body->state != DONE &&
	    body->state != BAD)
		body->state = (int)step(body, in.p[i++]);
	*consumed = i;
	if (body->state == BAD)
		return HTTP_CHUNKED_BAD;
	if (body->state == DONE)
		return HTTP_CHUNKED_DONE;
	if (i == in.n)
		return HTTP_CHUNKED_MORE;

	n = in.n - i;
	if (n >= body->left) {
		n = (size_t)body->left;
		body->state = DATA_END;
	}
	body->left -= n;
	*data = (struct span){ in.p + i, n };
	*consumed = i + n;
	return HTTP_CHUNKED_DATA;
}
