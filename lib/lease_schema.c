#include <stddef.h>

#include "lease_schema.h"

/*
 * An absent text is '', an absent time 0; times are milliseconds.  A status
 * is one of lease.h's; that is also said here, for whoever writes by hand.
 */
#define ENVIRONMENTS \
	"CREATE TABLE pc_environments (" \
	"id TEXT PRIMARY KEY, company TEXT NOT NULL, name TEXT NOT NULL, " \
	"driver TEXT NOT NULL CHECK (driver IN " \
	"('local', 'ssh', 'sandbox', 'plugin')), " \
	"status TEXT NOT NULL CHECK (status IN ('active', 'archived')), " \
	"is_default INTEGER NOT NULL, config TEXT NOT NULL, " \
	"fingerprint TEXT NOT NULL, token BIGINT NOT NULL, " \
	"created BIGINT NOT NULL, updated BIGINT NOT NULL, " \
	"UNIQUE (company, name))"

#define LEASES \
	"CREATE TABLE pc_leases (" \
	"id TEXT PRIMARY KEY, company TEXT NOT NULL, " \
	"environment TEXT NOT NULL REFERENCES pc_environments (id), " \
	"workspace TEXT NOT NULL, issue TEXT NOT NULL, run TEXT NOT NULL, " \
	"status TEXT NOT NULL CHECK (status IN ('active', 'released', " \
	"'expired', 'failed', 'retained', 'pending_cleanup')), " \
	"outcome TEXT NOT NULL, policy TEXT NOT NULL, " \
	"provider TEXT NOT NULL, provider_lease TEXT NOT NULL, " \
	"fingerprint TEXT NOT NULL, token BIGINT NOT NULL, " \
	"acquired BIGINT NOT NULL, used BIGINT NOT NULL, " \
	"expires BIGINT NOT NULL, released BIGINT NOT NULL, " \
	"failure TEXT NOT NULL, cleanup TEXT NOT NULL CHECK (cleanup IN " \
	"('', 'pending', 'success', 'failed')), metadata TEXT NOT NULL)"

#define ACTIVITIES(number) \
	"CREATE TABLE pc_activities (number " number ", " \
	"at BIGINT NOT NULL, company TEXT NOT NULL, actor TEXT NOT NULL, " \
	"run TEXT NOT NULL, action TEXT NOT NULL, kind TEXT NOT NULL, " \
	"entity TEXT NOT NULL, details TEXT NOT NULL)"

/* A statement of a version, in the words of each kind of store. */
struct change {
	int version;
	const char *sqlite, *postgresql;
};

#define BOTH(sql) sql, sql

static const struct change changes[] = {
	{ 1, BOTH("CREATE TABLE pc_schema (version BIGINT NOT NULL)") },
	{ 1, BOTH("INSERT INTO pc_schema VALUES (0)") },
	{ 1, NULL, "CREATE FUNCTION pc_now() RETURNS BIGINT LANGUAGE sql AS "
	    "'SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT'"
	},
	{ 1, BOTH(ENVIRONMENTS) },
	{ 1, BOTH(LEASES) },
	{ 1, ACTIVITIES("INTEGER PRIMARY KEY AUTOINCREMENT"),
	    ACTIVITIES("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY") },
	/* What is asked for by each step, and what is left of long ago. */
	{ 2, BOTH("CREATE INDEX pc_leases_place ON pc_leases "
	    "(environment, policy, status)") },
	{ 2, BOTH("CREATE INDEX pc_leases_run ON pc_leases (run) "
	    "WHERE status = 'active'") },
	{ 2, BOTH("CREATE INDEX pc_leases_left ON pc_leases (status) "
	    "WHERE status IN ('active', 'retained', 'pending_cleanup')") },
	{ 2, BOTH("CREATE INDEX pc_activities_company ON pc_activities "
	    "(company, number)") }
};

#define VERSION 2

static int64_t
read_version(struct store *s, struct problem *p)
{
	int found = store_has_table(s, "pc_schema", p);

	if (found <= 0)
		return found;
	if (store_run(s, "SELECT version FROM pc_schema", 0, NULL, p) == -1)
		return -1;
	if ((found = store_next(s, p)) <= 0)
		return found;
	return store_number(s, 0);
}

static int
check_version(int64_t version, struct problem *p)
{
	if (version <= VERSION)
		return 0;
	return problem_set(p, PROBLEM_INPUT, "store_too_new",
	    "the store has version %lld of the tables, this program knows %d",
	    (long long)version, VERSION);
}

static int
change_from(struct store *s, int64_t version, struct problem *p)
{
	struct store_digits now = store_digits(VERSION);
	const char *sql;
	size_t i;

	for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		sql = store_kind_of(s) == STORE_SQLITE ? changes[i].sqlite :
		    changes[i].postgresql;
		if (changes[i].version > version && sql != NULL &&
		    store_run(s, sql, 0, NULL, p) == -1)
			return -1;
	}
	return STORE_RUN(s, p, "UPDATE pc_schema SET version = "
	    "CAST($1 AS BIGINT)", now.text);
}

/* Two may come to make it at once: the second finds it made. */
static int
bring_forward(struct store *s, struct problem *p)
{
	int64_t version;

	if (store_be_alone(s, p) == -1 ||
	    (version = read_version(s, p)) == -1 ||
	    check_version(version, p) == -1)
		return -1;
	return version == VERSION ? 0 : change_from(s, version, p);
}

int
lease_schema_ready(struct store *s, struct problem *p)
{
	int64_t version = -1;

	if (store_begin(s, STORE_READ, p) == 0)
		version = read_version(s, p);
	store_rollback(s);
	if (version == -1 || check_version(version, p) == -1)
		return -1;
	if (version == VERSION)
		return 0;
	if (store_begin(s, STORE_WRITE, p) == 0 && bring_forward(s, p) == 0 &&
	    store_commit(s, p) == 0)
		return 0;
	store_rollback(s);
	return -1;
}
