/* answer.h - HTTP/1.1 response messages. */
#ifndef ANSWER_H
#define ANSWER_H

#include "record.h"

enum {
	ANSWER_KEEP_ALIVE = 1,	/* the connection stays open */
	ANSWER_HTTP_1_0 = 2,	/* the client must be told that it does */
	ANSWER_HEAD = 4		/* to a HEAD request: no body */
};

/*
 * Appends a whole message for a response record: without its content-length
 * and date, hop-by-hop headers (RFC 9110 7.6.1) and headers that are not valid
 * HTTP; without a body for HEAD, 204 and 304.
 */
void answer_put(struct buf *out, const struct record *r, int flags);

/* One of our own: {"error":message}; outcome may be NULL. */
void answer_put_error(struct buf *out, int status, const char *message,
    const char *outcome, int flags);

#endif
