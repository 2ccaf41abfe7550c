/*
 * run.h - one agent run over an exec channel: bootstrap, the workspace in,
 * install, provision, the agent with its relay, the workspace back, clean-up.
 *
 * Whatever fails, what was begun is finished: the agent is ended, what it
 * changed is brought back, the sandbox is left with nothing but its runtime
 * folder.  Of several failures the first is said.
 */
#ifndef RUN_H
#define RUN_H

#include "runconfig.h"
#include "tasks.h"

struct run_options {
	const struct runconfig *config;
	char *const *command;		/* the agent's words; ends with NULL */
	const char *tools;		/* the host's folder of our programs */
	const char *state;		/* the host's folder for this identity */
	uint64_t epoch;			/* of its drains; it only grows */
	bool dry;			/* tell what would be executed */
	void (*would)(void *arg, struct span line);
	/* members: of a JSON object, `"bytes":5`; may be empty. */
	void (*event)(void *arg, const char *step, const char *what,
	    struct span members);
	/* Something that does not end the run, in words. */
	void (*warn)(const char *object, const char *reason);
	/* What a person sees: called this often (ms) and with each phase; or 0. */
	int64_t show_ms;
	void (*show)(void *arg, const char *phase, uint64_t requests,
	    uint64_t bytes);
	void *arg;
};

struct run_end {
	int status;		/* the agent's; 100, 111; 128 + signal */
	struct buf message;	/* what failed, or empty; to free */
	const char *phase;	/* and when: "bootstrap", ...; static text */
};

/* 0 with *end; -1 with errno when it could not begin. */
int run_agent(const struct run_options *o, struct run_end *end);

#endif
