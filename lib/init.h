/* init.h - process 1 of a container. */
#ifndef INIT_H
#define INIT_H

/*
 * Reaps what loses its parent, until TERM, INT or HUP, which are passed on, or
 * until argv (NULL: nothing is run) has ended; as process 1, then ends all
 * that is left.  The exit status, or -1 with errno.
 */
int init_run(char *const argv[]);

#endif
