/*
 * mirror.h - one folder made equal to another, on one machine.
 *
 * Each file is complete or as it was; what the source lacks goes last.
 */
#ifndef MIRROR_H
#define MIRROR_H

#include <stdint.h>

#include "fault.h"
#include "scope.h"

struct mirror {
	int from, to;
	const struct scope *scope;
	bool checksum;		/* compare bytes where size and time agree */
	int64_t deadline;	/* for the lock */
	const struct notices *notices;
};

/*
 * Whether folder inner is outer, or in it: 1, 0, or -1 with errno.  Of such
 * two none can be made equal to the other.
 */
int mirror_is_in(int inner, int outer);

/* from and to are not one in the other.  0, or -1 with f. */
int mirror_tree(const struct mirror *m, struct fault *f);

/* Removes what a mirror that was killed has left.  0, or -1 with f. */
int mirror_recover(int root, int64_t deadline, struct fault *f);

#endif
