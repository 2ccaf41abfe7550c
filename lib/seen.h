/*
 * seen.h - which requests have been seen, and what each was answered.
 *
 * A request that comes again gets the same answer, and never a second call,
 * until its deadline has passed.  Memory is bounded: what is over a limit
 * goes oldest first, answers to safe requests before any other, because
 * only those may be asked for again.  Of an unsafe request the answer's text
 * goes first, and that it was answered is known as long as ids are kept.
 */
#ifndef SEEN_H
#define SEEN_H

#include <stdint.h>

#include "idmap.h"
#include "span.h"

#define SEEN_IDS_MAX	65536			/* answered ones */
#define SEEN_BYTES_MAX	(16 * 1024 * 1024)	/* of answers' text */

/* One request.  node.id is its id; the rest is private. */
struct seen_request {
	struct idmap_node node;
	bool safe;
	int64_t until;		/* monotonic ms; -1: for ever */
	char *text;
	size_t len;
	struct seen_request *next;
};

/* First in, first out. */
struct seen_list {
	struct seen_request *first, **end;
	size_t count;
};

/* Zero it, but for the two limits, which are those above or smaller. */
struct seen_table {
	size_t ids_max, bytes_max;
	struct idmap map;			/* private, as what follows */
	struct seen_list safe, unsafe, bare;	/* bare: without text */
	size_t bytes;
};

/* What is known of this valid id: NULL when nothing is. */
struct seen_request *seen_find(const struct seen_table *t, struct span id);

/*
 * A request that was not known is being handled from now on; NULL for want
 * of memory.  It is kept for at least as long as that lasts.
 */
struct seen_request *seen_add(struct seen_table *t, struct span id, bool safe,
    int64_t until);

enum seen_state {
	SEEN_PENDING,		/* being handled */
	SEEN_ANSWERED,		/* *text is what was answered */
	SEEN_DROPPED		/* answered; the text is gone (unsafe only) */
};

enum seen_state seen_state(const struct seen_request *s, struct span *text);

/*
 * It has been answered.  Lets go of what is past its deadline or over the
 * limits; s itself may be gone afterwards.
 */
void seen_answer(struct seen_table *t, struct seen_request *s, struct span text,
    int64_t now);

void seen_free(struct seen_table *t);

#endif
