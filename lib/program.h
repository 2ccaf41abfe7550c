/*
 * program.h - which file a command means, and the environment it gets; found
 * without a shell, and before a process is made for it.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "command.h"

/* All of it from malloc, freed by program_free. */
struct program {
	char *file;		/* to execute */
	char **argv;		/* its words; the words are c's, or static */
	char **env;		/* likewise */
};

enum program_result {
	PROGRAM_FOUND,
	PROGRAM_NONE,		/* not there: 127 */
	PROGRAM_DENIED,		/* there, and not executable: 126 */
	PROGRAM_NO_SHELL,	/* a line, and neither bash nor sh: 127 */
	PROGRAM_FAILED		/* errno */
};

/*
 * mark is a pair "NAME=value" for the environment, or NULL.  It, c, and
 * environ must outlive p.
 */
enum program_result program_find(struct program *p, const struct command *c,
    char *mark);
void program_free(struct program *p);

/*
 * Looks a name up on a PATH (NULL: the usual one); one with a '/' is taken as
 * it is.  The file in *file, from malloc.
 */
enum program_result program_look_up(const char *name, const char *path,
    char **file);

#endif
