/*
 * run_lease.h - pc-run --env: a run that holds a lease of its environment.
 *
 * pc-lease holds it: pc-run becomes `pc-lease run --report`, which runs it
 * again with --leased and the configuration that was read; so a lost lease
 * ends the run, whatever it waits for, and a run that is killed loses nothing
 * that its lease should say.
 */
#ifndef RUN_LEASE_H
#define RUN_LEASE_H

#include "runconfig.h"

struct run_lease {
	int fd;			/* to the holder; -1: there is none */
	char *name, *driver;	/* NULL: without an environment */
	struct runconfig of_environment;	/* its channel; keeps texts */
	struct fields_memory memory;
};

/*
 * Becomes the holder of what c, which was read from text, asks for; folder is
 * where our programs are.  argv is our own.
 */
_Noreturn void run_lease_become(const struct runconfig *c, struct span text,
    const char *folder, char *const argv[]);

/*
 * What c does not say itself, of the environment: from the holder, whose
 * stream $PC_LEASE_FD is, with the lease's epoch; or, where nothing is run,
 * by pc-lease env show.  Exits when that fails.
 */
void run_lease_take(struct run_lease *l, struct runconfig *c,
    uint64_t *epoch);
void run_lease_look(struct run_lease *l, struct runconfig *c,
    const char *folder);

/* Tells the holder what was realised (members of an object), what failed. */
void run_lease_tell_places(const struct run_lease *l, struct span members);
void run_lease_tell_failure(const struct run_lease *l, const char *words);

/*
 * What failed in a phase of a run (of run_end; "transport" before it), in the
 * words that are due for an environment.  The caller frees it.
 */
char *run_lease_words(const struct run_lease *l, const char *phase,
    const char *why);

#endif
