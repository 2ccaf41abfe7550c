/*
 * PostgreSQL, by libpq: statements are prepared on the server, and nothing
 * but parameters ever varies.  Answers are waited for with poll(2), so that a
 * server that hangs cannot hold a holder beyond its lease.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <postgresql/libpq-fe.h>

#include "clock.h"
#include "store_kinds.h"

#define LOCK_NUMBER "8095017326119"	/* of who changes the schema */

struct pg {
	struct store store;
	PGconn *connection;
	const char *statements[STORE_STATEMENTS_MAX];	/* prepared, by number */
	size_t n;
	PGresult *result;	/* NULL, or what is being read */
	int row;		/* of it; -1 before the first */
	bool open;		/* a transaction */
	bool lost;		/* it answers no more */
};

static struct pg *
self(struct store *s)
{
	return (struct pg *)s;
}

static void
ignore_notice(void *arg, const char *text)
{
	(void)arg;
	(void)text;
}

static bool
is_lost(const struct pg *g)
{
	return g->lost || PQstatus(g->connection) != CONNECTION_OK;
}

static int
fail(struct pg *g, const PGresult *result, struct problem *p)
{
	const char *text = result == NULL ? NULL :
	    PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (text == NULL)
		text = PQerrorMessage(g->connection);
	if (text == NULL || *text == '\0')
		text = "the connection was lost";
	return store_problem(&g->store, p, PROBLEM_LATER, text);
}

static void
forget_result(struct pg *g)
{
	PQclear(g->result);
	g->result = NULL;
}

/*
 * Until the answer is there: 0, or -1 with p.  One that could not be read may
 * come yet, and would be taken for the next one's: nothing more is asked.
 */
static int
wait_answer(struct pg *g, struct problem *p)
{
	int64_t deadline = clock_mono_ms() + g->store.wait_ms;
	struct pollfd fd = { .fd = PQsocket(g->connection),
	    .events = POLLIN };
	int n;

	while (PQisBusy(g->connection)) {
		n = poll(&fd, 1, clock_poll_timeout(deadline));
		if (n == -1 && errno == EINTR)
			continue;
		if (n == 1 && PQconsumeInput(g->connection) == 1)
			continue;
		g->lost = true;
		return n == 1 ? fail(g, NULL, p) : store_problem(&g->store, p,
		    PROBLEM_LATER, n == 0 ? "no answer in time" :
		    strerror(errno));
	}
	return 0;
}

/* What the statement that was sent gives, in g->result. */
static int
take_answer(struct pg *g, struct problem *p)
{
	ExecStatusType status;
	PGresult *more;

	if (wait_answer(g, p) == -1)
		return -1;
	g->result = PQgetResult(g->connection);
	g->row = -1;
	while (wait_answer(g, p) == 0 &&
	    (more = PQgetResult(g->connection)) != NULL)
		PQclear(more);
	status = PQresultStatus(g->result);
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return p->kind == PROBLEM_NONE ? 0 : -1;
	(void)fail(g, g->result, p);
	forget_result(g);
	return -1;
}

static int
run_plain(struct pg *g, const char *sql, struct problem *p)
{
	forget_result(g);
	if (!PQsendQuery(g->connection, sql))
		return fail(g, NULL, p);
	return take_answer(g, p);
}

/* The number of a prepared statement, or -1. */
static int
prepare(struct pg *g, const char *sql, char name[static 16],
    struct problem *p)
{
	size_t i;

	for (i = 0; i < g->n && g->statements[i] != sql; i++)
		continue;
	if (i == STORE_STATEMENTS_MAX)
		return store_problem(&g->store, p, PROBLEM_INPUT,
		    "too many statements");
	(void)snprintf(name, 16, "pc%u", (unsigned)i);
	if (i < g->n)
		return 0;
	if (!PQsendPrepare(g->connection, name, sql, 0, NULL))
		return fail(g, NULL, p);
	if (take_answer(g, p) == -1)
		return -1;
	forget_result(g);
	g->statements[g->n++] = sql;
	return 0;
}

static int
pg_run(struct store *s, const char *sql, size_t n, const char *const *params,
    struct problem *p)
{
	struct pg *g = self(s);
	char name[16];

	forget_result(g);
	if (is_lost(g))
		return fail(g, NULL, p);
	if (prepare(g, sql, name, p) == -1)
		return -1;
	if (!PQsendQueryPrepared(g->connection, name, (int)n, params, NULL,
	    NULL, 0))
		return fail(g, NULL, p);
	return take_answer(g, p);
}

static int
pg_next(struct store *s, struct problem *p)
{
	struct pg *g = self(s);

	(void)p;
	if (g->result == NULL || g->row + 1 >= PQntuples(g->result))
		return 0;
	g->row++;
	return 1;
}

static const char *
pg_text(struct store *s, int column)
{
	struct pg *g = self(s);

	return g->result == NULL || g->row == -1 ||
	    column >= PQnfields(g->result) ? NULL :
	    PQgetvalue(g->result, g->row, column);
}

/* PQreset() would take its own time. */
static void
reconnect(struct pg *g)
{
	int64_t deadline = clock_mono_ms() + g->store.wait_ms;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	struct pollfd fd;
	int n = 1;

	g->n = 0;
	g->lost = false;
	if (PQresetStart(g->connection) == 0)
		return;
	while (n != 0 && status != PGRES_POLLING_OK &&
	    status != PGRES_POLLING_FAILED) {
		fd = (struct pollfd){ .fd = PQsocket(g->connection),
		    .events = status == PGRES_POLLING_READING ? POLLIN :
		    POLLOUT };
		n = poll(&fd, 1, clock_poll_timeout(deadline));
		if (n == 1)
			status = PQresetPoll(g->connection);
		else if (n == -1 && errno != EINTR)
			n = 0;
	}
	g->lost = status != PGRES_POLLING_OK;
}

/*
 * Nothing has begun yet, so a connection that was lost meanwhile, or turns
 * out to be, may be made anew.
 */
static int
pg_begin(struct store *s, enum store_access access, struct problem *p)
{
	struct pg *g = self(s);
	struct problem first = { .kind = PROBLEM_NONE };
	bool begun;

	(void)access;
	forget_result(g);
	begun = !is_lost(g) && run_plain(g, "BEGIN", &first) == 0;
	problem_clear(&first);
	if (!begun) {
		reconnect(g);
		if (is_lost(g))
			return fail(g, NULL, p);
		if (run_plain(g, "BEGIN", p) == -1)
			return -1;
	}
	g->open = true;
	return 0;
}

/* An answer that is no answer: it may be done. */
static int
pg_commit(struct store *s, struct problem *p)
{
	struct pg *g = self(s);
	struct problem cut = { .kind = PROBLEM_NONE };
	bool sent, undone;

	forget_result(g);
	if (is_lost(g))
		return fail(g, NULL, p);
	g->open = false;
	sent = PQsendQuery(g->connection, "COMMIT") == 1;
	if (sent && take_answer(g, &cut) == 0) {
		/* One that had failed is rolled back, and said to be so. */
		undone = strcmp(PQcmdStatus(g->result), "COMMIT") != 0;
		return undone ? store_problem(s, p, PROBLEM_LATER,
		    "the transaction was rolled back") : 0;
	}
	if (!sent)
		(void)fail(g, NULL, p);
	else if (!is_lost(g))
		(void)problem_set(p, cut.kind, cut.code, "%s",
		    problem_text(&cut));
	else
		(void)store_problem(s, p, PROBLEM_UNKNOWN,
		    "cut off while it committed");
	problem_clear(&cut);
	return -1;
}

static void
pg_rollback(struct store *s)
{
	struct pg *g = self(s);
	struct problem ignored = { .kind = PROBLEM_NONE };

	forget_result(g);
	if (g->open && !is_lost(g))
		(void)run_plain(g, "ROLLBACK", &ignored);
	problem_clear(&ignored);
	forget_result(g);
	g->open = false;
}

static int
pg_be_alone(struct store *s, struct problem *p)
{
	return run_plain(self(s), "SELECT pg_advisory_xact_lock("
	    LOCK_NUMBER ")", p);
}

/*
 * Numbers are given before they are committed, and may appear out of order;
 * not when all who have been given one have been waited for.
 */
static int
pg_settle(struct store *s, const char *table, struct problem *p)
{
	struct pg *g = self(s);
	char *sql = NULL;
	int result;

	if (asprintf(&sql, "LOCK TABLE %s IN SHARE MODE", table) == -1)
		return problem_memory(p);
	result = run_plain(g, sql, p);
	free(sql);
	return result;
}

/* Each wait looks at it. */
static void
pg_set_wait(struct store *s)
{
	(void)s;
}

static void
pg_close(struct store *s)
{
	struct pg *g = self(s);

	forget_result(g);
	PQfinish(g->connection);
	free(s->name);
	free(g);
}

static const struct store_calls calls = {
	STORE_POSTGRESQL, pg_begin, pg_commit, pg_rollback, pg_run, pg_next,
	pg_text, pg_be_alone, pg_settle,
	/* Not to_regclass(), which remembers what was not there before. */
	"SELECT 1 FROM pg_catalog.pg_class WHERE relname = $1 AND "
	"relkind = 'r' AND pg_catalog.pg_table_is_visible(oid)",
	pg_set_wait, pg_close
};

/* libpq says what is wrong with a URL by quoting it, password and all. */
static int
check_url(const struct pg *g, const char *url, struct problem *p)
{
	char *error = NULL;
	PQconninfoOption *options = PQconninfoParse(url, &error);
	/* A second @ is one of a password, and the rest would be the host. */
	const char *at = strchr(url, '@');
	bool twice = at != NULL &&
	    strcspn(at + 1, "@") < strcspn(at + 1, "?");
	int result = 0;

	if (options == NULL && error == NULL)
		result = problem_memory(p);
	else if (options == NULL || twice)
		result = store_problem(&g->store, p, PROBLEM_INPUT,
		    "not a URL of a database");
	PQconninfoFree(options);
	PQfreemem(error);
	return result;
}

static int
connect_server(struct pg *g, const char *url, struct problem *p)
{
	char seconds[21];
	/* What the URL says goes before what stands before it. */
	const char *const names[] = { "connect_timeout",
	    "fallback_application_name", "dbname", "client_encoding", NULL };
	const char *const values[] = { seconds, "pc-lease", url, "UTF8",
	    NULL };

	if (check_url(g, url, p) == -1)
		return -1;
	(void)snprintf(seconds, sizeof(seconds), "%lld",
	    (long long)(g->store.wait_ms + 1999) / 1000);
	g->connection = PQconnectdbParams(names, values, 1);
	if (g->connection == NULL)
		return problem_memory(p);
	if (PQstatus(g->connection) != CONNECTION_OK)
		return fail(g, NULL, p);
	(void)PQsetNoticeProcessor(g->connection, ignore_notice, NULL);
	return 0;
}

int
store_open_postgresql(struct store **s, const char *url, int64_t wait_ms,
    struct problem *p)
{
	struct pg *g = calloc(1, sizeof(*g));
	struct buf name = { 0 };

	if (g == NULL)
		return problem_memory(p);
	store_put_name(&name, url);
	buf_add_char(&name, '\0');
	g->store = (struct store){ .calls = &calls, .name = name.data,
	    .wait_ms = wait_ms };
	if (buf_failed(&name))
		(void)problem_memory(p);
	else if (connect_server(g, url, p) == 0) {
		*s = &g->store;
		return 0;
	}
	pg_close(&g->store);
	return -1;
}
