/*
 * problem.h - why a step of a lease's life failed: a code for programs, a
 * sentence for people, and whether it may go better later.
 */
#ifndef PROBLEM_H
#define PROBLEM_H

#include "fault.h"

enum problem_kind {
	PROBLEM_NONE,
	PROBLEM_INPUT,		/* will fail again */
	PROBLEM_NO,		/* busy, lost, not in a state for that */
	PROBLEM_LATER,		/* the store or the system: may succeed later */
	PROBLEM_UNKNOWN		/* asked for, and no answer whether it is done */
};

/* Zeroed is no problem. */
struct problem {
	enum problem_kind kind;
	const char *code;	/* static: environment_not_found, ... */
	struct buf message;	/* a C string */
};

/* The first problem stays.  Each returns -1, to be returned. */
int problem_set(struct problem *p, enum problem_kind kind, const char *code,
    const char *format, ...) __attribute__((format(printf, 4, 5)));
int problem_memory(struct problem *p);

/* What fault says of an input, which goes with it. */
int problem_fault(struct problem *p, const char *code, struct fault *f);

const char *problem_text(const struct problem *p);
void problem_clear(struct problem *p);	/* and frees */

#endif
