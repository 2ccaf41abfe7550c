/*
 * store.h - a small database with transactions: a file (SQLite), or a server
 * that several hosts share (PostgreSQL).  Nothing else knows which.
 *
 * Statements are the same for both: parameters are written $1, $2, ... and
 * are text; pc_now() is the store's own time in milliseconds, so that hosts
 * whose clocks differ agree.  A text comes from a parameter and never from
 * the statement, which is a constant: it is prepared once and found again by
 * its address.
 *
 * All happens inside a transaction.  A connection that was lost before one
 * begins is made anew, once; after that nothing is repeated here.  No call
 * takes longer than the store's limit.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "problem.h"

#define STORE_WAIT_MS	10000
#define STORE_PARAMS_MAX 24

struct store;

enum store_kind { STORE_SQLITE, STORE_POSTGRESQL };

/*
 * where: postgresql://..., else the name of a file, which is made, readable
 * for its owner only.  wait_ms is the limit of each call.  0, or -1 with p.
 */
int store_open(struct store **s, const char *where, int64_t wait_ms,
    struct problem *p);
void store_close(struct store *s);	/* NULL is nothing */

/* Another limit, from the next call on. */
void store_set_wait(struct store *s, int64_t wait_ms);

enum store_kind store_kind_of(const struct store *s);

enum store_access { STORE_READ, STORE_WRITE };

/*
 * begin: to write, with the only lock for it (SQLite).  After -1 from anything
 * the transaction is to be rolled back, which always works: what cannot be
 * told so is undone by the store itself.  PROBLEM_UNKNOWN when the connection
 * was cut while it committed.
 */
int store_begin(struct store *s, enum store_access access,
    struct problem *p);
int store_commit(struct store *s, struct problem *p);
void store_rollback(struct store *s);

/* Runs a statement; what was selected before is gone. */
int store_run(struct store *s, const char *sql, size_t n,
    const char *const *params, struct problem *p);
#define STORE_RUN(s, p, sql, ...) \
	store_run(s, sql, sizeof((const char *[]){ __VA_ARGS__ }) / \
	    sizeof(char *), (const char *[]){ __VA_ARGS__ }, p)

/* The next row of it: 1, 0 at the end, -1 with p. */
int store_next(struct store *s, struct problem *p);

/* A column of that row, until the next call; "" for NULL. */
const char *store_text(struct store *s, int column);
int64_t store_number(struct store *s, int column);

/* 1, 0, or -1 with p. */
int store_has_table(struct store *s, const char *name, struct problem *p);

/*
 * In a transaction, of a shared server: waits until nobody else who asks for
 * this is in one; and until nobody is adding to the table, a constant's name.
 */
int store_be_alone(struct store *s, struct problem *p);
int store_settle(struct store *s, const char *table, struct problem *p);

/* A number as a parameter. */
struct store_digits {
	char text[21];
};
struct store_digits store_digits(int64_t number);

/* Appends where without its password. */
void store_put_name(struct buf *out, const char *where);

#endif
