/*
 * offspring.h - everything that descends from this process, also what left
 * its session: as a subreaper (prctl(2)) this process inherits whatever loses
 * its parent, so that nothing gets away by forking twice.
 */
#ifndef OFFSPRING_H
#define OFFSPRING_H

#include <sys/types.h>

#include "buf.h"

/* From here on orphans become children of this process. */
void offspring_adopt(void);

/*
 * Sends signo to all that descends from this process; what has not been
 * reaped and has ended is left out.  With told (zeroed at first, the caller's
 * to free) each process gets it once, and whoever is found by a later call
 * gets it then.  group is the process group most of them are in: it is told
 * at once, and is all that is found where there is no /proc.  How many could
 * be told.
 */
size_t offspring_signal(struct buf *told, pid_t group, int signo);

/*
 * Sends signo to all processes of this user whose environment began with the
 * pair "NAME=value" in it, but this one: what a killed parent has left.  How
 * many there were; 0 too where there is no /proc.
 */
int offspring_signal_marked(const char *pair, int signo);

#endif
