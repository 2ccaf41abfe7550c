/* store_kinds.h - what each kind of store has to do; private to them. */
#ifndef STORE_KINDS_H
#define STORE_KINDS_H

#include "store.h"

struct store_calls {
	enum store_kind kind;
	int (*begin)(struct store *, enum store_access, struct problem *);
	int (*commit)(struct store *, struct problem *);
	void (*rollback)(struct store *);
	int (*run)(struct store *, const char *, size_t, const char *const *,
	    struct problem *);
	int (*next)(struct store *, struct problem *);
	const char *(*text)(struct store *, int);
	int (*be_alone)(struct store *, struct problem *);
	int (*settle)(struct store *, const char *, struct problem *);
	const char *tables;	/* a statement: whether there is a table $1 */
	void (*set_wait)(struct store *);	/* wait_ms has changed */
	void (*close)(struct store *);
};

/* First in the struct of each kind. */
struct store {
	const struct store_calls *calls;
	char *name;		/* for messages: no password in it */
	int64_t wait_ms;
};

/* Statements that are prepared; the handle's meaning is the kind's. */
#define STORE_STATEMENTS_MAX 64

int store_open_sqlite(struct store **s, const char *file, int64_t wait_ms,
    struct problem *p);
int store_open_postgresql(struct store **s, const char *url, int64_t wait_ms,
    struct problem *p);

/* A problem of this store: `NAME: text`, in one line. */
int store_problem(const struct store *s, struct problem *p,
    enum problem_kind kind, const char *text);

#endif
