/* What the steps of a lease share: its row, its log, and looking at it. */
#include "leasing.h"

int
lease_take_row(struct store *s, struct lease *l, struct fields_memory *m,
    struct problem *p)
{
	char **texts[] = { &l->id, &l->company, &l->environment,
	    &l->workspace, &l->issue, &l->run, &l->status, &l->outcome,
	    &l->policy, &l->provider, &l->provider_lease, &l->fingerprint,
	    &l->failure, &l->cleanup, &l->metadata };
	const int n = sizeof(texts) / sizeof(texts[0]);
	int i;

	for (i = 0; i < n; i++)
		if ((*texts[i] = leasing_keep(m, store_text(s, i), p)) ==
		    NULL)
			return -1;
	l->token = store_number(s, n);
	l->acquired = store_number(s, n + 1);
	l->used = store_number(s, n + 2);
	l->expires = store_number(s, n + 3);
	l->released = store_number(s, n + 4);
	return 0;
}

static void
put_details(struct buf *out, const struct lease *l, const char *driver)
{
	buf_add_char(out, '{');
	leasing_put_text(out, "environmentId", l->environment);
	leasing_put_text(out, "driver", driver);
	leasing_put_text(out, "leasePolicy", l->policy);
	leasing_put_text(out, "provider", l->provider);
	leasing_put_text(out, "executionWorkspaceId", l->workspace);
	leasing_put_text(out, "issueId", l->issue);
	json_put_key(out, "epoch");
	buf_add_int(out, l->token);
	if (lease_status_of(l->status) != LEASE_ACTIVE) {
		leasing_put_text(out, "status", l->status);
		leasing_put_text(out, "cleanupStatus", l->cleanup);
		leasing_put_text(out, "failureReason", l->failure);
	}
	buf_add_char(out, '}');
	buf_add_char(out, '\0');
}

int
lease_add_activity(struct store *s, const struct caller *c,
    const char *action, const struct lease *l, const char *driver,
    struct problem *p)
{
	struct buf details = { 0 };
	int result;

	put_details(&details, l, driver);
	result = buf_failed(&details) ? problem_memory(p) :
	    activity_add(s, &(struct activity){ .company = l->company,
	    .actor = c->actor, .run = l->run, .action = action,
	    .kind = "lease", .entity = l->id, .details = details.data }, p);
	buf_free(&details);
	return result;
}

int
lease_find(struct store *s, const struct caller *c, const char *id,
    struct lease *l, struct fields_memory *m, struct problem *p)
{
	int found = -1;

	if (leasing_check_caller(c, p) == 0 &&
	    leasing_check_text("lease", id, LEASING_TEXT_MAX, p) == 0 &&
	    store_begin(s, STORE_READ, p) == 0 &&
	    STORE_RUN(s, p, "SELECT " LEASE_COLUMNS " FROM pc_leases "
	    "WHERE company = $1 AND id = $2", c->company, id) == 0)
		found = store_next(s, p);
	if (found == 1 && lease_take_row(s, l, m, p) == -1)
		found = -1;
	store_rollback(s);
	if (found == 0)
		return problem_set(p, PROBLEM_INPUT, "lease_not_found",
		    "Lease \"%s\" not found.", id);
	return found == 1 ? 0 : -1;
}

static int
list_rows(struct store *s, const struct lease_query *q, struct problem *p)
{
	struct fields_memory m = { .first = NULL };
	struct lease l;
	int more;

	while ((more = store_next(s, p)) == 1) {
		if (lease_take_row(s, &l, &m, p) == -1)
			more = -1;
		else
			q->each(q->arg, &l, store_text(s,
			    LEASE_COLUMNS_END));
		fields_free(&m);
		if (more == -1)
			break;
	}
	return more;
}

int
lease_list(struct store *s, const struct caller *c,
    const struct lease_query *q, struct problem *p)
{
	int result = -1;

	if (leasing_check_caller(c, p) == 0 &&
	    leasing_check_text("environment", q->environment,
	    LEASING_TEXT_MAX, p) == 0 &&
	    leasing_check_text("run", q->run, LEASING_TEXT_MAX, p) == 0 &&
	    store_begin(s, STORE_READ, p) == 0 &&
	    STORE_RUN(s, p, "SELECT " LEASE_COLUMNS ", (SELECT name FROM "
	    "pc_environments AS e WHERE e.id = environment) "
	    "FROM pc_leases WHERE company = $1 AND "
	    "($2 = '' OR environment IN (SELECT id FROM pc_environments "
	    "WHERE company = $1 AND (id = $2 OR name = $2))) AND "
	    "($3 = '' OR status = $3) AND ($4 = '' OR run = $4) "
	    "ORDER BY id", c->company, q->environment, q->status,
	    q->run) == 0)
		result = list_rows(s, q, p);
	store_rollback(s);
	return result;
}
