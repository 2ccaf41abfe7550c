#include "activity.h"

int
activity_add(struct store *s, const struct activity *a, struct problem *p)
{
	return STORE_RUN(s, p, "INSERT INTO pc_activities (at, company, "
	    "actor, run, action, kind, entity, details) VALUES "
	    "(pc_now(), $1, $2, $3, $4, $5, $6, $7)",
	    a->company, a->actor, a->run, a->action, a->kind, a->entity,
	    a->details);
}

int
activity_log(struct store *s, const struct activity *a, struct problem *p)
{
	if (store_begin(s, STORE_WRITE, p) == 0 &&
	    activity_add(s, a, p) == 0 && store_commit(s, p) == 0)
		return 0;
	store_rollback(s);
	return -1;
}

static int
read_rows(struct store *s, const struct activity_query *q, struct problem *p)
{
	int more;

	while ((more = store_next(s, p)) == 1)
		q->each(q->arg, &(struct activity){
		    .number = store_number(s, 0), .at = store_number(s, 1),
		    .company = store_text(s, 2), .actor = store_text(s, 3),
		    .run = store_text(s, 4), .action = store_text(s, 5),
		    .kind = store_text(s, 6), .entity = store_text(s, 7),
		    .details = store_text(s, 8) });
	return more;
}

int
activity_read(struct store *s, const struct activity_query *q,
    struct problem *p)
{
	struct store_digits after = store_digits(q->after);
	struct store_digits since = store_digits(q->since_ms);
	struct store_digits max = store_digits(q->max == 0 ||
	    q->max > INT64_MAX ? INT64_MAX : (int64_t)q->max);
	int result = -1;

	if (store_begin(s, STORE_READ, p) == 0 &&
	    store_settle(s, "pc_activities", p) == 0 &&
	    STORE_RUN(s, p, "SELECT number, at, company, actor, run, action, "
	    "kind, entity, details FROM (SELECT * FROM pc_activities "
	    "WHERE company = $1 AND number > CAST($2 AS BIGINT) AND "
	    "(CAST($3 AS BIGINT) < 0 OR "
	    "at >= pc_now() - CAST($3 AS BIGINT)) "
	    "ORDER BY number DESC LIMIT CAST($4 AS BIGINT)) AS latest "
	    "ORDER BY number", q->company, after.text, since.text,
	    max.text) == 0)
		result = read_rows(s, q, p);
	store_rollback(s);
	return result;
}
