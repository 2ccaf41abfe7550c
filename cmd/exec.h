/* exec.h - what the parts of pc-exec share. */
#ifndef EXEC_H
#define EXEC_H

#include "cli.h"
#include "command.h"

enum mode {
	MODE_RUN, MODE_BECOME, MODE_DETACH, MODE_INIT, MODE_KILL, MODE_OUTPUT,
	MODE_PROBE
};

struct options {
	enum mode mode;
	const char *dir, *id, *scratch;
	char **command;		/* NULL: none */
	int64_t wait_ms, kill_ms;
	uint64_t offset, max_bytes;
};

/* The folder of ids, or the end of the program. */
int exec_open_dir(const struct options *o, bool make);

/* --output and --probe: exit statuses. */
int exec_output(const struct options *o);
int exec_probe(const struct options *o);

#endif
