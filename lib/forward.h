/*
 * forward.h - carries requests to one API (libcurl is used here only).
 *
 * Why nothing is sent twice: libcurl says when it is about to send a request
 * (CURLOPT_PREREQFUNCTION), and may do so once for each time it is told to.
 * It would do it again by itself when a kept-alive connection turns out to
 * be dead; that is refused.  A request with a safe method is then told once
 * more, on a fresh connection; any other has a connection of its own from the
 * start, so that it does not meet a dead one.  By the same token a request of
 * which libcurl never said so has not been sent, not one byte of it.
 *
 * Why nothing goes elsewhere: the URL that libcurl is given is the base, for
 * ever; only the request target changes, and libcurl does not look into it.
 */
#ifndef FORWARD_H
#define FORWARD_H

#include <stdint.h>

#include "interest.h"
#include "outbound.h"

#define FORWARD_HEAD_MAX	32000	/* bytes of an answer's header block */

struct forward_options {
	const char *url;	/* as in apiurl.h */
	const char *token;
	const char *run_id;	/* or NULL */
	const char *ca_file;	/* trusted instead of the system's, or NULL */
	const char *const *keep;	/* more response headers, lower case */
	size_t nkeep;
	size_t in_flight_max;
	size_t body_max;	/* of an answer */
};

enum forward_result {
	FORWARD_ANSWERED,
	FORWARD_UNREACHED,	/* no connection */
	FORWARD_LOST,		/* a connection, but no valid answer */
	FORWARD_LATE,		/* the deadline has passed */
	FORWARD_TOO_LARGE,	/* the answer's body is over the limit */
	FORWARD_STOPPED		/* forward_stop() */
};

/* One request.  Zero it before the first use, then use it for many. */
struct forward_call {
	struct outbound request;	/* set by forward_prepare() */
	int64_t deadline;	/* set by the user; monotonic ms, -1: none */
	/* The outcome. */
	enum forward_result result;
	bool sent;		/* a byte of it may have been sent */
	int status;		/* 200..599, when answered */
	struct buf answer;	/* the answer's body */
	const char *reason;	/* what went wrong, a static phrase, or NULL */
	const char *detail;	/* the same for the log, until the next one */
	unsigned int times;	/* private: told to libcurl */
};

struct forward;

/*
 * Sockets are added to the user's interest.  What the options point to must
 * outlive it.  NULL: it cannot start, for want of memory or because libcurl
 * does not take the URL (which apiurl_parse() must have taken).
 */
struct forward *forward_open(const struct forward_options *o,
    struct interest *i);
void forward_close(struct forward *f);

/* As outbound_make(), with the base's path before that of the request. */
const char *forward_prepare(const struct forward *f, struct forward_call *c,
    const struct record *r);
void forward_call_free(struct forward_call *c);

/*
 * Begins; at most in_flight_max at once.  c is in use until it comes out of
 * forward_next().  0, or -1 if it cannot begin (for want of memory).
 */
int forward_begin(struct forward *f, struct forward_call *c);

/*
 * When there is something to do here, monotonic ms: 0 when something is at
 * its end; -1 when not before something comes.
 */
int64_t forward_due(const struct forward *f);

/* Does what is due: first of all, sends what was begun. */
void forward_tick(struct forward *f);

/* A descriptor that is not one of the user's own has these events. */
void forward_ready(struct forward *f, int fd, uint32_t events);

/*
 * A request that has come to its end, or NULL.  For an answer the kept
 * headers are put into r; they hold until the next call of this.
 */
struct forward_call *forward_next(struct forward *f, struct record *r);

/* Breaks off one of those in flight, with FORWARD_STOPPED; NULL: none left. */
struct forward_call *forward_stop(struct forward *f);

#endif
