/*
 * drain.h - from the queue's folders to lines: claiming, following, recovering.
 *
 * Why nothing is handled twice: a line is printed only for a claim that this
 * process won, and what is printed is written anew from the checked fields.
 * A claim of whose line something is missing, other than the newline, is
 * answered by the drain itself: it provably never ran.
 */
#ifndef DRAIN_H
#define DRAIN_H

#include <signal.h>

#include "epoch.h"
#include "idmap.h"
#include "lines.h"
#include "pending.h"
#include "queue.h"
#include "record.h"
#include "respond.h"
#include "watch.h"

#define DRAIN_CLAIMS_MAX	16	/* default of claims open at once */
#define DRAIN_KEEP_ALIVE_MS	10000	/* a line on stdin is due, --respond */

struct drain_options {
	size_t claims_max;	/* open at once; in a batch, printed at most */
	size_t bytes_max;	/* of a batch's output; 0: no limit */
	size_t body_max;	/* bytes, decoded, of either body */
	int64_t poll_ms;	/* between looks, where nothing notifies */
	int64_t keep_alive_ms;	/* 0: none is due */
	bool respond;		/* follow: response lines on stdin */
	bool echo;		/* an empty one is answered by one */
	bool has_epoch;
	uint64_t epoch;
	/* One line about something that was dropped or went wrong. */
	void (*warn)(const char *object, const char *reason);
};

struct drain {
	struct queue *q;
	const struct drain_options *o;
	struct epoch epoch;
	struct pending pending;
	struct buf out;		/* lines not yet written */
	uint64_t out_start;	/* stream offset of out's first byte */
	struct idmap open;	/* our claims that may still be there */
	struct record record;
	struct buf file;
	bool unread;		/* the last one's file could not be read */
	int claim_error;	/* errno that claiming last failed with */
	int lock;		/* shared while following; -1: none held */
};

void drain_start(struct drain *d, struct queue *q,
    const struct drain_options *o);
void drain_free(struct drain *d);

/* Puts all that is pending now on the list.  0, or -1 with errno. */
int drain_scan(struct drain *d);

enum drain_result {
	DRAIN_TOOK,		/* claimed; its line is in d->out */
	DRAIN_SKIPPED,		/* gone, expired, or another was faster */
	DRAIN_FULL,		/* over bytes_max: still pending */
	DRAIN_FAILED		/* errno: the queue does not let us claim */
};

/* Claims one request: a request line, or the response line that refuses it. */
enum drain_result drain_take(struct drain *d, const char *id);

/* The line of a pending request, without claiming it. */
enum drain_result drain_peek(struct drain *d, const char *id);

/*
 * Claims from the list what the limits allow: how many, or -1 with errno
 * (ESTALE: a newer drain is there).
 */
ssize_t drain_take_all(struct drain *d);

/*
 * Takes over what is claimed and unanswered, except the ids in the map: safe
 * requests become request lines again, others response lines 504.  0, or -1
 * with errno.
 */
int drain_recover(struct drain *d, const struct idmap *except);

/*
 * Claims what is pending and answers 503; unsafe ones that were claimed, 504.
 * 0, or -1 with errno when that is not all of them: out has the others.
 */
int drain_fail(struct drain *d, const char *message);

/* n more bytes of out have been written. */
void drain_wrote(struct drain *d, size_t n);

/*
 * Answers every claim whose line was not written whole: it never ran.  One
 * that lacks only its newline may have: it is left for who recovers.
 */
void drain_answer_unprinted(struct drain *d, const char *message);

/* The claim of this id has gone. */
void drain_forget(struct drain *d, const char *id);

enum follow_result {
	FOLLOW_ENDED,		/* the far side closed, or *stop was set */
	FOLLOW_SUPERSEDED,	/* a drain with a greater epoch is there */
	FOLLOW_SILENT,		/* no line on stdin for keep_alive_ms */
	FOLLOW_FAILED		/* errno */
};

/*
 * Claims and prints to out until that is closed; with o->respond, publishes
 * response lines from in meanwhile.  *stop is set by a signal handler; the
 * signals must be blocked, and are let through (unblocked) while it waits.
 */
enum follow_result drain_follow(struct drain *d, int in, int out,
    volatile sig_atomic_t *stop, const sigset_t *unblocked);

/*
 * Claims what is there; waits for it at most wait_ms (0: for ever, negative:
 * not at all).  0 with lines in d->out; -1 with errno: EAGAIN when nothing
 * came, EINTR for stop, ESTALE when a newer drain is there.
 */
int drain_batch(struct drain *d, int64_t wait_ms,
    volatile sig_atomic_t *stop, const sigset_t *unblocked);

#endif
