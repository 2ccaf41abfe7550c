/* allow.h - one line of the bridge through the allowlist. */
#ifndef ALLOW_H
#define ALLOW_H

#include "record.h"
#include "rules.h"

enum allow_verdict {
	ALLOW_PASSED,		/* written anew: a request that may pass */
	ALLOW_REFUSED,		/* a response line instead: 400, 403 or 413 */
	ALLOW_NOT_MINE,		/* no request: the line as it was */
	ALLOW_INVALID		/* nothing written; record->fault says why */
};

/* Deals with one line; what goes on is appended to out. */
enum allow_verdict allow_line(const struct rules *rules,
    struct record *record, size_t body_max, struct span line,
    struct buf *out);

/* NULL when both are canonical, else why not. */
const char *allow_check_target(struct span path, struct span query);

#endif
