#include <poll.h>
#include <string.h>

#include "clock.h"
#include "id.h"
#include "leasing.h"

#define LOOK_FIRST_MS	10	/* between two looks at a lease that is held */
#define LOOK_LAST_MS	100

/* What was asked for, with the environment's own where nothing was. */
struct acquiring {
	struct store *s;
	const struct caller *c;
	const struct lease_want *want;
	struct lease_grant *g;
	struct fields_memory *m;
	struct problem *p;
	struct environment_config config;
	enum lease_policy policy;
	const char *workspace, *provider;
	struct buf metadata;
};

static const char *
or_empty(const char *text)
{
	return text != NULL ? text : "";
}

static int
check_want(const struct lease_want *w, struct problem *p)
{
	const struct {
		const char *what, *text;
	} texts[] = {
		{ "environment", w->environment },
		{ "workspace", w->workspace }, { "issue", w->issue },
		{ "provider", w->provider },
		{ "provider lease", w->provider_lease }
	};
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (leasing_check_text(texts[i].what, or_empty(texts[i].text),
		    LEASING_TEXT_MAX, p) == -1)
			return -1;
	if (w->policy != NULL &&
	    lease_policy_of(w->policy) == LEASE_POLICY_NONE)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "policy: not one of ephemeral, reuse_by_environment, "
		    "reuse_by_execution_workspace, retain_on_failure");
	if (w->expiry_ms != 0 && w->expiry_ms < LEASE_EXPIRY_MIN_MS)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "expiry: under a second");
	return w->metadata == NULL ? 0 :
	    leasing_check_object("metadata", w->metadata, p);
}

static int
refuse(struct acquiring *a, enum problem_kind kind, const char *why)
{
	const struct environment *e = &a->g->environment;

	return problem_set(a->p, kind, kind == PROBLEM_NO ?
	    "environment_busy" : "lease_acquire_failed",
	    "Failed to acquire lease for environment \"%s\" (%s): %s",
	    e->name, e->driver, why);
}

/*
 * The environment with its next token; who has it keeps others from
 * acquiring one until the transaction ends.  1, 0 when there is no such
 * active one, -1 with p.
 */
static int
take_token(struct acquiring *a, const char *id)
{
	int found;

	if (STORE_RUN(a->s, a->p, "UPDATE pc_environments SET token = "
	    "(SELECT CASE WHEN pc_environments.token >= clock.us "
	    "THEN pc_environments.token + 1 ELSE clock.us END "
	    "FROM (SELECT pc_now() * 1000 AS us) AS clock) "
	    "WHERE company = $1 AND id = $2 AND status = 'active' "
	    "RETURNING " ENVIRONMENT_COLUMNS, a->c->company, id) == -1)
		return -1;
	found = store_next(a->s, a->p);
	if (found == 1 && environment_take_row(a->s, &a->g->environment,
	    a->m, a->p) == -1)
		return -1;
	return found;
}

static int
complete_want(struct acquiring *a)
{
	const struct lease_want *w = a->want;
	const char *policy;

	if (environment_config_read(&a->config, a->g->environment.config,
	    a->p) == -1)
		return -1;
	policy = w->policy != NULL ? w->policy : a->config.policy;
	a->policy = lease_policy_of(policy);
	a->provider = w->provider != NULL ? w->provider : a->config.provider;
	a->workspace = or_empty(w->workspace);
	a->g->expiry_ms = w->expiry_ms != 0 ? w->expiry_ms :
	    a->config.expiry_ms;
	if (a->policy == LEASE_BY_WORKSPACE && *a->workspace == '\0')
		return refuse(a, PROBLEM_INPUT, "no execution workspace");
	leasing_put_compact(&a->metadata,
	    w->metadata != NULL ? w->metadata : "{}");
	buf_add_char(&a->metadata, '\0');
	return buf_failed(&a->metadata) ? problem_memory(a->p) : 0;
}

#define EXCLUDING_MAX 256	/* active ones of different workspaces */

/* Those that are active and in the way. */
struct excluding {
	char *ids[EXCLUDING_MAX];	/* all, if they are over their deadline */
	size_t n;
	bool busy;			/* one is not */
};

/* 0, or -1 with p. */
static int
find_excluding(struct acquiring *a, struct excluding *x)
{
	int more;

	*x = (struct excluding){ .n = 0 };
	if (!lease_policy_reuses(a->policy))
		return 0;
	if (STORE_RUN(a->s, a->p, "SELECT id, CASE WHEN expires > pc_now() "
	    "THEN 1 ELSE 0 END FROM pc_leases WHERE environment = $1 AND "
	    "policy IN ('reuse_by_environment', "
	    "'reuse_by_execution_workspace') AND status = 'active' AND "
	    "($2 = 'reuse_by_environment' OR "
	    "policy = 'reuse_by_environment' OR workspace = $3)",
	    a->g->environment.id, lease_policy_name(a->policy),
	    a->workspace) == -1)
		return -1;
	while ((more = store_next(a->s, a->p)) == 1 && !x->busy) {
		x->busy = store_number(a->s, 1) == 1 ||
		    x->n == EXCLUDING_MAX;
		if (!x->busy && (x->ids[x->n++] = leasing_keep(a->m,
		    store_text(a->s, 0), a->p)) == NULL)
			return -1;
	}
	return more == -1 ? -1 : 0;
}

/* One that is over its deadline, unless it was renewed this moment. */
static int
expire(struct acquiring *a, const char *id)
{
	struct lease old;
	int found;

	if (STORE_RUN(a->s, a->p, "UPDATE pc_leases SET status = 'expired', "
	    "released = pc_now() WHERE id = $1 AND status = 'active' AND "
	    "expires <= pc_now() RETURNING " LEASE_COLUMNS, id) == -1 ||
	    (found = store_next(a->s, a->p)) == -1)
		return -1;
	if (found == 0)
		return refuse(a, PROBLEM_NO, "held by another");
	if (lease_take_row(a->s, &old, a->m, a->p) == -1)
		return -1;
	return lease_add_activity(a->s, a->c, "environment.lease_expired",
	    &old, a->g->environment.driver, a->p);
}

static int
clear_way(struct acquiring *a)
{
	struct excluding x;
	size_t i;

	if (find_excluding(a, &x) == -1)
		return -1;
	if (x.busy)
		return refuse(a, PROBLEM_NO, "held by another");
	for (i = 0; i < x.n; i++)
		if (expire(a, x.ids[i]) == -1)
			return -1;
	return 0;
}

/* The last one that was given back, if it would do.  1, 0, or -1 with p. */
static int
reuse(struct acquiring *a)
{
	const struct lease_want *w = a->want;
	struct store_digits token = store_digits(a->g->environment.token);
	struct store_digits expiry = store_digits(a->g->expiry_ms);

	if (!lease_policy_reuses(a->policy))
		return 0;
	if (STORE_RUN(a->s, a->p, "UPDATE pc_leases SET status = 'active', "
	    "outcome = '', workspace = $4, issue = $7, run = $8, "
	    "token = CAST($9 AS BIGINT), acquired = pc_now(), "
	    "used = pc_now(), expires = pc_now() + CAST($10 AS BIGINT), "
	    "released = 0, failure = '', provider_lease = "
	    "CASE WHEN $11 = '' THEN provider_lease ELSE $11 END, "
	    "metadata = CASE WHEN $12 = '{}' THEN metadata ELSE $12 END "
	    "WHERE id = (SELECT id FROM pc_leases WHERE company = $1 AND "
	    "environment = $2 AND policy = $3 AND "
	    "($3 = 'reuse_by_environment' OR workspace = $4) AND "
	    "provider = $5 AND fingerprint = $6 AND "
	    "status IN ('released', 'expired') AND cleanup = '' "
	    "ORDER BY used DESC LIMIT 1) AND "
	    "status IN ('released', 'expired') RETURNING " LEASE_COLUMNS,
	    a->c->company, a->g->environment.id,
	    lease_policy_name(a->policy), a->workspace, a->provider,
	    a->g->environment.fingerprint, or_empty(w->issue), a->c->run,
	    token.text, expiry.text, or_empty(w->provider_lease),
	    a->metadata.data) == -1)
		return -1;
	return store_next(a->s, a->p);
}

static int
insert(struct acquiring *a)
{
	const struct lease_want *w = a->want;
	struct store_digits token = store_digits(a->g->environment.token);
	struct store_digits expiry = store_digits(a->g->expiry_ms);
	char id[ID_NEW_SIZE];

	if (id_make(ID_PLAIN, id) == -1)
		return problem_set(a->p, PROBLEM_LATER, "system",
		    "no random numbers");
	if (STORE_RUN(a->s, a->p, "INSERT INTO pc_leases (" LEASE_COLUMNS
	    ") VALUES ($1, $2, $3, $4, $5, $6, 'active', '', $7, $8, $9, "
	    "$10, '', '', $11, CAST($12 AS BIGINT), pc_now(), pc_now(), "
	    "pc_now() + CAST($13 AS BIGINT), 0) RETURNING " LEASE_COLUMNS,
	    id, a->c->company, a->g->environment.id, a->workspace,
	    or_empty(w->issue), a->c->run, lease_policy_name(a->policy),
	    a->provider, or_empty(w->provider_lease),
	    a->g->environment.fingerprint, a->metadata.data, token.text,
	    expiry.text) == -1)
		return -1;
	return store_next(a->s, a->p);
}

static int
give(struct acquiring *a)
{
	int found = reuse(a);

	a->g->reused = found == 1;
	if (found == 0)
		found = insert(a);
	if (found != 1 || lease_take_row(a->s, &a->g->lease, a->m, a->p) ==
	    -1)
		return -1;
	return lease_add_activity(a->s, a->c, "environment.lease_acquired",
	    &a->g->lease, a->g->environment.driver, a->p);
}

/* One transaction: 0; -1 with p. */
static int
acquire(struct acquiring *a)
{
	const struct environment e = a->g->environment;
	int found, result = -1;

	a->g->since = clock_mono_ms();
	if (store_begin(a->s, STORE_WRITE, a->p) == 0 &&
	    (found = take_token(a, e.id)) != -1) {
		if (found == 0)
			/* It was archived meanwhile. */
			(void)refuse(a, PROBLEM_LATER,
			    "it has changed meanwhile");
		else if (complete_want(a) == 0 && clear_way(a) == 0 &&
		    give(a) == 0)
			result = store_commit(a->s, a->p);
	}
	store_rollback(a->s);
	return result;
}

enum lease_result
lease_acquire(struct store *s, const struct caller *c,
    const struct lease_want *want, struct lease_grant *g,
    struct fields_memory *m, struct problem *p)
{
	struct acquiring a = { .s = s, .c = c, .want = want, .g = g, .m = m,
	    .p = p };
	int result = -1;

	if (check_want(want, p) == 0 && environment_resolve(s, c,
	    want->environment, &g->environment, m, p) == 0)
		result = acquire(&a);
	environment_config_free(&a.config);
	buf_free(&a.metadata);
	return result == 0 ? LEASE_TAKEN : p->kind == PROBLEM_NO ?
	    LEASE_BUSY : LEASE_REFUSED;
}

/* Whether it still is in vain to try: 1, 0, or -1 with p. */
static int
is_held(struct acquiring *a)
{
	struct excluding x = { .busy = false };
	int result = -1;

	if (complete_want(a) == 0 &&
	    store_begin(a->s, STORE_READ, a->p) == 0)
		result = find_excluding(a, &x);
	store_rollback(a->s);
	environment_config_free(&a->config);
	buf_free(&a->metadata);
	return result == -1 ? -1 : x.busy;
}

/* Until somebody gives it back, or its deadline has passed. */
static int
wait_held(const struct acquiring *a, int64_t deadline,
    const volatile int *stop)
{
	struct fields_memory mine = { .first = NULL };
	struct acquiring look = *a;
	int64_t pause = LOOK_FIRST_MS, left;
	int held;

	look.m = &mine;
	do {
		left = deadline < 0 ? pause : deadline - clock_mono_ms();
		if (left <= 0 || (stop != NULL && *stop != 0))
			return 1;
		(void)poll(NULL, 0, (int)(left < pause ? left : pause));
		pause = pause * 2 < LOOK_LAST_MS ? pause * 2 : LOOK_LAST_MS;
		held = is_held(&look);
		fields_free(&mine);
	} while (held == 1);
	return held;
}

enum lease_result
lease_acquire_wait(struct store *s, const struct caller *c,
    const struct lease_want *want, int64_t deadline,
    const volatile int *stop, struct lease_grant *g,
    struct fields_memory *m, struct problem *p)
{
	struct acquiring a = { .s = s, .c = c, .want = want, .g = g,
	    .p = p };
	struct problem busy = { .kind = PROBLEM_NONE };
	enum lease_result result;
	int held;

	for (;;) {
		result = lease_acquire(s, c, want, g, m, &busy);
		held = result == LEASE_BUSY ? wait_held(&a, deadline, stop) :
		    1;
		if (held != 0)
			break;
		problem_clear(&busy);
	}
	/* What stopped the waiting counts more than what it waited for. */
	if (held == -1)
		result = LEASE_REFUSED;
	else if (result != LEASE_TAKEN)
		(void)problem_set(p, busy.kind, busy.code, "%s",
		    problem_text(&busy));
	problem_clear(&busy);
	return result;
}
