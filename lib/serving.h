/*
 * serving.h - what becomes of the requests of a gateway's connections: from
 * bytes to the queue, and from there to an answer.  gateway.c's own, which has
 * the loop that says when.
 */
#ifndef SERVING_H
#define SERVING_H

#include "conn.h"
#include "depth.h"
#include "gateway.h"
#include "record.h"

/* Times are monotonic ms; -1 is never. */
struct gateway {
	struct queue *q;
	const struct gateway_options *o;
	int epoll, listener;
	bool accepting;
	bool stale;			/* what the watches are on */
	struct watch watch;		/* responses/ */
	struct depth depth;
	struct idmap waiting;
	struct conn_list lists[PATIENCES];
	struct conn *dead;		/* to be freed; linked by next */
	size_t connections;
	int64_t now, look_at, sweep_at, accept_at, stop_at;
	struct http_request req;	/* of the head parsed last */
	struct record record;		/* scratch, as what follows */
	struct buf path, query, joined, file;
};

/* How long c may stay as it is, from now on. */
void serving_set_patience(struct gateway *g, struct conn *c,
    enum conn_patience patience);

/* Does all that can be done for a connection now. */
void serving_continue(struct gateway *g, struct conn *c);

/*
 * For a connection that waits: looks for the response and sends it on.  False
 * when there is none.
 */
bool serving_collect(struct gateway *g, struct conn *c);

enum given_up { FOR_TIMEOUT, FOR_SHUTDOWN, FOR_CLIENT };

/* Ends the wait for an answer; the client is told what is known. */
void serving_give_up(struct gateway *g, struct conn *c, enum given_up why);

/*
 * The end of c.  It is freed when a round of events is done, by the second of
 * these: until then one may still name it.
 */
void serving_bury(struct gateway *g, struct conn *c);
void serving_free_dead(struct gateway *g);

#endif
