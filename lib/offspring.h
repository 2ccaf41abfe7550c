/*
 * offspring.h - everything that descends from this process, also what left
 * its session: as a subreaper (prctl(2)) this process inherits whatever loses
 * its parent, so that nothing gets away by forking twice.
 */
#ifndef OFFSPRING_H
#define OFFSPRING_H

/* From here on orphans become children of this process. */
void offspring_adopt(void);

/*
 * Sends signo to the process group (0: none) and to every child.  Children of
 * those come to us when their parents have ended: call it again then.
 */
void offspring_signal(int group, int signo);

/*
 * Sends signo to all processes of this user whose environment began with the
 * pair "NAME=value" in it, but this one: what a killed parent has left.  How
 * many there were; 0 too where there is no /proc.
 */
int offspring_signal_marked(const char *pair, int signo);

#endif
