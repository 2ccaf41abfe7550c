#include <string.h>

#include "api_answer.h"
#include "json.h"

#define SIZE_MAX_ANSWERED	(UINT64_C(64) << 20)
#define DELAY_MAX		UINT64_C(3600000)
#define CHUNK			7	/* odd, so that it cuts characters */

struct action {
	const char *name;
	const char *parameter;	/* of the query; NULL: takes none */
	void (*make)(struct api_answer *a, const struct api_request *r,
	    uint64_t value);
};

void
api_request_parse(struct api_request *r)
{
	struct span head = { r->in.p, r->message->head }, line;

	message_next_line(&head, &line);
	r->method = message_cut(&line, ' ');
	r->target = message_cut(&line, ' ');
	r->query = r->target;
	r->path = message_cut(&r->query, '?');
	if (r->path.n < r->target.n) {
		r->query.p--;
		r->query.n++;
	}
}

/* "key":"text", or "keyBytes":N where the bytes are no text. */
static void
put_text(struct buf *out, const char *key, struct span text)
{
	struct buf name = { 0 };

	if (utf8_is_valid(text)) {
		json_put_key(out, key);
		json_put_string(out, text);
		return;
	}
	buf_add_str(&name, key);
	buf_add(&name, "Bytes", sizeof("Bytes"));
	json_put_key(out, name.data);
	buf_add_int(out, (int64_t)text.n);
	buf_free(&name);
}

static void
put_header(struct buf *out, const char *key, const struct api_request *r,
    const char *header)
{
	struct span value = message_header(r->message, r->in, header);

	if (value.p != NULL) {
		put_text(out, key, value);
	} else {
		json_put_key(out, key);
		buf_add_str(out, "null");
	}
}

static void
make_echo(struct api_answer *a, const struct api_request *r)
{
	struct buf *out = &a->body;

	a->status = 200;
	a->type = "application/json";
	buf_add_char(out, '{');
	put_text(out, "method", r->method);
	put_text(out, "path", r->path);
	put_text(out, "query", r->query);
	put_text(out, "body", message_body(r->message, r->in));
	put_header(out, "authorization", r, "authorization");
	put_header(out, "runId", r, "x-paperclip-run-id");
	json_put_key(out, "n");
	buf_add_int(out, (int64_t)r->number);
	buf_add_str(out, "}\n");
}

static void
make_status(struct api_answer *a, const struct api_request *r, uint64_t value)
{
	make_echo(a, r);
	a->status = value >= 200 && value <= 599 ? (int)value : 500;
}

static void
make_delay(struct api_answer *a, const struct api_request *r, uint64_t value)
{
	make_echo(a, r);
	a->delay = (int64_t)(value < DELAY_MAX ? value : DELAY_MAX);
}

static void
make_size(struct api_answer *a, const struct api_request *r, uint64_t value)
{
	size_t n = value < SIZE_MAX_ANSWERED ? value : SIZE_MAX_ANSWERED;
	char *to = buf_reserve(&a->body, n);

	(void)r;
	a->status = 200;
	a->type = "text/plain";
	if (to == NULL)
		return;
	memset(to, 'x', n);
	a->body.len = n;
}

static void
make_binary(struct api_answer *a, const struct api_request *r, uint64_t value)
{
	int i;

	(void)r;
	(void)value;
	a->status = 200;
	a->type = "application/octet-stream";
	for (i = 0; i < 256; i++)
		buf_add_char(&a->body, (char)i);
}

static void
make_headers(struct api_answer *a, const struct api_request *r, uint64_t value)
{
	struct span head = { r->in.p, r->message->head }, line, name, text;
	struct buf key = { 0 };

	(void)value;
	a->status = 200;
	a->type = "application/json";
	buf_add_char(&a->body, '{');
	message_next_line(&head, &line);
	while (message_next_header(&head, &name, &text)) {
		buf_reset(&key, 256);
		buf_add_span(&key, name);
		buf_add_char(&key, '\0');
		put_text(&a->body, key.data, text);
	}
	buf_add_str(&a->body, "}\n");
	buf_free(&key);
}

static void
make_redirect(struct api_answer *a, const struct api_request *r,
    uint64_t value)
{
	(void)value;
	make_echo(a, r);
	a->status = 302;
	buf_add_str(&a->headers, "location: /elsewhere\r\n");
}

static void
make_cookie(struct api_answer *a, const struct api_request *r, uint64_t value)
{
	(void)value;
	make_echo(a, r);
	buf_add_str(&a->headers, "set-cookie: a=b\r\n");
}

static void
make_chunked(struct api_answer *a, const struct api_request *r,
    uint64_t value)
{
	(void)value;
	make_echo(a, r);
	a->manner = API_CHUNKED;
}

static void
make_until_close(struct api_answer *a, const struct api_request *r,
    uint64_t value)
{
	(void)value;
	make_echo(a, r);
	a->manner = API_UNTIL_CLOSE;
}

static void
make_partial(struct api_answer *a, const struct api_request *r,
    uint64_t value)
{
	(void)value;
	make_echo(a, r);
	a->manner = API_PARTIAL;
}

static void
make_close(struct api_answer *a, const struct api_request *r, uint64_t value)
{
	(void)r;
	(void)value;
	a->manner = API_CLOSE;
}

static void
make_close_keepalive(struct api_answer *a, const struct api_request *r,
    uint64_t value)
{
	(void)value;
	if (r->earlier > 0)
		a->manner = API_CLOSE;
	else
		make_echo(a, r);
}

static void
make_reset(struct api_answer *a, const struct api_request *r, uint64_t value)
{
	(void)r;
	(void)value;
	a->manner = API_RESET;
}

static void
make_hang(struct api_answer *a, const struct api_request *r, uint64_t value)
{
	(void)r;
	(void)value;
	a->manner = API_HANG;
}

static const struct action actions[] = {
	{ "binary", NULL, make_binary },
	{ "chunked", NULL, make_chunked },
	{ "close", NULL, make_close },
	{ "close-keepalive", NULL, make_close_keepalive },
	{ "cookie", NULL, make_cookie },
	{ "delay", "ms", make_delay },
	{ "hang", NULL, make_hang },
	{ "headers", NULL, make_headers },
	{ "partial", NULL, make_partial },
	{ "redirect", NULL, make_redirect },
	{ "reset", NULL, make_reset },
	{ "size", "n", make_size },
	{ "status", "code", make_status },
	{ "until-close", NULL, make_until_close }
};

static const struct action *
find_action(struct span name)
{
	size_t i;

	for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (span_is(name, actions[i].name))
			return &actions[i];
	return NULL;
}

/* The value of a query's parameter, as written; of NULL if there is none. */
static struct span
parameter(struct span query, const char *name)
{
	struct span pair;

	message_cut(&query, '?');
	while (query.n > 0) {
		pair = message_cut(&query, '&');
		if (span_is(message_cut(&pair, '='), name))
			return pair;
	}
	return (struct span){ NULL, 0 };
}

/* Decimal digits as far as they go. */
static uint64_t
number_of(struct span s)
{
	uint64_t value = 0;

	for (; s.n > 0 && *s.p >= '0' && *s.p <= '9' && value < UINT32_MAX;
	    s.p++, s.n--)
		value = value * 10 + (uint64_t)(*s.p - '0');
	return value;
}

void
api_answer_make(struct api_answer *a, const struct api_request *r)
{
	struct span name = parameter(r->query, "do"), value = { NULL, 0 };
	const struct action *action = find_action(name);

	if (action != NULL) {
		if (action->parameter != NULL)
			value = parameter(r->query, action->parameter);
	} else {
		value = r->path;
		message_cut(&value, '/');
		name = message_cut(&value, '/');
		action = find_action(name);
	}
	if (action != NULL)
		action->make(a, r, number_of(value));
	else
		make_echo(a, r);
}

static const char *
reason_of(int status)
{
	switch (status) {
	case 200: return "OK";
	case 201: return "Created";
	case 204: return "No Content";
	case 302: return "Found";
	case 304: return "Not Modified";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 409: return "Conflict";
	case 429: return "Too Many Requests";
	case 500: return "Internal Server Error";
	case 503: return "Service Unavailable";
	default: return "Status";
	}
}

static void
put_chunks(struct buf *out, struct span body)
{
	size_t n;

	while (body.n > 0) {
		n = body.n < CHUNK ? body.n : CHUNK;
		buf_add_int(out, (int64_t)n);	/* below 10: also hexadecimal */
		buf_add_str(out, "\r\n");
		buf_add(out, body.p, n);
		buf_add_str(out, "\r\n");
		body = (struct span){ body.p + n, body.n - n };
	}
	buf_add_str(out, "0\r\n\r\n");
}

void
api_answer_put(struct buf *out, const struct api_answer *a,
    const struct api_request *r)
{
	bool bodiless = a->status == 204 || a->status == 304;
	struct span body = buf_span(&a->body);

	buf_add_str(out, "HTTP/1.1 ");
	buf_add_int(out, a->status);
	buf_add_char(out, ' ');
	buf_add_str(out, reason_of(a->status));
	buf_add_str(out, "\r\ncontent-type: ");
	buf_add_str(out, a->type);
	buf_add_str(out, "\r\n");
	buf_add_span(out, buf_span(&a->headers));
	if (a->manner == API_CHUNKED) {
		buf_add_str(out, "transfer-encoding: chunked\r\n");
	} else if (a->manner != API_UNTIL_CLOSE && !bodiless) {
		buf_add_str(out, "content-length: ");
		buf_add_int(out, (int64_t)body.n);
		buf_add_str(out, "\r\n");
	}
	if (r == NULL || !r->message->keep_alive)
		buf_add_str(out, "connection: close\r\n");
	buf_add_str(out, "\r\n");
	if (bodiless || (r != NULL && span_is(r->method, "HEAD")))
		return;
	if (a->manner == API_PARTIAL)
		body.n /= 2;
	if (a->manner == API_CHUNKED)
		put_chunks(out, body);
	else
		buf_add_span(out, body);
}

void
api_answer_free(struct api_answer *a)
{
	buf_free(&a->headers);
	buf_free(&a->body);
}
