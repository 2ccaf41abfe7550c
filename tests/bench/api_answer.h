/*
 * api_answer.h - what the test API answers to a request.
 *
 * Any request is answered 200 with a JSON object that tells what arrived.
 * A query with do=NAME asks for something else, and so does the path /NAME
 * or /NAME/VALUE:
 *
 *	do=status&code=N	status N, 200 to 599
 *	do=delay&ms=N		the same, N ms late
 *	do=size&n=N		N bytes of text
 *	do=binary		the 256 bytes 0 to 255
 *	do=headers		the request's headers, as a JSON object
 *	do=redirect		302 to /elsewhere
 *	do=cookie		with a Set-Cookie
 *	do=chunked		in chunks of 7 bytes
 *	do=until-close		without a length, up to the end of connection
 *	do=partial		half of what its length says, then closed
 *	do=close		no answer, closed
 *	do=close-keepalive	closed if the connection served a request before
 *	do=reset		no answer, reset
 *	do=hang			no answer, left open
 */
#ifndef API_ANSWER_H
#define API_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "message.h"

struct api_request {
	const struct message *message;
	struct span in;			/* as read into message */
	struct span method, target;	/* set by api_request_parse */
	struct span path, query;	/* query with its '?', or empty */
	uint64_t number;		/* of all requests, from 1 */
	uint64_t earlier;		/* requests of this connection */
};

enum api_manner {
	API_SEND, API_CHUNKED, API_UNTIL_CLOSE, API_PARTIAL,
	API_CLOSE, API_RESET, API_HANG
};

/* Zeroed before api_answer_make; api_answer_free frees the buffers. */
struct api_answer {
	enum api_manner manner;
	int status;
	int64_t delay;			/* ms */
	const char *type;
	struct buf headers;		/* lines, besides type and framing */
	struct buf body;
};

void api_request_parse(struct api_request *r);
void api_answer_make(struct api_answer *a, const struct api_request *r);

/* The answer's bytes: of a 400 to what is no request where r is NULL. */
void api_answer_put(struct buf *out, const struct api_answer *a,
    const struct api_request *r);
void api_answer_free(struct api_answer *a);

#endif
