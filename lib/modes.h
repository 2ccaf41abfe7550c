/*
 * modes.h - the modes that staged folders get at the end.
 *
 * A file of records, in which the last one of a folder holds.  Read at once;
 * in memory are up to 64 bytes for each record.
 */
#ifndef MODES_H
#define MODES_H

#include <stdbool.h>

#include "span.h"

struct folder_mode {
	struct span path;
	unsigned mode;
	bool implied;		/* no member named it */
};

/*
 * Appends to a file that is open for reading and appending.  0, or -1 with
 * errno.
 */
int modes_add(int fd, const struct folder_mode *m);

struct modes;

/* fd stays the caller's.  NULL with errno. */
struct modes *modes_open(int fd);
void modes_free(struct modes *m);		/* NULL too */

/* What path, a folder, is to get; false when nobody said. */
bool modes_find(const struct modes *m, struct span path,
    struct folder_mode *out);

/*
 * Each folder once, and before those that are in it: 1, 0 at the end, -1 with
 * errno.  The path holds until the next call.
 */
int modes_next(struct modes *m, struct folder_mode *out);

#endif
