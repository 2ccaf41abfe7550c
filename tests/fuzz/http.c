/*
 * The first byte of the input says how the rest is cut into reads.  Property:
 * the outcome is that of one read, and what is accepted is as it should be.
 * Every read moves the bytes into a new block of just their size.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

enum stage { HEAD, CHUNKED, BAD, DONE };

struct outcome {
	enum stage stage;
	int status;
	size_t used;		/* by all that was read, data included */
	size_t ndata;
	uint64_t data;		/* hash of the body's bytes */
	uint64_t head;		/* hash of what the head was said to be */
};

static void
hash(uint64_t *h, const void *data, size_t n)
{
	const unsigned char *p = data;
	size_t i;

	for (i = 0; i < n; i++)
		*h = (*h ^ p[i]) * 0x100000001b3;
}

static void
hash_span(uint64_t *h, struct span s)
{
	hash(h, &s.n, sizeof(s.n));
	hash(h, s.p, s.n);
}

static void
check(bool ok)
{
	if (!ok)
		abort();
}

/* A span found lies in the head, and holds no byte that ends a line. */
static void
check_span(struct span head, struct span s)
{
	size_t i;

	check(s.p >= head.p && s.p + s.n <= head.p + head.n);
	for (i = 0; i < s.n; i++)
		check((unsigned char)s.p[i] >= ' ' || s.p[i] == '\t');
}

static void
take_head(struct outcome *o, struct span head, const struct http_request *req)
{
	const struct http_header *h;
	size_t i;

	check(head.n >= 16 && memcmp(head.p + head.n - 4, "\r\n\r\n", 4) == 0);
	check(!(req->chunked && req->has_length));
	check(req->minor == 0 || req->host.n > 0);
	check(req->minor == 1 || !req->chunked);
	check_span(head, req->method);
	check_span(head, req->target);
	hash_span(&o->head, req->method);
	hash_span(&o->head, req->target);
	for (i = 0; i < req->nheaders; i++) {
		h = &req->headers[i];
		check(h->name.n > 0 && h->name.p[h->name.n] == ':');
		check_span(head, h->name);
		check_span(head, h->value);
		hash_span(&o->head, h->name);
		hash_span(&o->head, h->value);
	}
	hash(&o->head, &req->content_length, sizeof(req->content_length));
	hash(&o->head, &req->keep_alive, sizeof(req->keep_alive));
	hash(&o->head, &req->expect_continue, sizeof(req->expect_continue));
	o->used = head.n;
	o->stage = req->chunked ? CHUNKED : DONE;
}

static void
take_body(struct outcome *o, struct http_chunked *body, struct span in)
{
	enum http_chunked_result result;
	struct span data;
	size_t used;

	do {
		result = http_chunked_decode(body, in, &used, &data);
		check(used <= in.n);
		if (result == HTTP_CHUNKED_DATA) {
			check(data.n > 0);
			check_span((struct span){ in.p, used },
			    (struct span){ data.p, 0 });
			hash(&o->data, data.p, data.n);
			o->ndata += data.n;
		}
		in.p += used;
		in.n -= used;
		o->used += used;
	} while (result == HTTP_CHUNKED_DATA);
	check(result != HTTP_CHUNKED_MORE || in.n == 0);
	if (result == HTTP_CHUNKED_DONE)
		o->stage = DONE;
	if (result == HTTP_CHUNKED_BAD)
		o->stage = BAD;
}

/* cut seeds the lengths of the reads; 0: everything at once. */
static struct outcome
run(struct span input, unsigned int cut)
{
	struct outcome o = { 0 };
	struct http_request *req = malloc(sizeof(*req));
	struct http_chunked body = { 0 };
	struct http_scan scan = { 0 };
	size_t end = 0;
	struct span in;
	ssize_t n;
	char *block;

	check(req != NULL);
	while (end < input.n && o.stage < BAD) {
		cut = cut * 1103515245 + 12345 * (cut != 0);
		end = cut == 0 ? input.n : end + 1 + (cut >> 16) % 7;
		if (end > input.n)
			end = input.n;
		in = (struct span){ NULL, end - o.used };
		in.p = block = malloc(in.n > 0 ? in.n : 1);
		check(block != NULL);
		if (in.n > 0)
			memcpy(block, input.p + o.used, in.n);
		if (o.stage == HEAD) {
			n = http_parse_head(&scan, in, req, &o.status);
			check(n <= (ssize_t)in.n);
			if (n == -1)
				o.stage = BAD;
			if (n > 0) {
				in.n = (size_t)n;
				take_head(&o, in, req);
				in = (struct span){ in.p + n, end - o.used };
			}
		}
		if (o.stage == CHUNKED)
			take_body(&o, &body, in);
		free(block);
	}
	free(req);
	return o;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span input = { (const char *)data + 1, len - 1 };
	struct outcome whole, pieces;

	if (len == 0)
		return 0;
	whole = run(input, 0);
	pieces = run(input, data[0] + 1u);
	check(whole.stage == pieces.stage && whole.status == pieces.status);
	check(whole.head == pieces.head && whole.data == pieces.data);
	check(whole.ndata == pieces.ndata && whole.used == pieces.used);
	return 0;
}
