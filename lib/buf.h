/*
 * buf.h - a growing byte string.
 *
 * Appending never reports an error by itself: the first allocation that
 * fails marks the buffer, later appends do nothing, and the user asks once,
 * at the end, with buf_failed(), which sets errno.  A zeroed struct is an
 * empty buffer.
 */
#ifndef BUF_H
#define BUF_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"

struct buf {
	char *data;
	size_t len, cap;
	bool failed;
};

/* Room for extra more bytes; where they go, or NULL: marked, and errno. */
char *buf_reserve(struct buf *b, size_t extra);

void buf_add(struct buf *b, const void *data, size_t len);
void buf_add_span(struct buf *b, struct span s);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_add_int(struct buf *b, int64_t value);	/* in decimal */

/* It holds s, which is not of its own, and nothing else.  0, or -1: ENOMEM. */
int buf_set(struct buf *b, struct span s);

/* Drops the first n bytes (at most all); what is left moves to the front. */
void buf_consume(struct buf *b, size_t n);

/* Empty again and unmarked; memory over keep bytes is given back. */
void buf_reset(struct buf *b, size_t keep);
void buf_free(struct buf *b);

/* Whether something is missing: errno is ENOMEM then. */
static inline bool
buf_failed(const struct buf *b)
{
	if (b->failed)
		errno = ENOMEM;
	return b->failed;
}

static inline struct span
buf_span(const struct buf *b)
{
	return (struct span){ b->data, b->len };
}

#endif
