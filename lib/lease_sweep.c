#include <string.h>

#include "id.h"
#include "lease_ending.h"

/* What may be due, by id: the step itself looks again, and at more. */
static int
find_due(struct store *s, const struct caller *c, bool all, const char *after,
    struct lease_ids *ids, struct fields_memory *m, struct problem *p)
{
	int result = -1;

	if (store_begin(s, STORE_READ, p) == 0 &&
	    STORE_RUN(s, p, "SELECT l.id, l.company FROM pc_leases AS l "
	    "JOIN pc_environments AS e ON e.id = l.environment "
	    "WHERE ($2 = 'all' OR l.company = $1) AND l.id > $3 AND "
	    "((l.status IN ('active', 'pending_cleanup') AND "
	    "l.expires <= pc_now()) OR l.status = 'retained' OR "
	    "(l.status IN ('released', 'expired') AND l.cleanup = '' AND "
	    "l.policy IN ('reuse_by_environment', "
	    "'reuse_by_execution_workspace') AND e.config LIKE '%cleanup%' "
	    "AND (e.status <> 'active' OR e.fingerprint <> l.fingerprint))) "
	    "ORDER BY l.id", c->company, all ? "all" : "", after) == 0)
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

/* How many failed of those after that id, which is then the last; or -1. */
static int
sweep_some(struct store *s, const struct caller *c,
    const struct lease_sweep *w, char after[static ID_NEW_SIZE], bool *more,
    struct problem *p)
{
	struct problem one = { .kind = PROBLEM_NONE };
	struct fields_memory m = { .first = NULL };
	struct caller owner = *c;
	struct lease_ids ids;
	int failed = -1;
	size_t i;

	*more = false;
	if (find_due(s, c, w->all_companies, after, &ids, &m, p) == 0) {
		failed = 0;
		for (i = 0; i < ids.n; i++) {
			owner.company = ids.companies[i];
			if (sweep_one(s, &owner, ids.v[i], w, &one) == -1)
				failed++;
			problem_clear(&one);
		}
		*more = ids.n == LEASE_IDS_MAX &&
		    strlen(ids.v[i - 1]) < ID_NEW_SIZE;
		if (*more)
			memcpy(after, ids.v[i - 1], strlen(ids.v[i - 1]) + 1);
	}
	fields_free(&m);
	return failed;
}

int
lease_sweep(struct store *s, const struct caller *c,
    const struct lease_sweep *w, struct problem *p)
{
	char after[ID_NEW_SIZE] = "";
	int some, failed = 0;
	bool more = true;

	if (leasing_check_caller(c, p) == -1)
		return -1;
	while (more) {
		some = sweep_some(s, c, w, after, &more, p);
		if (some == -1)
			return -1;
		failed += some;
	}
	return failed;
}
