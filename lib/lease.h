/*
 * lease.h - who holds an environment, and until when.
 *
 * Invariants, whatever is killed:
 * - Each step is one transaction, with its line in the log.
 * - Of the active leases of an environment that exclude each other (policy
 *   reuse_by_environment; reuse_by_execution_workspace for one workspace)
 *   there is at most one.
 * - An environment's token only grows, with each lease it gives and with the
 *   store's time in microseconds, so that it is never less than what a run
 *   without a lease takes: a holder is known by lease and token together,
 *   and whoever comes later has a greater one.
 * - A holder that does not renew has lost its lease at the deadline, whether
 *   somebody has noticed or not.
 * - What is to be cleaned up is pending_cleanup before the command is run,
 *   and something else only after it has succeeded.
 */
#ifndef LEASE_H
#define LEASE_H

#include "environment.h"
#include "lease_state.h"

#define LEASE_EXPIRY_MIN_MS	1000
#define LEASE_HEARTBEAT_MIN_MS	10
#define LEASE_HEARTBEAT_MS	15000	/* a quarter of the usual expiry */

/* A row; its texts belong to the memory that it was read into; "" is none. */
struct lease {
	char *id, *company, *environment, *workspace, *issue, *run, *status;
	char *outcome;		/* what it is after its clean-up */
	char *policy, *provider, *provider_lease, *fingerprint, *failure;
	char *cleanup, *metadata;
	int64_t token, acquired, used, expires, released;
};

/* --- acquire ---------------------------------------------------------------- */

/* NULL texts are none; NULL policy and provider, 0 expiry: the environment's. */
struct lease_want {
	const char *environment;	/* a selector; NULL: the default */
	const char *workspace, *issue, *policy, *provider, *provider_lease;
	const char *metadata;		/* a JSON object */
	int64_t expiry_ms;
};

struct lease_grant {
	struct environment environment;
	struct lease lease;
	int64_t expiry_ms;	/* to renew with */
	int64_t since;		/* clock_mono_ms: good for expiry_ms after */
	bool reused;
};

enum lease_result {
	LEASE_TAKEN,
	LEASE_BUSY,		/* p: environment_busy */
	LEASE_REFUSED		/* p: what lifecycle 3 says of resolve, acquire */
};

enum lease_result lease_acquire(struct store *s, const struct caller *c,
    const struct lease_want *want, struct lease_grant *g,
    struct fields_memory *m, struct problem *p);

/*
 * The same until deadline (clock_mono_ms; -1: for ever), or until *stop.
 * Waits by looking, every 10 to 100 ms, without writing anything.
 */
enum lease_result lease_acquire_wait(struct store *s, const struct caller *c,
    const struct lease_want *want, int64_t deadline,
    const volatile int *stop, struct lease_grant *g,
    struct fields_memory *m, struct problem *p);

/* --- while it is held ------------------------------------------------------- */

/*
 * Moves the deadline, by expiry_ms from now (0: as far as it was before);
 * merges metadata, unless NULL, into what is there.  0;
 * -1 with p, whose code is lease_lost when it is another's by now, or over.
 */
int lease_renew(struct store *s, const struct caller *c, const char *id,
    int64_t token, int64_t expiry_ms, const char *metadata, struct lease *l,
    struct fields_memory *m, struct problem *p);

/* --- release ---------------------------------------------------------------- */

struct lease_end {
	enum lease_status status;	/* released, expired or failed */
	const char *failure;		/* "" when there is no reason */
	int64_t token;			/* of the holder; 0: whoever it is */
};

/*
 * Cleans up what a lease stands for: 0, or -1 with p.  Called outside of any
 * transaction, as a rule lease_clean() (lease_clean.h).
 */
typedef int lease_cleaner(void *arg, const struct environment *e,
    const struct environment_config *config, const struct lease *l,
    struct problem *p);

struct lease_release {
	struct lease_end end;
	lease_cleaner *clean;
	void *arg;
	/* Told of each: l as it is now, p what failed or NULL. */
	void (*each)(void *arg, const struct lease *l,
	    const struct problem *p);
	void *each_arg;
	/* What could not be logged, and did not stop anything; or NULL. */
	void (*warn)(void *arg, const struct problem *p);
};

/* One lease, that is active or retained.  0, or -1 with p. */
int lease_release(struct store *s, const struct caller *c, const char *id,
    const struct lease_release *r, struct problem *p);

/*
 * All active leases of c->run, each on its own.  How many failed; -1 with p
 * when they could not even be listed.
 */
int lease_release_run(struct store *s, const struct caller *c,
    const struct lease_release *r, struct problem *p);

/* --- sweep ------------------------------------------------------------------ */

struct lease_sweep {
	bool all_companies;
	int64_t retain_ms;	/* -1: as each environment says */
	struct lease_release release;	/* without end */
};

/*
 * Expires what was not renewed, and cleans up what is due: pending_cleanup,
 * what was retained long enough, and what would be used again but for its
 * environment, which has changed or is archived.  As lease_release_run.
 */
int lease_sweep(struct store *s, const struct caller *c,
    const struct lease_sweep *w, struct problem *p);

/* --- looking ---------------------------------------------------------------- */

/* 0, or -1 with p, lease_not_found. */
int lease_find(struct store *s, const struct caller *c, const char *id,
    struct lease *l, struct fields_memory *m, struct problem *p);

/* "" is any; oldest first.  What each is told of holds during the call. */
struct lease_query {
	const char *environment, *status, *run;
	void (*each)(void *arg, const struct lease *l,
	    const char *environment_name);
	void *arg;
};
int lease_list(struct store *s, const struct caller *c,
    const struct lease_query *q, struct problem *p);

#endif
