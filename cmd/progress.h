/*
 * progress.h - one line about a transfer, on a terminal or when asked for:
 * `[paperclip] <Phase>[ <label>] <to|from> <target>: <pct>% (<x.x>/<y.y> MB)`.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "meter.h"

/* Fill in what comes first; the rest is private. */
struct progress {
	const char *phase, *label;	/* label may be NULL */
	const char *direction;		/* "to" or "from" */
	const char *target;
	uint64_t total;			/* bytes; 0 when not known */
	bool plain;			/* lines, even if no terminal */

	bool shown;			/* at all */
	bool terminal;
	uint64_t done;
	unsigned said_percent;
	int64_t started, said;		/* clock_mono_ms() */
	struct meter meter;
};

/* The meter to hand on; NULL when nothing is to be shown. */
const struct meter *progress_start(struct progress *p);

/* The last line, when all went well; on a terminal the end of the line. */
void progress_end(struct progress *p, bool complete);

/* Whether anything will be shown, so that a total is worth its cost. */
bool progress_wanted(bool plain);

#endif
