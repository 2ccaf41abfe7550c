#include <errno.h>
#include <poll.h>
#include <time.h>

#include "clock.h"
#include "requester.h"
#include "watch.h"

static enum request_end
collect(const struct requester *rq, const char *id, struct record *r,
    struct buf *file)
{
	size_t max = record_size_max(rq->body_max);

	if (queue_collect(rq->q, id, max, file) == -1)
		return errno == ENOENT || errno == EAGAIN ?
		    REQUEST_NO_ANSWER : REQUEST_MALFORMED;
	return record_parse(r, buf_span(file), rq->body_max) ==
	    RECORD_RESPONSE ? REQUEST_ANSWERED : REQUEST_MALFORMED;
}

static bool
is_there(const struct requester *rq, const char *id)
{
	return queue_has(rq->q, QUEUE_REQUESTS, id) ||
	    queue_has(rq->q, QUEUE_CLAIMED, id) ||
	    queue_has(rq->q, QUEUE_RESPONSES, id);
}

static enum request_end
give_up(const struct requester *rq, const char *id, struct record *r,
    struct buf *file)
{
	enum request_end end;

	if (rq->keep)
		return is_there(rq, id) ? REQUEST_NO_ANSWER : REQUEST_UNKNOWN;
	if (queue_give_up(rq->q, id) == QUEUE_WITHDRAWN)
		return REQUEST_NOT_STARTED;
	end = collect(rq, id, r, file);
	return end == REQUEST_NO_ANSWER ? REQUEST_CLAIMED : end;
}

/* Until something may have come; what, does not matter here. */
static void
wait_change(struct watch *w, int64_t deadline, const sigset_t *unblocked)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	int64_t look = clock_mono_ms() + watch_interval(w);
	struct watch_event e;
	struct timespec ts;
	int ms;

	ms = clock_poll_timeout(deadline != -1 && deadline < look ?
	    deadline : look);
	ts = (struct timespec){ ms / 1000, ms % 1000 * 1000000L };
	if (ppoll(&p, 1, &ts, unblocked) == 0)
		watch_looked(w, false);
	while (watch_next(w, &e))
		continue;
}

enum request_end
requester_wait(const struct requester *rq, const char *id, int64_t deadline,
    volatile sig_atomic_t *stop, const sigset_t *unblocked, struct record *r,
    struct buf *file)
{
	enum request_end end;
	struct watch w;

	watch_open(&w, rq->poll_ms);
	watch_folder(&w, rq->q, QUEUE_RESPONSES, WATCH_FOR_ARRIVED);
	for (;;) {
		end = collect(rq, id, r, file);
		if (end != REQUEST_NO_ANSWER)
			break;
		if (*stop || (deadline != -1 && clock_mono_ms() >= deadline) ||
		    (rq->keep && !is_there(rq, id))) {
			end = give_up(rq, id, r, file);
			break;
		}
		wait_change(&w, deadline, unblocked);
	}
	watch_close(&w);
	return end;
}
