/* leasecmd.h - the commands of pc-lease, and what their options said. */
#ifndef LEASECMD_H
#define LEASECMD_H

#include "activity.h"
#include "lease.h"

struct lease_args {
	const char *actor, *company, *config, *driver, *env, *issue;
	const char *metadata, *name, *policy, *provider, *provider_lease;
	const char *reason, *run, *status, *store, *workspace;
	const char *levels[LEVELS];
	int64_t expiry, grace, heartbeat, retained, since, store_wait;
	int64_t wait;			/* -1: not given, as those above */
	uint64_t epoch, max, busy_status;
	bool all, follow, json, make_default, report;
	char **operands;
	int n;
	char **command;			/* after --; NULL: none */
};

/* Where the commands work. */
struct lease_session {
	struct store *s;
	int64_t store_wait;		/* ms, of the store when it was opened */
	struct caller caller;
	bool json;
	bool batch;
};

/*
 * A command appends what it prints, lines, to out: tables for people, or a
 * JSON object each.  An exit status; or -1 with p, which has one, and then
 * out is printed all the same.
 */
typedef int lease_function(struct lease_session *x,
    const struct lease_args *a, struct buf *out, struct problem *p);

struct lease_command {
	const char *name;
	lease_function *run;
	const char *options;		/* letters of lease_args.c */
	int min, max;			/* operands */
	bool takes_command;		/* words after -- */
	bool alone;			/* not in a batch */
};

/* The command that words begin with, and how many words name it; or NULL. */
const struct lease_command *lease_command_find(char *const *words, int n,
    int *used);

/* The exit status that a problem has. */
int lease_status_of_problem(const struct problem *p);

/*
 * Appends what it says as a string of JSON; what is no UTF-8, as what was
 * given or a command has said may be, as it would be shown on a terminal.
 */
void lease_put_message(struct buf *out, const struct problem *p);

/* Appends {"code":...,"message":...} without its braces. */
void lease_put_problem(struct buf *out, const struct problem *p);

/* On stderr: in words, or as such an object. */
void lease_say_problem(bool json, const struct problem *p);

/* --- options (lease_args.c) ------------------------------------------------- */

void lease_args_init(struct lease_args *a);

/*
 * Options before the command: where the command is, or -1 with p.  Then those
 * of a command, argv[0] being its name; 0, or -1 with p.
 */
int lease_args_first(struct lease_args *a, int argc, char *argv[],
    struct problem *p);
int lease_args_read(struct lease_args *a, const struct lease_command *c,
    int argc, char *argv[], struct problem *p);

/* --- output (lease_print.c) ------------------------------------------------- */

/* Rows of cells; or of names and values, a line each. */
struct lease_table {
	struct buf cells;		/* each ends with a NUL */
	size_t columns, n;
};

void lease_table_add(struct lease_table *t, const char *cell);
void lease_table_add_time(struct lease_table *t, int64_t wall_ms);
void lease_table_add_number(struct lease_table *t, int64_t number);

/* Appends it, aligned, and frees it. */
void lease_table_end(struct lease_table *t, struct buf *out);

void lease_put_lease(struct buf *out, const struct lease *l,
    const char *environment, const char *more);
void lease_put_environment(struct buf *out, const struct environment *e);
void lease_put_activity(struct buf *out, const struct activity *a);
void lease_show_lease(struct buf *out, const struct lease *l,
    const char *environment);
void lease_show_environment(struct buf *out, const struct environment *e);

/* --- the commands ----------------------------------------------------------- */

lease_function lease_env_add, lease_env_archive, lease_env_list,
    lease_env_set, lease_env_show;
lease_function lease_do_acquire, lease_do_list, lease_do_log,
    lease_do_release, lease_do_renew, lease_do_show, lease_do_sweep;
lease_function lease_do_batch, lease_do_run;

/*
 * What acquire and run want, by their options and operand; and until when
 * they wait for it, on the monotonic clock: -1, for ever.
 */
struct lease_want lease_want_of(const struct lease_args *a);
int64_t lease_deadline_of(const struct lease_args *a);

/* For lease_release: what could not be logged, on stderr. */
void lease_warn_unlogged(void *arg, const struct problem *p);

#endif
