/*
 * tasks.h - the children of one process, in one poll loop: their input waits
 * in memory, their output is given away as it comes, and the end of each is
 * noted.  Each has a process group of its own, so that a terminal's signals
 * reach only us, and a signal of ours all that it has started.
 */
#ifndef TASKS_H
#define TASKS_H

#include <sys/types.h>

#include "output.h"

#define TASK_TAIL	4096	/* bytes kept of the end of its stderr */

struct task {
	const char *name;
	/* Its output, as it comes; NULL: dropped. */
	void (*output)(struct task *t, struct span bytes);
	void *arg;

	struct buf to;		/* append what it is to read */
	bool finish;		/* and close its input when it has that */
	bool paused;		/* its output is not read for now */

	pid_t pid;		/* 0: not started, or reaped */
	bool ended;		/* it has, and its output is read to the end */
	int status;		/* of exit, or 128 + its signal */
	char tail[TASK_TAIL];
	size_t tail_len;

	int in, out, err;	/* private, as what follows; -1: closed */
	size_t sent;
	bool full;		/* its input, at the last write */
	struct task *next;
	bool reaped;
};

struct tasks {
	struct task *first;
	struct output *outputs[2];	/* also written in the loop; or NULL */
	bool output_gone;		/* one takes no more: dropped */
	int signals;			/* private */
	int stop;			/* the last TERM, INT or HUP; or 0 */
	int stops;			/* how often */
};

/* Blocks the signals that it reads itself.  0 or -1. */
int tasks_open(struct tasks *all);
void tasks_close(struct tasks *all);

struct task_start {
	char *const *argv;
	char *const *env;	/* NULL: ours */
	int in, out;		/* descriptors for it, closed here; -1: pipes */
};

/* Zeroes t, but for these; `to`, finish and paused may be set then. */
void task_init(struct task *t, const char *name,
    void (*output)(struct task *, struct span), void *arg);

/*
 * Starts t, which is part of all until it has ended or was dropped: it must
 * stay where it is.  0, or -1 with errno: then it was not started, and in and
 * out are closed all the same.
 */
int task_start(struct tasks *all, struct task *t, const struct task_start *s);

/* Bytes that it has yet to read. */
size_t task_pending(const struct task *t);

/* To its group; nothing when it has gone. */
void task_signal(const struct task *t, int signo);

/* KILL, and away with it; also when it was never started. */
void task_drop(struct tasks *all, struct task *t);

/*
 * Waits for something to happen until deadline (clock_mono_ms, -1: none), and
 * deals with it.  0, or -1 with errno.
 */
int tasks_wait(struct tasks *all, int64_t deadline);

#endif
