/*
 * gateway.h - HTTP/1.1 in front of the queue.
 *
 * One process, one epoll loop.  A request that waits is a small struct and a
 * file; nothing is scanned for it.  What a client is told about a request
 * that got no answer is what the queue's steps prove, and no more.
 */
#ifndef GATEWAY_H
#define GATEWAY_H

#include <signal.h>

#include "queue.h"

#define GATEWAY_CONNECTIONS_MAX	4096
#define GATEWAY_RESPONSE_MS	30000
#define GATEWAY_NAMES_MAX	16	/* --accept, --expect-host: each */

struct gateway_options {
	const char *token;	/* what every client must show */
	size_t body_max;	/* bytes, decoded, of either body */
	int64_t depth_max;	/* requests pending plus claimed */
	int64_t response_ms;	/* how long an answer is waited for */
	int64_t poll_ms;	/* between looks, where nothing notifies */
	size_t connections_max;
	bool claims;		/* every drain of this queue claims */
	const char *accept[GATEWAY_NAMES_MAX];	/* more content types */
	size_t naccept;
	const char *host[GATEWAY_NAMES_MAX];	/* Host values; none: any */
	size_t nhost;
	void (*warn)(const char *object, const char *reason);
};

/*
 * Serves the listening socket until *stop is set or the descriptor parent
 * (a pipe's end; -1 for none) is closed at its far end.  First withdraws what
 * a dead gateway had submitted and nobody claimed.  The stop signals must be
 * blocked; unblocked lets them through.  0, or -1 with errno.
 */
int gateway_run(struct queue *q, const struct gateway_options *o, int listener,
    int parent, volatile sig_atomic_t *stop, const sigset_t *unblocked);

#endif
