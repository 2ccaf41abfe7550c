/*
 * lease_report.h - pc-lease run --report: a stream between the holder of a
 * lease and its command (PC_LEASE_FD in the command's environment).
 *
 * The command reads one line of JSON from it: lease and environment, two
 * objects as `show --json` and `env show --json` print them.  It may write
 * lines of JSON: metadata, an object to merge into the lease's; failure, why
 * it failed, if it does.
 */
#ifndef LEASE_REPORT_H
#define LEASE_REPORT_H

#include "lease.h"
#include "lines.h"

struct lease_report {
	int fd, theirs;		/* -1: there is none */
	struct lines in;
	struct buf failure;	/* the last one said, or empty */
	struct buf metadata;	/* of the line that was taken last */
	bool warned;
};

/*
 * Opens it, with the first line in it.  What the command writes later is told
 * by SIGIO.  0 or -1 with p.
 */
int lease_report_open(struct lease_report *r, const struct lease_grant *g,
    struct problem *p);

/* In the command's process: its end, and the environment.  0 or -1. */
int lease_report_give(const struct lease_report *r);

/* In the holder's, when the command has its end. */
void lease_report_keep(struct lease_report *r);

/*
 * The next line that says something about metadata: the object, which holds
 * until the next call; or NULL: no more for now.
 */
const char *lease_report_metadata(struct lease_report *r);

void lease_report_close(struct lease_report *r);

#endif
