#include "clock.h"
#include "depth.h"

#define SWEEP_AGAIN_MS 1000

void
depth_open(struct depth *d, struct queue *q, size_t body_max, int64_t poll_ms)
{
	d->q = q;
	d->body_max = body_max;
	d->poll_ms = poll_ms;
	watch_open(&d->watch, poll_ms);
	/*
	 * A claim moves a request and changes nothing; what counts is that it
	 * came, and that it was removed from the one folder or the other.
	 */
	watch_folder(&d->watch, q, QUEUE_REQUESTS,
	    WATCH_FOR_ARRIVED | WATCH_FOR_REMOVED);
	watch_folder(&d->watch, q, QUEUE_CLAIMED, WATCH_FOR_REMOVED);
	(void)depth_sweep(d);
}

void
depth_close(struct depth *d)
{
	watch_close(&d->watch);
}

/* False when events were lost, and the count with them. */
static bool
apply_events(struct depth *d)
{
	struct watch_event e;
	bool whole = true;

	while (watch_next(&d->watch, &e)) {
		if (e.kind == WATCH_ARRIVED)
			d->count++;
		else if (e.kind == WATCH_LEFT && d->count > 0)
			d->count--;
		else if (e.kind == WATCH_LOST)
			whole = false;
	}
	return whole;
}

bool
depth_sweep(struct depth *d)
{
	struct sweep s;

	/* What happens from here on is seen by the walk or told later. */
	(void)apply_events(d);
	d->looked_at = clock_mono_ms();
	if (sweep_run(d->q, d->body_max, false, &s) == -1)
		return true;
	(void)apply_events(d);
	d->count = (int64_t)(s.pending + s.claimed);
	return s.pending + s.claimed + s.answered > 0;
}

bool
depth_is_full(struct depth *d, int64_t max)
{
	int64_t age = clock_mono_ms() - d->looked_at;

	if (!apply_events(d) || (d->watch.fd == -1 && age >= d->poll_ms))
		(void)depth_sweep(d);
	else if (d->count >= max && age >= SWEEP_AGAIN_MS)
		(void)depth_sweep(d);
	return d->count >= max;
}
