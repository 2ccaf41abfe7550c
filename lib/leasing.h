/* leasing.h - what the units of environments and leases share. */
#ifndef LEASING_H
#define LEASING_H

#include "activity.h"
#include "environment.h"
#include "lease.h"
#include "sha256.h"

#define LEASING_TEXT_MAX	512		/* bytes of a name or an id */
#define LEASING_JSON_MAX	(64 << 10)	/* of a configuration, metadata */
#define LEASING_REASON_MAX	2000

/*
 * Whether what comes from outside can be kept: UTF-8 without control
 * characters, not too long; an object.  0, or -1 with p, which names what.
 */
int leasing_check_text(const char *what, const char *text, size_t max,
    struct problem *p);
int leasing_check_object(const char *what, const char *text,
    struct problem *p);
int leasing_check_caller(const struct caller *c, struct problem *p);

/* Appends valid JSON without white space: in one line. */
void leasing_put_compact(struct buf *out, const char *json);

/* Appends text, cut to max bytes between characters; '?' for what is none. */
void leasing_put_cut(struct buf *out, const char *text, size_t max);

/* A copy in m, or NULL with p. */
char *leasing_keep(struct fields_memory *m, const char *text,
    struct problem *p);

/* The members of b into a, which win; both objects.  0, or -1. */
int leasing_merge_json(struct buf *out, const char *a, const char *b);

/* Appends `"key":"text"`, or null for an empty text. */
void leasing_put_text(struct buf *out, const char *key, const char *text);

/* The columns of a row, in order, and the row read: 0, or -1 with p. */
#define ENVIRONMENT_COLUMNS \
	"id, company, name, driver, status, config, fingerprint, created, " \
	"updated, is_default, token"
int environment_take_row(struct store *s, struct environment *e,
    struct fields_memory *m, struct problem *p);

/* Of the environment that a problem is about. */
int environment_not_found(const char *selector, struct problem *p);
int environment_inactive(const struct environment *e, struct problem *p);
bool environment_is_id(const char *selector);

/* Of what must be the same for a lease to be used again. */
void environment_fingerprint(const char *driver,
    const struct environment_config *c, char out[static SHA256_HEX_SIZE]);

#define LEASE_COLUMNS \
	"id, company, environment, workspace, issue, run, status, outcome, " \
	"policy, provider, provider_lease, fingerprint, failure, cleanup, " \
	"metadata, token, acquired, used, expires, released"
#define LEASE_COLUMNS_END	20	/* the column after these */
int lease_take_row(struct store *s, struct lease *l,
    struct fields_memory *m, struct problem *p);

/* Adds what happened to a lease, with the details that are due. */
int lease_add_activity(struct store *s, const struct caller *c,
    const char *action, const struct lease *l, const char *driver,
    struct problem *p);

#endif
