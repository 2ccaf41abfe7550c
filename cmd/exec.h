/* exec.h - the commands of pc-exec, and what its options said. */
#ifndef EXEC_H
#define EXEC_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"

#define EXEC_LINE_ROOM	65536		/* the longest line of ID.out fits */

enum mode { MODE_RUN, MODE_BECOME, MODE_DETACH, MODE_INIT, MODE_KILL,
	MODE_OUTPUT, MODE_PROBE };

struct options {
	enum mode mode;
	const char *dir, *id, *scratch;
	char **command;		/* NULL: none */
	int64_t wait_ms, kill_ms;
	uint64_t offset, max_bytes;
};

/*
 * The object on stdin, or exits.  What follows it is no part of the request;
 * with chunk 1 it is not read, but for the newline that must be there, since
 * it is for somebody else.
 */
void exec_read_request(struct command *c, size_t chunk);

/* The folder of the ids, or exits. */
int exec_open_dir(const struct options *o, bool make);

/* Each returns an exit status, or exits. */
int exec_output(const struct options *o);
int exec_probe(const struct options *o);

#endif
