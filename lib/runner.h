/*
 * runner.h - runs a command to its end: own session, input, output, deadline,
 * and the end of all that descends from it.
 */
#ifndef RUNNER_H
#define RUNNER_H

#include "command.h"

enum runner_cause {
	RUNNER_ITSELF,		/* it ended by itself */
	RUNNER_CLOSED,		/* the lifeline closed, or nobody reads */
	RUNNER_DEADLINE,
	RUNNER_KILLED,		/* this process was told to end it */
	RUNNER_IDLE		/* nobody asked for its output */
};

struct runner_end {
	int status;		/* exit status; 128 + n for signal n */
	int signal;		/* n, or 0 */
	enum runner_cause cause;
	struct buf error;	/* why it could not be run; or empty; to free */
	uint64_t lost;		/* bytes of output that could not be stored */
	bool skipped;		/* what `unless` names is there */
	bool left;		/* some of it could not be ended */
};

struct runner_io {
	int lifeline;		/* -1: none */
	int out, err;		/* with c->lines all goes to out */
	int asked;		/* a file that is touched when asked; or -1 */
	bool spool;		/* out is a file: what fails is lost */
	char *mark;		/* "NAME=value" for its environment; or NULL */
};

/*
 * From here on TERM, INT, HUP and CHLD are blocked, and seen by it alone, and
 * the working folder is the command's.  0 with *end, also when the command
 * could not be run (126, 127); -1 with errno.
 */
int runner_run(const struct command *c, const struct runner_io *io,
    struct runner_end *end);

/* Appends the report: one line of JSON. */
void runner_put_report(struct buf *out, const struct command *c,
    const struct runner_end *end);

#endif
