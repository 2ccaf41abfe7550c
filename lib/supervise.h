/*
 * supervise.h - keeps a gateway running: the parent holds the listening
 * socket and the queue's gateway lock, the child serves.
 *
 * A child that crashes is started again on the same socket, so that clients
 * only see a connection end.  When the parent dies, whatever way, the child
 * sees its pipe close and ends as if it had been told to.
 *
 * It may also run a command: then it serves for as long as that runs.
 */
#ifndef SUPERVISE_H
#define SUPERVISE_H

#include "address.h"
#include "gateway.h"

#define SUPERVISE_CRASHES_MAX	5	/* within SUPERVISE_WINDOW_MS */
#define SUPERVISE_WINDOW_MS	60000
#define SUPERVISE_STOP_MS	2000	/* TERM, then KILL */

struct supervise {
	struct queue *q;
	const struct gateway_options *gateway;
	struct address *address;
	mode_t socket_mode;
	int ready_fd;		/* gets ready.json's text, is closed; or -1 */
	/*
	 * The command, or NULL: called in a process of its own, with signals
	 * as they are by default, once the gateway is ready; it must not
	 * return.  It is sent the signal that stops us, and then waited for.
	 */
	void (*command)(void *arg, const char *url);
	void *command_arg;
	int *command_status;	/* its exit status, or 128 + its signal */
};

/*
 * Claims the queue, listens, publishes server.pid and ready.json, serves
 * until *stop, and removes what it published.  0; -1 with errno and *what,
 * a static phrase or NULL: EAGAIN when the queue has another gateway,
 * ECHILD when the child crashed too often.
 */
int supervise_run(const struct supervise *s, volatile sig_atomic_t *stop,
    const sigset_t *unblocked, const char **what);

#endif
