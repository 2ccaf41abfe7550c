/*
 * depth.h - how many requests are pending or claimed, without counting them
 * for every new one: events keep the count, and a look sets it right.
 */
#ifndef DEPTH_H
#define DEPTH_H

#include "sweep.h"
#include "watch.h"

struct depth {
	struct watch watch;	/* its fd polls readable after a change */
	struct queue *q;	/* private, as what follows */
	size_t body_max;
	int64_t poll_ms;
	int64_t count, looked_at;
};

void depth_open(struct depth *d, struct queue *q, size_t body_max,
    int64_t poll_ms);
void depth_close(struct depth *d);

/*
 * Whether max is reached.  Before it says so it sweeps (but not more often
 * than once a second), and counts what is left.
 */
bool depth_is_full(struct depth *d, int64_t max);

/* Sweeps now.  Returns whether anything is left in the queue at all. */
bool depth_sweep(struct depth *d);

#endif
