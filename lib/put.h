/*
 * put.h - a file is replaced whole, or not at all.
 *
 * The new content goes into a file that has no name yet (O_TMPFILE) and gets
 * it in the end: a process that is killed on the way leaves nothing.  Where
 * the kernel or the file system has no such files, or /proc is missing, it
 * goes into one named ".pc-put." and 16 digits, beside the old one; a kill
 * leaves that.  So does one between the last two calls of a replacement,
 * since no call gives a file without name a name that is taken.
 *
 * What has the name is replaced, never written to: a link is not followed.
 * A folder stays, and is an error.
 */
#ifndef PUT_H
#define PUT_H

#include <stdbool.h>
#include <sys/types.h>

#include "span.h"

#define PUT_PREFIX	".pc-put."
#define PUT_NAME_SIZE	(sizeof(PUT_PREFIX) + 16)

struct put {
	int dir;
	const char *name;
	mode_t mode;
	int fd;				/* -1: closed */
	char temporary[PUT_NAME_SIZE];	/* "": it has no name */
};

/*
 * A file that will be name in the folder dir, a descriptor of any kind or
 * AT_FDCWD; both stay the caller's, until the end.  0, or -1 with errno and
 * nothing to clean.
 */
int put_open(struct put *p, int dir, const char *name, mode_t mode);

/* Where the content is written to. */
static inline int
put_fd(const struct put *p)
{
	return p->fd;
}

/*
 * Sets exactly the mode, and replaces; with sync the content is on the disk
 * before, and the name after.  0, or -1 with errno, and then the old file is as it was.
 * (If only the last sync fails, the new one has its name.)
 */
int put_commit(struct put *p, bool sync);

/*
 * Nothing happened.  May be called at any time after put_open has begun,
 * also twice, after a commit, and from a signal handler.
 */
void put_abort(struct put *p);

/*
 * The file at path, with this content, at once.  0, or -1 with errno, and then
 * the old file is as it was.
 */
int put_file(const char *path, mode_t mode, struct span content);

#endif
