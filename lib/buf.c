#include <stdlib.h>
#include <string.h>

#include "buf.h"

char *
buf_reserve(struct buf *b, size_t extra)
{
	size_t cap = b->cap ? b->cap : 256;
	char *data;

	if (extra > SIZE_MAX / 4 - b->len)
		b->failed = true;
	if (buf_failed(b))
		return NULL;
	if (b->data != NULL && b->cap - b->len >= extra)
		return b->data + b->len;
	while (cap - b->len < extra)
		cap *= 2;
	data = realloc(b->data, cap);
	if (data == NULL) {
		b->failed = true;
		return NULL;
	}
	b->data = data;
	b->cap = cap;
	return b->data + b->len;
}

void
buf_add(struct buf *b, const void *data, size_t len)
{
	char *to;

	if (len == 0 || (to = buf_reserve(b, len)) == NULL)
		return;
	memcpy(to, data, len);
	b->len += len;
}

void
buf_add_span(struct buf *b, struct span s)
{
	buf_add(b, s.p, s.n);
}

void
buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void
buf_add_int(struct buf *b, int64_t value)
{
	char digits[24];
	size_t at = sizeof(digits);
	uint64_t u = value < 0 ? -(uint64_t)value : (uint64_t)value;

	do {
		digits[--at] = (char)('0' + u % 10);
		u /= 10;
	} while (u > 0);
	if (value < 0)
		digits[--at] = '-';
	buf_add(b, digits + at, sizeof(digits) - at);
}

int
buf_set(struct buf *b, struct span s)
{
	b->len = 0;
	b->failed = false;
	buf_add_span(b, s);
	return buf_failed(b) ? -1 : 0;
}

void
buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	if (n > 0) {
		memmove(b->data, b->data + n, b->len - n);
		b->len -= n;
	}
}

void
buf_reset(struct buf *b, size_t keep)
{
	if (b->cap > keep)
		buf_free(b);
	b->len = 0;
	b->failed = false;
}

void
buf_free(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}
