/*
 * http_take - what the gateway's parser takes of connections.
 *
 * In: a connection's bytes after their number (32 bits, little-endian), again
 * and again.  Out, a line of JSON for each: the requests that were read whole,
 * with bytes as characters of Latin 1, and why there were no more: "more",
 * "bad", or "close", when a request was the last one of its connection.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "json.h"
#include "target.h"

#define BODY_MAX	(1 << 20)
#define INPUT_MAX	(1 << 20)

static void
put_bytes(struct buf *out, struct span s)
{
	struct buf text = { 0 };
	size_t i;

	for (i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] < 0x80) {
			buf_add_char(&text, s.p[i]);
		} else {
			buf_add_char(&text, (char)(0xc0 |
			    (unsigned char)s.p[i] >> 6));
			buf_add_char(&text, (char)(0x80 | (s.p[i] & 0x3f)));
		}
	}
	json_put_string(out, text.len > 0 ? buf_span(&text) : span_of(""));
	buf_free(&text);
}

static void
put_head(struct buf *out, const struct http_request *req)
{
	size_t i;

	json_put_key(out, "method");
	put_bytes(out, req->method);
	json_put_key(out, "target");
	put_bytes(out, req->target);
	json_put_key(out, "minor");
	buf_add_int(out, req->minor);
	json_put_key(out, "headers");
	buf_add_char(out, '[');
	for (i = 0; i < req->nheaders; i++) {
		if (i > 0)
			buf_add_char(out, ',');
		put_bytes(out, req->headers[i].name);
		buf_add_char(out, ',');
		put_bytes(out, req->headers[i].value);
	}
	buf_add_char(out, ']');
}

/* As the gateway notes it. */
static void
note_head(struct conn *c, const struct http_request *req, size_t len)
{
	c->head_len = len;
	c->is_chunked = req->chunked;
	c->body_len = 0;
	if (req->has_length)
		c->body_len = req->content_length < SIZE_MAX / 4 ?
		    (size_t)req->content_length : SIZE_MAX / 4;
	c->keep_alive = req->keep_alive;
	c->chunked = (struct http_chunked){ 0 };
	buf_reset(&c->body, 0);
}

/* One request: NULL when it was taken and another may follow, or why not. */
static const char *
take(struct conn *c, struct buf *out)
{
	static struct http_request req;
	struct buf path = { 0 }, query = { 0 };
	int status, got;
	ssize_t n;

	if (c->in.len == 0)
		return "more";
	n = http_parse_head(&c->scan, buf_span(&c->in), &req, &status);
	if (n <= 0)
		return n == 0 ? "more" : "bad";
	got = target_canonicalise(req.target, &path, &query);
	buf_free(&path);
	buf_free(&query);
	if (got == -1)
		return "bad";
	note_head(c, &req, (size_t)n);
	if (out->data[out->len - 1] != '[')
		buf_add_char(out, ',');
	buf_add_char(out, '{');
	/* The body may move what the head's spans point to. */
	put_head(out, &req);
	got = conn_take_body(c, BODY_MAX);
	json_put_key(out, "body");
	put_bytes(out, got == 1 ? conn_body(c) : span_of(""));
	buf_add_str(out, got == 1 ? "}" : ",\"part\":true}");
	if (got != 1)
		return got == 0 ? "more" : "bad";
	conn_next_request(c);
	return c->keep_alive ? NULL : "close";
}

int
main(void)
{
	static char bytes[INPUT_MAX];
	unsigned char head[4];
	struct buf out = { 0 };
	const char *end;
	struct conn *c;
	size_t n;

	while (fread(head, sizeof(head), 1, stdin) == 1) {
		n = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 |
		    (size_t)head[3] << 24;
		if (n > sizeof(bytes) || fread(bytes, 1, n, stdin) != n ||
		    (c = conn_new(-1)) == NULL)
			return 111;
		buf_add(&c->in, bytes, n);
		buf_reset(&out, 1 << 20);
		buf_add_str(&out, "{\"requests\":[");
		while ((end = take(c, &out)) == NULL)
			;
		buf_add_str(&out, "],\"end\":\"");
		buf_add_str(&out, end);
		buf_add_str(&out, "\"}\n");
		if (buf_failed(&out) || buf_failed(&c->in) ||
		    fwrite(out.data, 1, out.len, stdout) != out.len ||
		    fflush(stdout) != 0)
			return 111;
		conn_free(c);
	}
	buf_free(&out);
	return 0;
}
