/*
 * child.h - a program below this process: it is there, with its pid, before
 * it begins; signals are passed on to it; its end is known before it is
 * reaped, so that its pid still is its own.
 */
#ifndef CHILD_H
#define CHILD_H

#include <sys/types.h>

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct child {
	pid_t pid;
	pid_t guard;			/* private, as what follows */
	int start;
	sigset_t mask;
	struct sigaction on_child;
};

/*
 * Forks; run(arg), which must exec or exit, waits for child_start, and never
 * comes if this process ends before.  From here on the signals that are
 * passed on are blocked.  0 or -1.
 */
int child_fork(struct child *c, void (*run)(void *), void *arg);

/* Lets it run: 0, or -1 with errno, and it ends with 111. */
int child_start(struct child *c);

/* Instead: it ends without having begun, and signals are as before. */
void child_abandon(struct child *c);

/*
 * A process that has this one's descriptors until the child has ended, for
 * what must not be given up if this one is killed.  0 or -1.
 */
int child_guard(struct child *c);

/*
 * Passes on signals, as child_wait, until the child has ended: true with its
 * status; or until deadline (clock_mono_ms, -1: none), or SIGIO, with which a
 * descriptor of the caller's says that it has something (O_ASYNC): false.
 */
bool child_wait_until(struct child *c, int64_t deadline, int *status);

/*
 * Passes on TERM, INT, HUP, QUIT, USR1 and USR2 until the child has ended.
 * Its exit status, or 128 + n if signal n ended it; it is a zombie then.
 */
int child_wait(struct child *c);

/* After child_wait or child_abandon: reaps it, and ends the guard. */
void child_reap(struct child *c);

#endif
