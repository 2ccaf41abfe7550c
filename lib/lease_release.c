#include "lease_ending.h"

static int
check_end(const struct caller *c, const struct lease_end *end,
    struct problem *p)
{
	if (end->status != LEASE_RELEASED && end->status != LEASE_EXPIRED &&
	    end->status != LEASE_FAILED)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "status: not one of released, expired, failed");
	return leasing_check_caller(c, p);
}

int
lease_release(struct store *s, const struct caller *c, const char *id,
    const struct lease_release *r, struct problem *p)
{
	if (check_end(c, &r->end, p) == -1 ||
	    leasing_check_text("lease", id, LEASING_TEXT_MAX, p) == -1)
		return -1;
	switch (lease_end_one(s, c, id, ENDING_RELEASE, -1, r, p)) {
	case 0:
		return 0;
	case 1:
		return problem_set(p, PROBLEM_LATER, "lease_release_failed",
		    "Failed to release lease \"%s\": it keeps changing", id);
	default:
		return -1;
	}
}

static int
find_active(struct store *s, const struct caller *c, struct lease_ids *ids,
    struct fields_memory *m, struct problem *p)
{
	int result = -1;

	if (store_begin(s, STORE_READ, p) == 0 &&
	    STORE_RUN(s, p, "SELECT id, company FROM pc_leases WHERE "
	    "company = $1 AND run = $2 AND status = 'active' ORDER BY id",
	    c->company, c->run) == 0)
		result = lease_take_ids(s, ids, m, p);
	store_rollback(s);
	return result;
}

int
lease_release_run(struct store *s, const struct caller *c,
    const struct lease_release *r, struct problem *p)
{
	struct problem one = { .kind = PROBLEM_NONE };
	struct fields_memory m = { .first = NULL };
	struct lease_ids ids;
	int failed = -1;
	size_t i;

	if (check_end(c, &r->end, p) == -1)
		return -1;
	if (*c->run == '\0')
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "run: empty");
	if (find_active(s, c, &ids, &m, p) == 0) {
		failed = 0;
		for (i = 0; i < ids.n; i++) {
			if (lease_release(s, c, ids.v[i], r, &one) == -1)
				failed++;
			problem_clear(&one);
		}
	}
	fields_free(&m);
	return failed;
}
