/*
 * activity.h - what happened to environments and leases: a log to which rows
 * are only added, in the transaction of what they tell of.
 */
#ifndef ACTIVITY_H
#define ACTIVITY_H

#include "store.h"

struct activity {
	int64_t number;		/* in order; of all companies together */
	int64_t at;		/* ms since 1970; both given by the store */
	const char *company, *actor, *run, *action;
	const char *kind, *entity;	/* "environment" or "lease", its id */
	const char *details;		/* a JSON object */
};

/* In a transaction of the caller's: 0, or -1 with p. */
int activity_add(struct store *s, const struct activity *a,
    struct problem *p);

/* In one of its own. */
int activity_log(struct store *s, const struct activity *a,
    struct problem *p);

/*
 * Calls each for those of the company after a number, oldest first, and none
 * younger appears before an older one; it holds during the call.  since_ms:
 * not longer ago than that; -1: any.  max: at most so many, the last ones; 0:
 * all.  0, or -1 with p.
 */
struct activity_query {
	const char *company;
	int64_t after, since_ms;
	uint64_t max;
	void (*each)(void *arg, const struct activity *a);
	void *arg;
};
int activity_read(struct store *s, const struct activity_query *q,
    struct problem *p);

#endif
