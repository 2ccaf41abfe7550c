/*
 * SQLite.  WAL, so that readers and the one writer do not wait for each
 * other; BEGIN IMMEDIATE, so that a transaction that has begun is not refused
 * half way.  synchronous=NORMAL: a power cut may take the last transactions,
 * never half of one, and takes all holders on this machine with it; a fencing
 * token grows with the time all the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "clock.h"
#include "io.h"
#include "store_kinds.h"

struct statement {
	const char *sql;
	sqlite3_stmt *handle;
};

struct sqlite {
	struct store store;
	sqlite3 *db;
	struct statement statements[STORE_STATEMENTS_MAX];
	size_t n;
	sqlite3_stmt *current;	/* NULL, or what is being read */
	bool at_row;		/* its first row was fetched by run */
	int64_t now;		/* of the transaction */
};

static struct sqlite *
self(struct store *s)
{
	return (struct sqlite *)s;
}

static int
fail(struct sqlite *q, struct problem *p)
{
	int code = sqlite3_extended_errcode(q->db);
	const char *text = sqlite3_errmsg(q->db);
	enum problem_kind kind = PROBLEM_LATER;

	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		text = "locked by another program";
		break;
	case SQLITE_FULL:
		text = strerror(ENOSPC);
		break;
	case SQLITE_READONLY:
		text = "read-only";
		break;
	case SQLITE_NOTADB:
		/* SQLITE_CORRUPT may be a read error: that is later. */
		kind = PROBLEM_INPUT;
		break;
	case SQLITE_IOERR:
		if (sqlite3_system_errno(q->db) == ENOSPC)
			text = strerror(ENOSPC);
		break;
	}
	return store_problem(&q->store, p, kind, text);
}

static void
forget_current(struct sqlite *q)
{
	if (q->current != NULL) {
		(void)sqlite3_reset(q->current);
		(void)sqlite3_clear_bindings(q->current);
	}
	q->current = NULL;
	q->at_row = false;
}

static sqlite3_stmt *
prepare(struct sqlite *q, const char *sql, struct problem *p)
{
	sqlite3_stmt *handle;
	size_t i;

	for (i = 0; i < q->n; i++)
		if (q->statements[i].sql == sql)
			return q->statements[i].handle;
	if (q->n == STORE_STATEMENTS_MAX) {
		(void)store_problem(&q->store, p, PROBLEM_INPUT,
		    "too many statements");
		return NULL;
	}
	if (sqlite3_prepare_v3(q->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
	    &handle, NULL) != SQLITE_OK) {
		(void)fail(q, p);
		return NULL;
	}
	q->statements[q->n++] = (struct statement){ sql, handle };
	return handle;
}

/* "$2" is a name to SQLite, which numbers them as they come. */
static int
bind(struct sqlite *q, sqlite3_stmt *handle, size_t n,
    const char *const *params, struct problem *p)
{
	char name[8];
	size_t i;
	int at;

	for (i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "$%u", (unsigned)i + 1);
		at = sqlite3_bind_parameter_index(handle, name);
		if (at != 0 && sqlite3_bind_text(handle, at, params[i], -1,
		    SQLITE_TRANSIENT) != SQLITE_OK)
			return fail(q, p);
	}
	return 0;
}

static int
sqlite_run(struct store *s, const char *sql, size_t n,
    const char *const *params, struct problem *p)
{
	struct sqlite *q = self(s);
	sqlite3_stmt *handle;
	int result;

	forget_current(q);
	if ((handle = prepare(q, sql, p)) == NULL ||
	    bind(q, handle, n, params, p) == -1)
		return -1;
	result = sqlite3_step(handle);
	q->current = handle;
	q->at_row = result == SQLITE_ROW;
	if (result == SQLITE_ROW)
		return 0;
	if (result == SQLITE_DONE) {
		forget_current(q);
		return 0;
	}
	(void)fail(q, p);
	forget_current(q);
	return -1;
}

static int
sqlite_next(struct store *s, struct problem *p)
{
	struct sqlite *q = self(s);
	int result;

	if (q->current == NULL)
		return 0;
	if (q->at_row) {
		q->at_row = false;
		return 1;
	}
	if ((result = sqlite3_step(q->current)) == SQLITE_ROW)
		return 1;
	if (result != SQLITE_DONE)
		(void)fail(q, p);
	forget_current(q);
	return result == SQLITE_DONE ? 0 : -1;
}

static const char *
sqlite_text(struct store *s, int column)
{
	struct sqlite *q = self(s);

	return q->current == NULL ? NULL :
	    (const char *)sqlite3_column_text(q->current, column);
}

static int
sqlite_begin(struct store *s, enum store_access access, struct problem *p)
{
	static const char read[] = "BEGIN", write[] = "BEGIN IMMEDIATE";

	if (sqlite_run(s, access == STORE_WRITE ? write : read, 0, NULL, p) ==
	    -1)
		return -1;
	self(s)->now = clock_wall_ms();
	return 0;
}

static int
sqlite_commit(struct store *s, struct problem *p)
{
	static const char commit[] = "COMMIT";

	return sqlite_run(s, commit, 0, NULL, p);
}

/* Some errors have done it already. */
static void
sqlite_rollback(struct store *s)
{
	struct sqlite *q = self(s);

	forget_current(q);
	if (!sqlite3_get_autocommit(q->db))
		(void)sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Who has begun is alone. */
static int
sqlite_be_alone(struct store *s, struct problem *p)
{
	(void)s;
	(void)p;
	return 0;
}

static int
sqlite_settle(struct store *s, const char *table, struct problem *p)
{
	(void)s;
	(void)table;
	(void)p;
	return 0;
}

static void
sqlite_set_wait(struct store *s)
{
	(void)sqlite3_busy_timeout(self(s)->db, s->wait_ms < INT32_MAX ?
	    (int)s->wait_ms : INT32_MAX);
}

static void
sqlite_close(struct store *s)
{
	struct sqlite *q = self(s);
	size_t i;

	forget_current(q);
	for (i = 0; i < q->n; i++)
		(void)sqlite3_finalize(q->statements[i].handle);
	(void)sqlite3_close(q->db);
	free(s->name);
	free(q);
}

static const struct store_calls calls = {
	STORE_SQLITE, sqlite_begin, sqlite_commit, sqlite_rollback,
	sqlite_run, sqlite_next, sqlite_text, sqlite_be_alone, sqlite_settle,
	"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1",
	sqlite_set_wait, sqlite_close
};

static void
give_now(sqlite3_context *context, int n, sqlite3_value **values)
{
	const struct sqlite *q = sqlite3_user_data(context);

	(void)n;
	(void)values;
	sqlite3_result_int64(context, q->now);
}

/* SQLite would make it for everybody to read. */
static int
make_file(struct sqlite *q, struct problem *p)
{
	int fd = open(q->store.name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY,
	    0600);

	if (fd == -1 && (errno == EACCES || errno == EROFS))
		fd = open(q->store.name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd == -1)
		return store_problem(&q->store, p, errno == EISDIR ||
		    errno == ENOTDIR ? PROBLEM_INPUT : PROBLEM_LATER,
		    strerror(errno));
	io_close(fd);
	return 0;
}

static int
connect_file(struct sqlite *q, struct problem *p)
{
	if (make_file(q, p) == -1)
		return -1;
	if (sqlite3_open_v2(q->store.name, &q->db, SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return q->db == NULL ? problem_memory(p) : fail(q, p);
	sqlite_set_wait(&q->store);
	(void)sqlite3_db_config(q->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0,
	    NULL);
	/* Else the last to close it writes all of it over, and syncs. */
	(void)sqlite3_db_config(q->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
	    NULL);
	/* Where it cannot be WAL, as in a folder that is read-only, it works
	 * with the other journal as well, and says so when it writes. */
	(void)sqlite3_exec(q->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
	if (sqlite3_exec(q->db, "PRAGMA synchronous=NORMAL", NULL, NULL,
	    NULL) != SQLITE_OK ||
	    sqlite3_create_function_v2(q->db, "pc_now", 0, SQLITE_UTF8, q,
	    give_now, NULL, NULL, NULL) != SQLITE_OK)
		return fail(q, p);
	return 0;
}

int
store_open_sqlite(struct store **s, const char *file, int64_t wait_ms,
    struct problem *p)
{
	struct sqlite *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return problem_memory(p);
	q->store = (struct store){ .calls = &calls, .wait_ms = wait_ms };
	/* Neither ":memory:" nor "" is anything but a file's name. */
	if (asprintf(&q->store.name, "%s%s", *file == '/' || *file == '.' ?
	    "" : "./", file) == -1) {
		free(q);
		return problem_memory(p);
	}
	if (connect_file(q, p) == -1) {
		sqlite_close(&q->store);
		return -1;
	}
	*s = &q->store;
	return 0;
}
