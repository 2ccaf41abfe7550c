/*
 * bridge.h - the relay of a run: requests out of the sandbox, through
 * pc-allow and pc-forward, and their answers back.
 *
 * It knows which requests the host has, and which answers are not known to
 * have been published; so a channel that dies is opened again, and what it
 * had is neither handled twice nor lost.
 */
#ifndef BRIDGE_H
#define BRIDGE_H

#include "idmap.h"
#include "lines.h"
#include "running.h"

#define BRIDGE_HELD_MAX		4096	/* requests that the host has at once */
#define BRIDGE_PING_MS		3000	/* a line is due from us this often */
#define BRIDGE_SILENT_MS	10000	/* and from there: else it is dead */

struct bridge {
	struct run *r;
	struct task allow, forward, channel;
	struct lines from_channel, from_forward;
	struct idmap held;
	size_t answers;		/* bytes of those that are held */
	size_t line_max;
	bool up;		/* the channel has said something */
	bool stopping;
	bool failed;		/* for good; the run's message says why */
	uint64_t opened;	/* how often the channel was */
	int64_t reopen_at, backoff_ms;	/* -1: it is open */
	int64_t ping_at, heard_at;
	int64_t resend_at;		/* -1: nothing was refused */
	/* A channel that does not stream: */
	struct task answer;	/* the exec that returns a batch */
	struct lines from_answer;
	struct buf waiting;	/* lines for the next one */
	int64_t answer_at;	/* not before */
	unsigned answer_failures;
};

/* Starts the host's side and the channel's.  0, or -1 with a failure noted. */
int bridge_start(struct bridge *b, struct run *r);

/* Starts the host's side only: 0 or -1. */
int bridge_start_host(struct bridge *b, struct run *r);

/* When something is due that no descriptor tells; -1: never. */
int64_t bridge_due(const struct bridge *b);

/* Does what is due.  0, or -1 with a failure noted. */
int bridge_tend(struct bridge *b);

/* The host's side only.  0, or -1 with a failure noted. */
int bridge_tend_host(struct bridge *b);

/* Until the channel works: 0, or -1 with a failure noted. */
int bridge_wait_up(struct bridge *b);

/* A line that came out of the sandbox. */
void bridge_take(struct bridge *b, struct span line);

/* The answers that are not known to have been published, as lines. */
void bridge_put_unpublished(struct bridge *b, struct buf *out);

/* The ids of the requests that the host has, a line each. */
void bridge_put_held(struct bridge *b, struct buf *out);

/* Whether an answer waits to be sent. */
bool bridge_has_answers(const struct bridge *b);

/* The agent has ended: finishes what is under way, at most 2 s. */
void bridge_stop(struct bridge *b);

/* After bridge_stop(); also of a zeroed one. */
void bridge_free(struct bridge *b);

#endif
