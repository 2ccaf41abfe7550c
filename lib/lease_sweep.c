#include "lease_ending.h"

/* What may be due: the step itself looks again, and at more. */
static int
find_due(struct store *s, const struct caller *c, bool all,
    struct lease_ids *ids, struct fields_memory *m, struct problem *p)
{
	int result = -1;

	if (store_begin(s, STORE_READ, p) == 0 &&
	    STORE_RUN(s, p, "SELECT l.id, l.company FROM pc_leases AS l "
	    "JOIN pc_environments AS e ON e.id = l.environment "
	    "WHERE ($2 = 'all' OR l.company = $1) AND "
	    "((l.status IN ('active', 'pending_cleanup') AND "
	    "l.expires <= pc_now()) OR l.status = 'retained' OR "
	    "(l.status IN ('released', 'expired') AND l.cleanup = '' AND "
	    "l.policy IN ('reuse_by_environment', "
	    "'reuse_by_execution_workspace') AND e.config LIKE '%cleanup%' "
	    "AND (e.status <> 'active' OR e.fingerprint <> l.fingerprint))) "
	    "ORDER BY l.id", c->company, all ? "all" : "") == 0)
		result = lease_take_ids(s, ids, m, p);
	store_rollback(s);
	return result;
}

/* It is one or the other; what is neither is left alone. */
static int
sweep_one(struct store *s, const struct caller *c, const char *id,
    const struct lease_sweep *w, struct problem *p)
{
	int result = lease_end_one(s, c, id, ENDING_EXPIRE, -1, &w->release,
	    p);

	if (result == 1)
		result = lease_end_one(s, c, id, ENDING_CLEAN, w->retain_ms,
		    &w->release, p);
	return result;
}

int
lease_sweep(struct store *s, const struct caller *c,
    const struct lease_sweep *w, struct problem *p)
{
	struct problem one = { .kind = PROBLEM_NONE };
	struct fields_memory m = { .first = NULL };
	struct lease_ids ids;
	struct caller owner = *c;
	int failed = -1;
	size_t i;

	if (leasing_check_caller(c, p) == -1)
		return -1;
	if (find_due(s, c, w->all_companies, &ids, &m, p) == 0) {
		failed = 0;
		for (i = 0; i < ids.n; i++) {
			owner.company = ids.companies[i];
			if (sweep_one(s, &owner, ids.v[i], w, &one) == -1)
				failed++;
			problem_clear(&one);
		}
	}
	fields_free(&m);
	return failed;
}
