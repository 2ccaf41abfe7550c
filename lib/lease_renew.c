#include <string.h>

#include "leasing.h"

struct renewing {
	struct store *s;
	const struct caller *c;
	const char *id, *metadata;
	int64_t token, expiry_ms;
	struct lease *l;
	struct fields_memory *m;
	struct problem *p;
};

/* The lease as it is: 1, 0, or -1 with p. */
static int
look(struct renewing *r)
{
	int found;

	if (STORE_RUN(r->s, r->p, "SELECT " LEASE_COLUMNS " FROM pc_leases "
	    "WHERE company = $1 AND id = $2", r->c->company, r->id) == -1)
		return -1;
	found = store_next(r->s, r->p);
	if (found == 1 && lease_take_row(r->s, r->l, r->m, r->p) == -1)
		return -1;
	return found;
}

/* Why it could not be renewed. */
static int
refuse(struct renewing *r)
{
	const char *why = "its time was up";
	int found = look(r);

	if (found == -1)
		return -1;
	if (found == 0)
		return problem_set(r->p, PROBLEM_INPUT, "lease_not_found",
		    "Lease \"%s\" not found.", r->id);
	if (r->l->token != r->token)
		why = "another has had it since";
	else if (lease_status_of(r->l->status) != LEASE_ACTIVE)
		why = r->l->status;
	return problem_set(r->p, PROBLEM_NO, "lease_lost",
	    "Lease \"%s\" is lost: %s", r->id, why);
}

/* What the metadata will be: "" is as it is. */
static int
merge(struct renewing *r, struct buf *out)
{
	struct buf merged = { 0 };
	int found, result = 0;

	if (r->metadata != NULL) {
		if ((found = look(r)) == -1)
			return -1;
		if (found == 1 && leasing_merge_json(&merged,
		    r->l->metadata, r->metadata) == -1)
			result = problem_memory(r->p);
		buf_add_char(&merged, '\0');
		if (found == 1 && result == 0)
			leasing_put_compact(out, merged.data);
		buf_free(&merged);
		if (out->len > LEASING_JSON_MAX)
			return problem_set(r->p, PROBLEM_INPUT,
			    "invalid_input", "metadata: longer than %d bytes",
			    LEASING_JSON_MAX);
	}
	buf_add_char(out, '\0');
	return buf_failed(out) ? problem_memory(r->p) : result;
}

static int
renew(struct renewing *r)
{
	struct store_digits token = store_digits(r->token);
	struct store_digits expiry = store_digits(r->expiry_ms);
	struct buf metadata = { 0 };
	int found = -1;

	if (merge(r, &metadata) == 0 && STORE_RUN(r->s, r->p,
	    "UPDATE pc_leases SET used = pc_now(), "
	    "expires = pc_now() + CASE WHEN $4 = '0' THEN expires - used "
	    "ELSE CAST($4 AS BIGINT) END, "
	    "metadata = CASE WHEN $5 = '' THEN metadata ELSE $5 END "
	    "WHERE company = $1 AND id = $2 AND token = CAST($3 AS BIGINT) "
	    "AND status = 'active' AND expires > pc_now() "
	    "RETURNING " LEASE_COLUMNS, r->c->company, r->id, token.text,
	    expiry.text, metadata.data) == 0)
		found = store_next(r->s, r->p);
	buf_free(&metadata);
	if (found == 0)
		return refuse(r);
	return found == 1 ? lease_take_row(r->s, r->l, r->m, r->p) : -1;
}

int
lease_renew(struct store *s, const struct caller *c, const char *id,
    int64_t token, int64_t expiry_ms, const char *metadata, struct lease *l,
    struct fields_memory *m, struct problem *p)
{
	struct renewing r = { .s = s, .c = c, .id = id, .metadata = metadata,
	    .token = token, .expiry_ms = expiry_ms, .l = l, .m = m, .p = p };
	int result = -1;

	if (leasing_check_caller(c, p) == -1 ||
	    leasing_check_text("lease", id, LEASING_TEXT_MAX, p) == -1 ||
	    (metadata != NULL &&
	    leasing_check_object("metadata", metadata, p) == -1))
		return -1;
	if (expiry_ms != 0 && expiry_ms < LEASE_EXPIRY_MIN_MS)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "expiry: under a second");
	if (store_begin(s, STORE_WRITE, p) == 0 && renew(&r) == 0)
		result = store_commit(s, p);
	store_rollback(s);
	return result;
}
