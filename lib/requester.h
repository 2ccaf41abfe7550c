/*
 * requester.h - the requester's side without HTTP: wait, collect, give up.
 */
#ifndef REQUESTER_H
#define REQUESTER_H

#include <signal.h>

#include "queue.h"
#include "record.h"

/* What is known of a request in the end. */
enum request_end {
	REQUEST_ANSWERED,	/* the response is in r */
	REQUEST_MALFORMED,	/* there was one, and it was no response */
	REQUEST_NOT_STARTED,	/* withdrawn, and nobody had claimed it */
	REQUEST_CLAIMED,	/* given up after a drain had claimed it */
	REQUEST_NO_ANSWER,	/* only waited: it stays where it is */
	REQUEST_UNKNOWN		/* only waited: there is no such request */
};

struct requester {
	struct queue *q;
	size_t body_max;	/* bytes, decoded, of the response */
	int64_t poll_ms;	/* between looks, where nothing notifies */
	bool keep;		/* do not withdraw at the deadline */
};

/*
 * Waits for the response to id until the monotonic deadline (-1: for ever) or
 * *stop.  r and file keep the response; r points into file.
 */
enum request_end requester_wait(const struct requester *rq, const char *id,
    int64_t deadline, volatile sig_atomic_t *stop, const sigset_t *unblocked,
    struct record *r, struct buf *file);

#endif
