/* pc-lease list, show, log: what there is, and what happened. */
#include <poll.h>

#include "cli.h"
#include "clock.h"
#include "leasecmd.h"

#define FOLLOW_MS 250		/* between two looks for more */

struct looking {
	struct buf *out;
	struct lease_table table;
	bool json;
	int64_t last;		/* number of an activity */
};

static void
list_one(void *arg, const struct lease *l, const char *environment)
{
	struct looking *k = arg;

	if (k->json) {
		lease_put_lease(k->out, l, environment, "");
		return;
	}
	lease_table_add(&k->table, l->id);
	lease_table_add(&k->table, environment);
	lease_table_add(&k->table, l->status);
	lease_table_add(&k->table, l->run);
	lease_table_add(&k->table, l->workspace);
	lease_table_add_number(&k->table, l->token);
	lease_table_add_time(&k->table, l->expires);
}

int
lease_do_list(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	static const char *const headings[] = { "LEASE", "ENVIRONMENT",
	    "STATUS", "RUN", "WORKSPACE", "EPOCH", "EXPIRES" };
	struct looking k = { .out = out, .table.columns = 7,
	    .json = x->json };
	const struct lease_query q = {
	    .environment = a->env != NULL ? a->env : "",
	    .status = a->status != NULL ? a->status : "",
	    .run = x->caller.run, .each = list_one, .arg = &k };
	int result;
	size_t i;

	if (a->status != NULL &&
	    lease_status_of(a->status) == LEASE_STATUS_NONE)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "status: no such status of a lease");
	for (i = 0; i < k.table.columns && !x->json; i++)
		lease_table_add(&k.table, headings[i]);
	result = lease_list(x->s, &x->caller, &q, p);
	lease_table_end(&k.table, out);
	return result == 0 ? EXIT_YES : -1;
}

int
lease_do_show(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	struct fields_memory m = { .first = NULL };
	struct environment e;
	struct lease l;
	int result = -1;

	if (lease_find(x->s, &x->caller, a->operands[0], &l, &m, p) == 0 &&
	    environment_find(x->s, &x->caller, l.environment, &e, &m, p) ==
	    0) {
		if (x->json)
			lease_put_lease(out, &l, e.name, "");
		else
			lease_show_lease(out, &l, e.name);
		result = EXIT_YES;
	}
	fields_free(&m);
	return result;
}

/* --- the log ---------------------------------------------------------------- */

static void
log_one(void *arg, const struct activity *a)
{
	struct looking *k = arg;

	k->last = a->number;
	if (k->json) {
		lease_put_activity(k->out, a);
		return;
	}
	lease_table_add_time(&k->table, a->at);
	lease_table_add(&k->table, a->action);
	lease_table_add(&k->table, a->entity);
	lease_table_add(&k->table, a->run);
	lease_table_add(&k->table, a->actor);
}

static int
read_log(struct lease_session *x, struct activity_query *q,
    struct looking *k, struct problem *p)
{
	int result;

	k->table = (struct lease_table){ .columns = 5 };
	q->after = k->last;
	result = activity_read(x->s, q, p);
	lease_table_end(&k->table, k->out);
	return result;
}

int
lease_do_log(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	struct looking k = { .out = out, .json = x->json };
	struct activity_query q = { .company = x->caller.company,
	    .since_ms = a->since, .max = a->max, .each = log_one,
	    .arg = &k };
	int result;

	if (a->follow && x->batch)
		return problem_set(p, PROBLEM_INPUT, "usage",
		    "--follow: not in a batch");
	result = read_log(x, &q, &k, p);
	while (result == 0 && a->follow && !buf_failed(out)) {
		cli_out(buf_span(out));
		buf_reset(out, 65536);
		(void)poll(NULL, 0, FOLLOW_MS);
		q.since_ms = -1;
		q.max = 0;
		result = read_log(x, &q, &k, p);
	}
	return result == 0 ? EXIT_YES : -1;
}
