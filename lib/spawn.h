/*
 * spawn.h - a program in a session of its own, at the end of three pipes; it
 * is killed if this process is.
 */
#ifndef SPAWN_H
#define SPAWN_H

#include <sys/types.h>

#include "program.h"

struct spawned {
	pid_t pid;		/* and its process group */
	int in, out, err;	/* our ends; in does not block */
	int error;		/* errno: it could not be executed; or 0 */
};

/*
 * Waits until it is executed.  0 with *s, in which all is closed and there is
 * no process when it could not be; -1 with errno when it could not be tried.
 */
int spawn_program(struct spawned *s, const struct program *p);

#endif
