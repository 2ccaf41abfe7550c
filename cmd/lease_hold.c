/* pc-lease acquire, renew, release, sweep: the steps of a lease's life. */
#include <errno.h>

#include "cli.h"
#include "clock.h"
#include "lease_clean.h"
#include "leasecmd.h"

struct lease_want
lease_want_of(const struct lease_args *a)
{
	return (struct lease_want){
	    .environment = a->n > 0 ? a->operands[0] :
	    environment_choose(a->levels),
	    .workspace = a->workspace, .issue = a->issue,
	    .policy = a->policy, .provider = a->provider,
	    .provider_lease = a->provider_lease, .metadata = a->metadata,
	    .expiry_ms = a->expiry == -1 ? 0 : a->expiry };
}

int64_t
lease_deadline_of(const struct lease_args *a)
{
	return a->wait == -1 ? 0 : a->wait == 0 ? -1 :
	    clock_mono_ms() + a->wait;
}

int
lease_do_acquire(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	const struct lease_want want = lease_want_of(a);
	struct fields_memory m = { .first = NULL };
	struct lease_grant g;
	enum lease_result result;

	result = lease_acquire_wait(x->s, &x->caller, &want,
	    lease_deadline_of(a), NULL, &g, &m, p);
	if (result == LEASE_TAKEN && x->json)
		lease_put_lease(out, &g.lease, g.environment.name,
		    g.reused ? ",\"reused\":true" : ",\"reused\":false");
	else if (result == LEASE_TAKEN)
		lease_show_lease(out, &g.lease, g.environment.name);
	fields_free(&m);
	return result == LEASE_TAKEN ? EXIT_YES : -1;
}

int
lease_do_renew(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	struct fields_memory m = { .first = NULL };
	struct lease l;
	int result;

	if (a->epoch == 0)
		return problem_set(p, PROBLEM_INPUT, "usage",
		    "renew: --epoch N, as acquire gave it");
	result = lease_renew(x->s, &x->caller, a->operands[0],
	    (int64_t)a->epoch, a->expiry == -1 ? 0 : a->expiry,
	    a->metadata, &l, &m, p);
	if (result == 0 && x->json)
		lease_put_lease(out, &l, "", "");
	else if (result == 0)
		lease_show_lease(out, &l, "");
	fields_free(&m);
	return result == 0 ? EXIT_YES : -1;
}

/* --- what has ended --------------------------------------------------------- */

struct ended {
	bool json;
	struct buf done, errors;	/* elements of arrays */
	struct lease_table table;
	int first;			/* exit status of the first that failed */
};

static void
start_ended(struct ended *e, const struct lease_session *x)
{
	static const char *const headings[] = { "LEASE", "STATUS",
	    "CLEAN-UP", "ERROR" };
	size_t i;

	*e = (struct ended){ .json = x->json, .table.columns = 4 };
	for (i = 0; i < e->table.columns && !x->json; i++)
		lease_table_add(&e->table, headings[i]);
}

static void
add_error(struct ended *e, const char *id, const struct problem *p)
{
	if (e->errors.len > 0)
		buf_add_char(&e->errors, ',');
	buf_add_str(&e->errors, "{\"leaseId\":");
	json_put_string(&e->errors, span_of(id));
	buf_add_str(&e->errors, ",\"error\":");
	lease_put_message(&e->errors, p);
	buf_add_char(&e->errors, '}');
}

static const char *
or_empty(const char *text)
{
	return text != NULL ? text : "";
}

static void
add_ended(void *arg, const struct lease *l, const struct problem *p)
{
	struct ended *e = arg;

	if (p != NULL && e->first == 0)
		e->first = lease_status_of_problem(p);
	if (p != NULL && e->json) {
		add_error(e, l->id, p);
	} else if (e->json) {
		if (e->done.len > 0)
			buf_add_char(&e->done, ',');
		json_put_string(&e->done, span_of(l->id));
	} else {
		lease_table_add(&e->table, l->id);
		lease_table_add(&e->table, or_empty(l->status));
		lease_table_add(&e->table, or_empty(l->cleanup));
		lease_table_add(&e->table, p != NULL ? problem_text(p) : "");
	}
}

void
lease_warn_unlogged(void *arg, const struct problem *p)
{
	(void)arg;
	cli_warn("not logged", problem_text(p));
}

/* The result, also of what failed as a whole. */
static void
put_ended(struct ended *e, const char *done, struct buf *out,
    const struct problem *whole)
{
	if (whole != NULL && e->errors.len == 0)
		add_error(e, "*", whole);
	if (e->json) {
		buf_add_char(out, '{');
		json_put_key(out, done);
		buf_add_char(out, '[');
		buf_add_span(out, buf_span(&e->done));
		buf_add_str(out, "],\"errors\":[");
		buf_add_span(out, buf_span(&e->errors));
		buf_add_str(out, "]}\n");
	}
	lease_table_end(&e->table, out);
	if (buf_failed(&e->done) || buf_failed(&e->errors))
		out->failed = true;
	buf_free(&e->done);
	buf_free(&e->errors);
}

/* All of a run, or one; and never only some because of one. */
int
lease_do_release(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	struct ended ended;
	struct lease_release r = { .clean = lease_clean, .each = add_ended,
	    .each_arg = &ended, .warn = lease_warn_unlogged };
	int failed;

	r.end = (struct lease_end){ .status = a->status == NULL ?
	    LEASE_RELEASED : lease_status_of(a->status),
	    .failure = or_empty(a->reason), .token = (int64_t)a->epoch };
	if ((a->n == 0) == (*x->caller.run == '\0') ||
	    (a->n == 0 && a->epoch != 0))
		return problem_set(p, PROBLEM_INPUT, "usage",
		    "release: LEASE, or --run RUN");
	start_ended(&ended, x);
	failed = a->n > 0 ?
	    lease_release(x->s, &x->caller, a->operands[0], &r, p) :
	    lease_release_run(x->s, &x->caller, &r, p);
	put_ended(&ended, "released", out, failed == -1 && a->n == 0 ? p :
	    NULL);
	return failed == -1 ? -1 : failed == 0 ? EXIT_YES : ended.first;
}

int
lease_do_sweep(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	struct ended ended;
	const struct lease_sweep w = { .all_companies = a->all,
	    .retain_ms = a->retained, .release = { .clean = lease_clean,
	    .each = add_ended, .each_arg = &ended,
	    .warn = lease_warn_unlogged } };
	int failed;

	start_ended(&ended, x);
	failed = lease_sweep(x->s, &x->caller, &w, p);
	put_ended(&ended, "ended", out, failed == -1 ? p : NULL);
	return failed == -1 ? -1 : failed == 0 ? EXIT_YES : ended.first;
}
