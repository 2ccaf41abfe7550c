/* lines.h - bounded lines out of a descriptor, many to a read. */
#ifndef LINES_H
#define LINES_H

#include <sys/types.h>

#include "buf.h"

/* Zeroed but for fd and max (bytes of the longest line taken). */
struct lines {
	int fd;
	size_t max;
	struct buf in;
	size_t at, scanned;	/* private: the next line; how far looked */
	bool skipping;		/* private: inside a line that is too long */
};

enum lines_result {
	LINES_NONE,		/* no complete line: lines_fill() */
	LINES_LINE,
	LINES_TOO_LONG		/* said once; the rest of it is skipped */
};

/* One read.  Bytes, 0 at end of file, -1 with errno. */
ssize_t lines_fill(struct lines *l);

/* The same of bytes that somebody else has read. */
void lines_add(struct lines *l, struct span bytes);

/* The next line without its newline; it holds until more is read. */
enum lines_result lines_next(struct lines *l, struct span *line);

/* After the end of file: what follows the last newline; false if nothing. */
bool lines_last(struct lines *l, struct span *line);

void lines_free(struct lines *l);

#endif
