/*
 * command.h - what pc-exec is asked to run: one JSON object on its stdin, so
 * that neither arguments nor environment pass through a command line.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include "fields.h"
#include "id.h"

#define COMMAND_SIZE_MAX	(4 << 20)	/* bytes of the request */
#define COMMAND_GRACE_MS	2000		/* between TERM and KILL */

struct command {
	struct words argv;
	struct texts env;	/* added to pc-exec's own */
	char *cwd;		/* NULL: where pc-exec is */
	char *unless;		/* not run when this is on PATH; or NULL */
	char *id;		/* NULL: none */
	struct span input;	/* its standard input */
	int64_t timeout_ms;	/* 0: none */
	int64_t grace_ms;
	int64_t idle_ms;	/* detached: end when nobody asks; 0: never */
	bool lines;		/* output as lines of JSON */
	bool lifeline;		/* end it when pc-exec's stdin closes */
	bool background;	/* what it leaves behind may go on */
	struct fields_memory memory;	/* private */
};

/* 0, or -1 with f.  Free it either way. */
int command_parse(struct command *c, struct span text, struct fault *f);
void command_free(struct command *c);

/*
 * Appends it as one line, as command_parse reads it.  0, or -1 with f, which
 * names a key whose text is not UTF-8.
 */
int command_put(struct buf *out, const struct command *c, struct fault *f);

#endif
