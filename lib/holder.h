/*
 * holder.h - who has a lock: for messages and for a person who looks.
 *
 * The holder writes one line into the lock's file.  The line is no part of
 * the locking: it stays when the holder ends, and may be a shared lock's last
 * holder's.  Whether the lock is held, the kernel says.
 */
#ifndef HOLDER_H
#define HOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "process.h"

#define HOLDER_COMMAND_SIZE 160

struct holder {
	pid_t pid;			/* 0 when that is not known */
	int64_t since;			/* clock_wall_ms(); -1 when not known */
	bool shared;
	bool alive;			/* else a process that it left has it */
	char command[HOLDER_COMMAND_SIZE];	/* "" when not known */
};

/*
 * Writes the line of this process.  A file that has other contents is left
 * as it is, as is one that cannot be written: never an error.
 */
void holder_note(int fd, const char *command);

enum holder_state {
	HOLDER_NONE,		/* the lock is free */
	HOLDER_THERE,		/* h is filled in */
	HOLDER_UNSEEN		/* errno: this lock cannot be looked at */
};

/*
 * Who has the lock on this file.  Finding that out takes a free lock for a
 * moment: somebody who does not wait may find it busy then.
 */
enum holder_state holder_look(int dirfd, const char *name, struct holder *h);

#endif
