#include <string.h>

#include "lease_ending.h"

#define CLAIM_SPARE_MS	30000	/* after a clean-up's own time limit */

/* One lease on its way; the memory is that of its rows. */
struct ending {
	struct store *s;
	const struct caller *c;
	const char *id;
	enum lease_ending_kind kind;
	int64_t retain_ms;
	const struct lease_release *r;
	struct problem *p;
	struct fields_memory m;
	struct lease l;
	struct environment e;
	struct environment_config config;
	int64_t now;
};

/* What a step makes of a row; expires is what the row must have, -1: any. */
struct change {
	enum lease_status to;
	const char *outcome, *failure, *cleanup;
	int64_t expires, claim_ms;
	const char *action;	/* logged; or NULL */
};

static int
no_such_lease(struct ending *x)
{
	return problem_set(x->p, PROBLEM_INPUT, "lease_not_found",
	    "Lease \"%s\" not found.", x->id);
}

static int
load(struct ending *x)
{
	int found;

	if (STORE_RUN(x->s, x->p, "SELECT " LEASE_COLUMNS ", pc_now() "
	    "FROM pc_leases WHERE company = $1 AND id = $2", x->c->company,
	    x->id) == -1 || (found = store_next(x->s, x->p)) == -1)
		return -1;
	if (found == 0)
		return no_such_lease(x);
	x->now = store_number(x->s, LEASE_COLUMNS_END);
	if (lease_take_row(x->s, &x->l, &x->m, x->p) == -1 ||
	    STORE_RUN(x->s, x->p, "SELECT " ENVIRONMENT_COLUMNS
	    " FROM pc_environments WHERE id = $1", x->l.environment) == -1 ||
	    store_next(x->s, x->p) != 1 ||
	    environment_take_row(x->s, &x->e, &x->m, x->p) == -1)
		return -1;
	environment_config_free(&x->config);
	return environment_config_read(&x->config, x->e.config, x->p);
}

/* --- what is to become of it ------------------------------------------------ */

static int
decide_release(struct ending *x, struct change *to)
{
	const struct lease_end *end = &x->r->end;
	enum lease_status now = lease_status_of(x->l.status);
	bool cleans = environment_config_has_cleanup(&x->config);

	if (end->token != 0 && end->token != x->l.token)
		return problem_set(x->p, PROBLEM_NO, "lease_lost",
		    "Lease \"%s\" is lost: another has had it since", x->id);
	if (!lease_status_is_held(now))
		return problem_set(x->p, PROBLEM_NO, "lease_release_failed",
		    "Failed to release lease \"%s\": not active (status: %s)",
		    x->id, x->l.status);
	to->to = now == LEASE_RETAINED ?
	    (cleans ? LEASE_PENDING_CLEANUP : end->status) :
	    lease_status_after(lease_policy_of(x->l.policy), end->status,
	    cleans);
	to->outcome = lease_status_name(end->status);
	to->failure = end->failure;
	to->action = "environment.lease_released";
	return 0;
}

/* 0, or 1 when it was renewed, or ended, meanwhile. */
static int
decide_expire(struct ending *x, struct change *to)
{
	if (lease_status_of(x->l.status) != LEASE_ACTIVE ||
	    x->l.expires > x->now)
		return 1;
	to->to = lease_status_after(lease_policy_of(x->l.policy),
	    LEASE_EXPIRED, environment_config_has_cleanup(&x->config));
	to->outcome = lease_status_name(LEASE_EXPIRED);
	to->failure = "not renewed in time";
	to->expires = x->l.expires;
	to->action = "environment.lease_expired";
	return 0;
}

/* What would be used again, were its environment still the same. */
static bool
is_stale(const struct ending *x)
{
	return lease_policy_reuses(lease_policy_of(x->l.policy)) &&
	    *x->l.cleanup == '\0' &&
	    environment_config_has_cleanup(&x->config) &&
	    (strcmp(x->e.status, "active") != 0 ||
	    strcmp(x->e.fingerprint, x->l.fingerprint) != 0);
}

static int
decide_clean(struct ending *x, struct change *to)
{
	int64_t retain = x->retain_ms != -1 ? x->retain_ms :
	    x->config.retain_ms;

	to->outcome = x->l.outcome;
	switch (lease_status_of(x->l.status)) {
	case LEASE_PENDING_CLEANUP:
		if (x->l.expires > x->now)
			return 1;	/* somebody is at it */
		break;
	case LEASE_RETAINED:
		/* 0 is for ever in an environment, and at once by hand. */
		if (x->now - x->l.released < retain ||
		    (retain == 0 && x->retain_ms == -1))
			return 1;
		break;
	case LEASE_RELEASED:
	case LEASE_EXPIRED:
		if (!is_stale(x))
			return 1;
		to->outcome = x->l.status;
		break;
	default:
		return 1;
	}
	to->to = environment_config_has_cleanup(&x->config) ?
	    LEASE_PENDING_CLEANUP : lease_status_of(to->outcome);
	to->failure = "";
	to->expires = x->l.expires;
	return 0;
}

static int
decide(struct ending *x, struct change *to)
{
	*to = (struct change){ .cleanup = "", .expires = -1 };
	switch (x->kind) {
	case ENDING_RELEASE:
		return decide_release(x, to);
	case ENDING_EXPIRE:
		return decide_expire(x, to);
	default:
		return decide_clean(x, to);
	}
}

/* --- doing it --------------------------------------------------------------- */

/* 0; 1 when the row has changed meanwhile; -1 with p. */
static int
change_row(struct ending *x, const struct change *to)
{
	struct store_digits token = store_digits(x->l.token);
	struct store_digits was = store_digits(to->expires);
	struct store_digits claim = store_digits(to->claim_ms);
	struct buf failure = { 0 };
	int found = -1;

	leasing_put_cut(&failure, to->failure, LEASING_REASON_MAX);
	buf_add_char(&failure, '\0');
	if (buf_failed(&failure))
		(void)problem_memory(x->p);
	else if (STORE_RUN(x->s, x->p, "UPDATE pc_leases SET status = $4, "
	    "outcome = $5, "
	    "failure = CASE WHEN $6 = '' THEN failure ELSE $6 END, "
	    "cleanup = $7, released = "
	    "CASE WHEN released = 0 THEN pc_now() ELSE released END, "
	    "expires = CASE WHEN $4 = 'pending_cleanup' "
	    "THEN pc_now() + CAST($8 AS BIGINT) ELSE expires END "
	    "WHERE id = $1 AND status = $2 AND token = CAST($3 AS BIGINT) "
	    "AND (CAST($9 AS BIGINT) < 0 OR expires = CAST($9 AS BIGINT)) "
	    "RETURNING " LEASE_COLUMNS, x->l.id, x->l.status, token.text,
	    lease_status_name(to->to), to->outcome, failure.data,
	    to->cleanup, claim.text, was.text) == 0)
		found = store_next(x->s, x->p);
	buf_free(&failure);
	if (found == 1)
		return lease_take_row(x->s, &x->l, &x->m, x->p);
	return found == 0 ? 1 : -1;
}

/* As change_row, with its line in the log, if it is to have one. */
static int
change_and_log(struct ending *x, const struct change *to, bool log,
    bool *log_failed)
{
	int result = change_row(x, to);

	if (result != 0 || to->action == NULL || !log)
		return result;
	if (lease_add_activity(x->s, x->c, to->action, &x->l, x->e.driver,
	    x->p) == 0)
		return 0;
	*log_failed = true;
	return -1;
}

static int
first_step(struct ending *x, bool log, bool *log_failed)
{
	struct change to;
	int result;

	if (load(x) == -1)
		return -1;
	if ((result = decide(x, &to)) != 0)
		return result;
	if (to.to == LEASE_PENDING_CLEANUP) {
		to.cleanup = "pending";
		to.claim_ms = x->config.cleanup_ms + CLAIM_SPARE_MS;
	}
	return change_and_log(x, &to, log, log_failed);
}

/* What came of the clean-up; another may have begun it again by then. */
static int
last_step(struct ending *x, bool done, bool log, bool *log_failed)
{
	const struct change to = {
	    .to = done ? lease_status_of(x->l.outcome) :
	    LEASE_PENDING_CLEANUP,
	    .outcome = x->l.outcome, .failure = "",
	    .cleanup = done ? "success" : "failed",
	    .expires = x->l.expires,
	    .action = done ? "environment.lease_cleaned" :
	    "environment.lease_cleanup_failed" };

	return change_and_log(x, &to, log, log_failed);
}

enum step { STEP_FIRST, STEP_CLEANED, STEP_NOT_CLEANED };

static int
try_step(struct ending *x, enum step step, bool log, bool *log_failed)
{
	int result = -1;

	if (store_begin(x->s, STORE_WRITE, x->p) == 0)
		result = step == STEP_FIRST ?
		    first_step(x, log, log_failed) :
		    last_step(x, step == STEP_CLEANED, log, log_failed);
	if (result == 0)
		result = store_commit(x->s, x->p);
	store_rollback(x->s);
	return result;
}

/* A line that cannot be logged does not keep a lease from ending. */
static int
take_step(struct ending *x, enum step step)
{
	struct problem *p = x->p, unlogged = { .kind = PROBLEM_NONE };
	struct lease before = x->l;
	bool failed = false;
	int result;

	x->p = &unlogged;
	result = try_step(x, step, true, &failed);
	x->p = p;
	if (result == -1 && failed) {
		x->l = before;
		result = try_step(x, step, false, &failed);
		if (result == 0 && x->r->warn != NULL)
			x->r->warn(x->r->each_arg, &unlogged);
	} else if (result == -1) {
		(void)problem_set(p, unlogged.kind, unlogged.code, "%s",
		    problem_text(&unlogged));
	}
	problem_clear(&unlogged);
	return result;
}

static int
clean_up(struct ending *x)
{
	struct problem *p = x->p, why = { .kind = PROBLEM_NONE };
	bool done;

	done = x->r->clean(x->r->arg, &x->e, &x->config, &x->l, &why) == 0;
	if (take_step(x, done ? STEP_CLEANED : STEP_NOT_CLEANED) != -1 &&
	    !done)
		(void)problem_set(p, PROBLEM_LATER, "lease_cleanup_failed",
		    "Failed to clean up lease \"%s\": %s", x->id,
		    problem_text(&why));
	problem_clear(&why);
	return done && p->kind == PROBLEM_NONE ? 0 : -1;
}

int
lease_end_one(struct store *s, const struct caller *c, const char *id,
    enum lease_ending_kind kind, int64_t retain_ms,
    const struct lease_release *r, struct problem *p)
{
	static char none[] = "";
	struct ending x = { .s = s, .c = c, .id = id, .kind = kind,
	    .retain_ms = retain_ms, .r = r, .p = p };
	char *copy;
	int result;

	result = take_step(&x, STEP_FIRST);
	/* A release that was overtaken by a renewal finds it renewed. */
	if (result == 1 && kind == ENDING_RELEASE)
		result = take_step(&x, STEP_FIRST);
	if (result == 0 && strcmp(x.l.cleanup, "pending") == 0)
		result = clean_up(&x);
	if (result == -1 && x.l.id == NULL) {
		copy = leasing_keep(&x.m, id, p);
		x.l = (struct lease){ .id = copy != NULL ? copy : none };
	}
	if (result != 1 && r->each != NULL)
		r->each(r->each_arg, &x.l, result == -1 ? p : NULL);
	environment_config_free(&x.config);
	fields_free(&x.m);
	return result;
}

int
lease_take_ids(struct store *s, struct lease_ids *ids,
    struct fields_memory *m, struct problem *p)
{
	int more = 1;

	*ids = (struct lease_ids){ .n = 0 };
	ids->v = fields_alloc(m, LEASE_IDS_MAX * sizeof(*ids->v));
	ids->companies = fields_alloc(m, LEASE_IDS_MAX * sizeof(*ids->v));
	if (ids->v == NULL || ids->companies == NULL)
		return problem_memory(p);
	while (ids->n < LEASE_IDS_MAX && (more = store_next(s, p)) == 1) {
		ids->v[ids->n] = leasing_keep(m, store_text(s, 0), p);
		ids->companies[ids->n] = leasing_keep(m, store_text(s, 1), p);
		if (ids->v[ids->n] == NULL || ids->companies[ids->n] == NULL)
			return -1;
		ids->n++;
	}
	return more == -1 ? -1 : 0;
}
