#include <strings.h>

#include <nettle/memops.h>

#include "admission.h"

bool
admission_of_token(const struct http_request *req,
    const struct gateway_options *o)
{
	static const char scheme[] = "Bearer ";
	const struct http_header *h;
	size_t n = strlen(o->token), skip = sizeof(scheme) - 1;

	h = http_header_next(req, "authorization", NULL);
	if (h == NULL || http_header_next(req, "authorization", h) != NULL)
		return false;
	return h->value.n == skip + n &&
	    memcmp(h->value.p, scheme, skip) == 0 &&
	    memeql_sec(h->value.p + skip, o->token, n);
}

static bool
contains(struct span text, const char *word)
{
	size_t n = strlen(word), i;

	for (i = 0; i + n <= text.n; i++)
		if (strncasecmp(text.p + i, word, n) == 0)
			return true;
	return false;
}

bool
admission_of_type(const struct http_request *req,
    const struct gateway_options *o)
{
	struct span type = http_header_get(req, "content-type");
	size_t i;

	if (type.p == NULL)
		return false;
	if (contains(type, "json"))
		return true;
	for (i = 0; i < o->naccept; i++) {
		size_t n = strlen(o->accept[i]);

		if (type.n >= n && strncasecmp(type.p, o->accept[i], n) == 0
		    && (type.n == n || type.p[n] == ';' || type.p[n] == ' '))
			return true;
	}
	return false;
}

bool
admission_of_host(const struct http_request *req,
    const struct gateway_options *o)
{
	struct span host = req->host;
	size_t i;

	for (i = 0; i < o->nhost; i++) {
		size_t n = strlen(o->host[i]);

		if (host.p != NULL && host.n >= n &&
		    strncasecmp(host.p, o->host[i], n) == 0 &&
		    (host.n == n || host.p[n] == ':'))
			return true;
	}
	return o->nhost == 0;
}

void
admission_take_headers(const struct http_request *req, struct buf *joined,
    struct record *r)
{
	const struct http_header *h, *more;
	struct span value;
	size_t i, from;

	r->nheaders = 0;
	buf_reset(joined, 4 * HTTP_HEAD_MAX);
	/* Never longer than the head with its separators: spans stay put. */
	if (buf_reserve(joined, 2 * HTTP_HEAD_MAX) == NULL)
		return;
	for (i = 0; i < REQUEST_HEADERS_COUNT; i++) {
		h = http_header_next(req, request_headers[i], NULL);
		if (h == NULL || !request_header_is_carried(
		    span_of(request_headers[i]), r->path))
			continue;
		value = h->value;
		more = http_header_next(req, request_headers[i], h);
		if (more != NULL) {
			from = joined->len;
			buf_add_span(joined, value);
			for (; more != NULL; more = http_header_next(req,
			    request_headers[i], more)) {
				buf_add_str(joined, ", ");
				buf_add_span(joined, more->value);
			}
			value = (struct span){ joined->data + from,
			    joined->len - from };
		}
		if (utf8_is_valid(value))
			r->headers[r->nheaders++] = (struct record_header){
			    span_of(request_headers[i]), value };
	}
}
