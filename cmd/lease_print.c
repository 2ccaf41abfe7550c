#include "cli.h"
#include "clock.h"
#include "leasecmd.h"
#include "leasing.h"

/* --- tables ----------------------------------------------------------------- */

void
lease_table_add(struct lease_table *t, const char *cell)
{
	cli_put_escaped(&t->cells, *cell == '\0' ? "-" : cell);
	buf_add_char(&t->cells, '\0');
	t->n++;
}

void
lease_table_add_time(struct lease_table *t, int64_t wall_ms)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(wall_ms, text);
	lease_table_add(t, wall_ms == 0 ? "" : text);
}

void
lease_table_add_number(struct lease_table *t, int64_t number)
{
	lease_table_add(t, store_digits(number).text);
}

static size_t
width_of(const struct lease_table *t, size_t column)
{
	const char *cell = t->cells.data;
	size_t i, width = 0;

	for (i = 0; i < t->n; i++, cell += strlen(cell) + 1)
		if (i % t->columns == column && strlen(cell) > width)
			width = strlen(cell);
	return width;
}

#define COLUMNS_MAX 8

void
lease_table_end(struct lease_table *t, struct buf *out)
{
	const char *cell = t->cells.data;
	size_t widths[COLUMNS_MAX] = { 0 }, i, n;

	if (buf_failed(&t->cells)) {
		out->failed = true;
		buf_free(&t->cells);
		return;
	}
	for (i = 0; i < t->columns; i++)
		widths[i] = width_of(t, i);
	for (i = 0; i < t->n; i++, cell += n + 1) {
		n = strlen(cell);
		buf_add(out, cell, n);
		if (i % t->columns == t->columns - 1) {
			buf_add_char(out, '\n');
			continue;
		}
		for (; n < widths[i % t->columns] + 2; n++)
			buf_add_char(out, ' ');
		n = strlen(cell);
	}
	buf_free(&t->cells);
}

/* --- JSON ------------------------------------------------------------------- */

static void
put_time(struct buf *out, const char *key, int64_t wall_ms)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(wall_ms, text);
	leasing_put_text(out, key, wall_ms == 0 ? "" : text);
}

void
lease_put_lease(struct buf *out, const struct lease *l,
    const char *environment, const char *more)
{
	buf_add_char(out, '{');
	leasing_put_text(out, "id", l->id);
	leasing_put_text(out, "company", l->company);
	leasing_put_text(out, "environmentId", l->environment);
	leasing_put_text(out, "environment", environment);
	leasing_put_text(out, "executionWorkspaceId", l->workspace);
	leasing_put_text(out, "issueId", l->issue);
	leasing_put_text(out, "runId", l->run);
	leasing_put_text(out, "status", l->status);
	leasing_put_text(out, "policy", l->policy);
	leasing_put_text(out, "provider", l->provider);
	leasing_put_text(out, "providerLeaseId", l->provider_lease);
	json_put_key(out, "epoch");
	buf_add_int(out, l->token);
	put_time(out, "acquiredAt", l->acquired);
	put_time(out, "lastUsedAt", l->used);
	put_time(out, "expiresAt", l->expires);
	put_time(out, "releasedAt", l->released);
	leasing_put_text(out, "failureReason", l->failure);
	leasing_put_text(out, "cleanupStatus", l->cleanup);
	json_put_key(out, "metadata");
	buf_add_str(out, l->metadata);
	buf_add_str(out, more);
	buf_add_str(out, "}\n");
}

void
lease_put_environment(struct buf *out, const struct environment *e)
{
	buf_add_char(out, '{');
	leasing_put_text(out, "id", e->id);
	leasing_put_text(out, "company", e->company);
	leasing_put_text(out, "name", e->name);
	leasing_put_text(out, "driver", e->driver);
	leasing_put_text(out, "status", e->status);
	json_put_key(out, "default");
	buf_add_str(out, e->is_default ? "true" : "false");
	leasing_put_text(out, "fingerprint", e->fingerprint);
	put_time(out, "createdAt", e->created);
	put_time(out, "updatedAt", e->updated);
	json_put_key(out, "config");
	buf_add_str(out, e->config);
	buf_add_str(out, "}\n");
}

void
lease_put_activity(struct buf *out, const struct activity *a)
{
	buf_add_char(out, '{');
	json_put_key(out, "number");
	buf_add_int(out, a->number);
	put_time(out, "time", a->at);
	leasing_put_text(out, "company", a->company);
	leasing_put_text(out, "actor", a->actor);
	leasing_put_text(out, "runId", a->run);
	leasing_put_text(out, "action", a->action);
	leasing_put_text(out, "entityType", a->kind);
	leasing_put_text(out, "entityId", a->entity);
	json_put_key(out, "details");
	buf_add_str(out, a->details);
	buf_add_str(out, "}\n");
}

/* --- one at a time ---------------------------------------------------------- */

static void
add_pair(struct lease_table *t, const char *name, const char *value)
{
	lease_table_add(t, name);
	lease_table_add(t, value);
}

static void
add_pair_time(struct lease_table *t, const char *name, int64_t wall_ms)
{
	lease_table_add(t, name);
	lease_table_add_time(t, wall_ms);
}

void
lease_show_lease(struct buf *out, const struct lease *l,
    const char *environment)
{
	struct lease_table t = { .columns = 2 };

	add_pair(&t, "lease", l->id);
	add_pair(&t, "environment", environment);
	add_pair(&t, "status", l->status);
	add_pair(&t, "epoch", store_digits(l->token).text);
	add_pair(&t, "policy", l->policy);
	add_pair(&t, "workspace", l->workspace);
	add_pair(&t, "issue", l->issue);
	add_pair(&t, "run", l->run);
	add_pair(&t, "provider", l->provider);
	add_pair(&t, "provider lease", l->provider_lease);
	add_pair_time(&t, "acquired", l->acquired);
	add_pair_time(&t, "last used", l->used);
	add_pair_time(&t, "expires", l->expires);
	add_pair_time(&t, "released", l->released);
	add_pair(&t, "failure", l->failure);
	add_pair(&t, "clean-up", l->cleanup);
	add_pair(&t, "metadata", l->metadata);
	lease_table_end(&t, out);
}

void
lease_show_environment(struct buf *out, const struct environment *e)
{
	struct lease_table t = { .columns = 2 };

	add_pair(&t, "environment", e->id);
	add_pair(&t, "name", e->name);
	add_pair(&t, "driver", e->driver);
	add_pair(&t, "status", e->status);
	add_pair(&t, "default", e->is_default ? "yes" : "no");
	add_pair_time(&t, "created", e->created);
	add_pair_time(&t, "updated", e->updated);
	add_pair(&t, "config", e->config);
	lease_table_end(&t, out);
}
