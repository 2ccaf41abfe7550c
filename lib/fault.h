/*
 * fault.h - why a long operation stopped: what it was about, and the reason.
 *
 * lib never prints; a function that works on a whole tree fills one of these
 * and returns -1, and the tool says it in one line.
 */
#ifndef FAULT_H
#define FAULT_H

#include "buf.h"

enum fault_kind {
	FAULT_NONE,
	FAULT_INPUT,	/* wrong, and wrong again next time */
	FAULT_CUT,	/* the input ended too early: send it again */
	FAULT_BUSY,	/* a lock's time is up */
	FAULT_SYSTEM	/* error is an errno */
};

/* Zeroed is no fault. */
struct fault {
	enum fault_kind kind;
	struct buf object;	/* a path or a member's name; may be empty */
	const char *reason;	/* static text, for all but FAULT_SYSTEM */
	int error;
};

/* The first fault stays.  Each returns -1, to be returned. */
int fault_input(struct fault *f, struct span object, const char *reason);
int fault_cut(struct fault *f, struct span object, const char *reason);
int fault_busy(struct fault *f, struct span object, const char *reason);
int fault_system(struct fault *f, struct span object);	/* takes errno */

void fault_clear(struct fault *f);	/* and frees */

/*
 * What is said on the way, and does not stop anything: an entry that is left
 * out, a name with -v.  Called with the path and a few words.
 */
enum notice_kind { NOTICE_LEFT_OUT, NOTICE_NAME };

struct notices {
	void (*say)(void *arg, enum notice_kind kind, struct span path,
	    const char *text);
	void *arg;
};

void notice(const struct notices *n, enum notice_kind kind, struct span path,
    const char *text);

#endif
