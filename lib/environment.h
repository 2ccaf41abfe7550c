/*
 * environment.h - places where agents run: who knows them, how they are
 * reached, and what is done with a lease of one.
 *
 * A selector is an id or a name; NULL is the company's default, a local one
 * that is made on first use.  Another company's is not found, as if it were
 * not there.
 */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include "fields.h"
#include "store.h"

/* On whose behalf: of this company alone anything is seen or changed. */
struct caller {
	const char *company, *actor;
	const char *run;	/* "" when there is none */
};

/* A row; its texts belong to the memory that it was read into. */
struct environment {
	char *id, *company, *name, *driver, *status, *config, *fingerprint;
	int64_t created, updated;
	int64_t token;		/* the last lease's */
	bool is_default;
};

/* What config, a JSON object, says; texts that are absent are "". */
struct environment_config {
	struct span channel;	/* an object of pc-run(5); empty: none */
	char *remote_cwd, *policy, *provider;
	struct words cleanup;	/* what ends a sandbox; or nothing */
	int64_t cleanup_ms;	/* and how long that may take */
	int64_t retain_ms;	/* how long a retained one is kept */
	int64_t expiry_ms;
	struct fields_memory memory;	/* private */
};

/* 0, or -1 with p: free it anyway.  text must outlive it. */
int environment_config_read(struct environment_config *c, const char *text,
    struct problem *p);
void environment_config_free(struct environment_config *c);
bool environment_config_has_cleanup(const struct environment_config *c);

/* NULL stays as it is, or is the default of a new one. */
struct environment_change {
	const char *name, *driver, *config, *status;
	bool make_default;
};

/*
 * Each is one transaction and one activity: 0 with e, or -1 with p
 * (environment_not_found, environment_exists).
 */
int environment_add(struct store *s, const struct caller *c,
    const struct environment_change *what, struct environment *e,
    struct fields_memory *m, struct problem *p);
int environment_set(struct store *s, const struct caller *c,
    const char *selector, const struct environment_change *what,
    struct environment *e, struct fields_memory *m, struct problem *p);

/* Of any status, without making one. */
int environment_find(struct store *s, const struct caller *c,
    const char *selector, struct environment *e, struct fields_memory *m,
    struct problem *p);

/* One that is active: environment_not_found, environment_inactive. */
int environment_resolve(struct store *s, const struct caller *c,
    const char *selector, struct environment *e, struct fields_memory *m,
    struct problem *p);

/*
 * The selector of the level that comes first: execution workspace, issue,
 * project, agent, company; NULL when none names one.
 */
enum environment_level {
	LEVEL_WORKSPACE, LEVEL_ISSUE, LEVEL_PROJECT, LEVEL_AGENT,
	LEVEL_COMPANY, LEVELS
};
const char *environment_choose(const char *const levels[static LEVELS]);

/* The company's, by name; each holds during the call.  0, or -1 with p. */
int environment_list(struct store *s, const struct caller *c,
    void (*each)(void *arg, const struct environment *e), void *arg,
    struct problem *p);

#endif
