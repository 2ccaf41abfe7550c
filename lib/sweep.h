/*
 * sweep.h - what is in a queue, and removing what nobody waits for any more.
 *
 * A request's age is its mtime's, which a rename keeps; its deadline is its
 * timeoutMs, or RECORD_TIMEOUT_DEFAULT.  Before deadline + QUEUE_GRACE_MS only
 * its requester may withdraw it.  A response goes after its expiresAt, or when
 * it is as old as a request without timeoutMs may become.
 */
#ifndef SWEEP_H
#define SWEEP_H

#include "queue.h"

struct sweep {
	size_t pending, claimed, answered;	/* that are left */
	size_t removed;				/* temporaries included */
	int64_t oldest_ms;	/* age of the oldest pending or claimed; -1 */
};

/*
 * Walks the queue once; removes what has expired unless look_only.  Reads
 * only entries that are old enough to matter.  body_max as for records.
 */
int sweep_run(struct queue *q, size_t body_max, bool look_only,
    struct sweep *out);

/* The deadline of a request's text: ms after its mtime. */
int64_t sweep_request_timeout(struct span text, size_t body_max);

#endif
