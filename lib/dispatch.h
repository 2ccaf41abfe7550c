/*
 * dispatch.h - requests become answers, each once.
 *
 * A request is on its way, waits for its turn, or has been answered; which of
 * these, is known by its id.  Every one is answered, with what is true of it.
 */
#ifndef DISPATCH_H
#define DISPATCH_H

#include "forward.h"
#include "seen.h"

#define DISPATCH_TIMEOUT_MS	30000	/* default of an API call */
#define DISPATCH_MARGIN_MS	2000	/* for the answer's way back */
#define DISPATCH_IN_FLIGHT	16	/* default */
#define DISPATCH_IN_FLIGHT_MAX	1024

struct dispatch_options {
	struct forward_options api;
	int64_t timeout_ms;	/* 0: none but what the request says */
	/* One line about something that went wrong. */
	void (*warn)(const char *object, const char *reason);
};

struct dispatch {
	const struct dispatch_options *o;
	struct buf *out;	/* answer lines are appended here */
	size_t in_flight, waiting;
	/* Private, what follows. */
	struct forward *api;
	struct seen_table seen;
	struct record record;		/* of an answer */
	struct buf line;
	struct call *first, **end;	/* waiting */
	struct call *spare;
	size_t waiting_bytes, nspare;
	int64_t waiting_until;	/* no deadline of those is before; -1: none */
	bool stopped;
	bool failing;		/* the API; said once */
};

/* 0, or -1 with errno. */
int dispatch_open(struct dispatch *d, const struct dispatch_options *o,
    struct interest *i, struct buf *out);
void dispatch_close(struct dispatch *d);

/* False: requests should wait where they are. */
bool dispatch_has_room(const struct dispatch *d);

/*
 * Takes a request record whose line was read at read_at (monotonic ms).  Want
 * of memory marks d->out.
 */
void dispatch_take(struct dispatch *d, const struct record *request,
    int64_t read_at);

/* An event of a descriptor that the user did not add to the interest. */
void dispatch_ready(struct dispatch *d, int fd, uint32_t events);

/* A round of what can be done without waiting; hold: nothing new is sent. */
void dispatch_work(struct dispatch *d, bool hold);

/* When there is work next, whatever comes: monotonic ms, -1 for never. */
int64_t dispatch_due(const struct dispatch *d);

/* From now on nothing is sent: what waits and what comes is answered so. */
void dispatch_stop(struct dispatch *d);

/* What is in flight is broken off, and answered with what is known. */
void dispatch_break_off(struct dispatch *d);

#endif
