/* lease_ending.h - how a lease ends, for releasing and for sweeping. */
#ifndef LEASE_ENDING_H
#define LEASE_ENDING_H

#include "leasing.h"

enum lease_ending_kind {
	ENDING_RELEASE,		/* whoever asks for it */
	ENDING_EXPIRE,		/* it was not renewed */
	ENDING_CLEAN		/* it has ended, and is due to be cleaned up */
};

/*
 * Ends one lease: the step itself, then its clean-up, then what came of
 * that.  0; 1 when there was nothing to do any more (not for a release); -1
 * with p.  r->each is told of it, unless there was nothing.
 */
int lease_end_one(struct store *s, const struct caller *c, const char *id,
    enum lease_ending_kind kind, int64_t retain_ms,
    const struct lease_release *r, struct problem *p);

#define LEASE_IDS_MAX	4096

/*
 * Ids and companies that a statement gives, up to LEASE_IDS_MAX, kept in m.
 * 0, or -1 with p.
 */
struct lease_ids {
	char **v, **companies;
	size_t n;
};
int lease_take_ids(struct store *s, struct lease_ids *ids,
    struct fields_memory *m, struct problem *p);

#endif
