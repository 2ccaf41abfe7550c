#include "outbound.h"
#include "target.h"

#define KEEP 65536	/* bytes of each buffer kept for the next request */

/* Headers of a request that are ours to say, or nobody's. */
static const char *const not_sent[] = {
	"accept-encoding", "authorization", "content-length", "cookie",
	"expect", "host", "x-paperclip-run-id", NULL
};

/*
 * Headers of an answer that are no longer true: the body has been decoded,
 * and what was repeated is joined by commas.
 */
static const char *const not_returned[] = {
	"content-encoding", "content-length", "set-cookie", NULL
};

static bool
is_one_of(struct span name, const char *const *list)
{
	for (; *list != NULL; list++)
		if (header_name_is(name, *list))
			return true;
	return false;
}

bool
outbound_may_return(struct span name)
{
	return header_name_is_valid(name) && !header_is_hop_by_hop(name) &&
	    !is_one_of(name, not_returned);
}

static void
put_string(struct buf *text, struct span s)
{
	buf_add_span(text, s);
	buf_add_char(text, '\0');
}

static void
put_header(struct buf *text, const struct record_header *h)
{
	struct span value = h->value;

	if (!header_name_is_valid(h->name) || !header_value_is_valid(value) ||
	    header_is_hop_by_hop(h->name) || is_one_of(h->name, not_sent))
		return;
	while (value.n > 0 && (*value.p == ' ' || *value.p == '\t'))
		value = (struct span){ value.p + 1, value.n - 1 };
	buf_add_span(text, h->name);
	buf_add_str(text, value.n > 0 ? ": " : ";");
	put_string(text, value);
}

/* Whether a request without a body says so (RFC 9110 8.6). */
static bool
expects_content(struct span method)
{
	return span_is(method, "POST") || span_is(method, "PUT") ||
	    span_is(method, "PATCH");
}

const char *
outbound_make(struct outbound *o, const struct record *r, struct span prefix)
{
	const char *fault = target_check_path(r->path);
	size_t i;

	if (fault == NULL)
		fault = target_check_query(r->query);
	if (fault != NULL)
		return fault;
	buf_reset(&o->text, KEEP);
	buf_reset(&o->body, KEEP);
	put_string(&o->text, r->method);
	buf_add_span(&o->text, prefix);
	buf_add_span(&o->text, r->path);
	put_string(&o->text, r->query);
	for (i = 0; i < r->nheaders; i++)
		put_header(&o->text, &r->headers[i]);
	if (!span_is(r->method, "GET") && !span_is(r->method, "HEAD"))
		record_body_decode(r, &o->body);
	o->safe = method_is_safe(r->method);
	o->has_content = o->body.len > 0 || expects_content(r->method);
	return NULL;
}

void
outbound_free(struct outbound *o)
{
	buf_free(&o->text);
	buf_free(&o->body);
}

const char *
outbound_method(const struct outbound *o)
{
	return o->text.data;
}

char *
outbound_target(const struct outbound *o)
{
	return o->text.data + strlen(o->text.data) + 1;
}

char *
outbound_next(const struct outbound *o, char *string)
{
	char *next = string + strlen(string) + 1;

	return next < o->text.data + o->text.len ? next : NULL;
}
