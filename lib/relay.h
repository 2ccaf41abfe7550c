/*
 * relay.h - lines in, lines out: requests become the answers of an API, and
 * all else is passed on.
 *
 * Nobody waits for anybody: the API may be slow, the reader may be slow, and
 * answers come out in the order in which they are there.  What is held in
 * memory is bounded; at a bound no more is read, and the writer waits.
 */
#ifndef RELAY_H
#define RELAY_H

#include <signal.h>

#include "dispatch.h"

struct relay_options {
	struct dispatch_options dispatch;
	int64_t keep_alive_ms;	/* 0: no empty lines of our own */
};

enum relay_result {
	RELAY_ENDED,		/* end of input, and all is answered */
	RELAY_STOPPED,		/* *stop was set, and all is answered */
	RELAY_NO_INPUT,		/* errno of reading; all is answered */
	RELAY_NO_OUTPUT,	/* errno of writing */
	RELAY_FAILED		/* errno: it could not start, or go on */
};

/*
 * *stop is set by a signal handler; the signals must be blocked, and are let
 * through (unblocked) while it waits.
 */
enum relay_result relay_run(const struct relay_options *o, int in, int out,
    volatile sig_atomic_t *stop, const sigset_t *unblocked);

#endif
