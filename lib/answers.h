/*
 * answers.h - which requests have been seen, and what each was answered.
 *
 * A request that comes again gets the same answer, and never a second call,
 * until its deadline has passed.  Memory is bounded: what is over a limit
 * goes oldest first, answers to safe requests before any other, because
 * only those may be asked for again.  Of an unsafe request the answer's text
 * goes first, and that it was answered is known as long as ids are kept.
 */
#ifndef ANSWERS_H
#define ANSWERS_H

#include <stdint.h>

#include "idmap.h"
#include "span.h"

#define ANSWERS_IDS_MAX		65536			/* answered ones */
#define ANSWERS_BYTES_MAX	(16 * 1024 * 1024)	/* of answers' text */

struct answer {
	struct idmap_node node;	/* node.id: the request's id */
	bool safe;
	int64_t until;		/* monotonic ms; -1: for ever */
	char *text;		/* private, as what follows */
	size_t len;
	struct answer *next;
};

/* First in, first out. */
struct answers_list {
	struct answer *first, **end;
	size_t count;
};

/* Zero it, but for the two limits, which are those above or smaller. */
struct answers {
	size_t ids_max, bytes_max;
	struct idmap map;			/* private, as what follows */
	struct answers_list safe, unsafe, bare;	/* bare: without text */
	size_t bytes;
};

/* What is known of this id: NULL when nothing is. */
struct answer *answers_find(const struct answers *a, struct span id);

/*
 * A request that was not known is being handled from now on; NULL for want
 * of memory.  It is kept for at least as long as that lasts.
 */
struct answer *answers_add(struct answers *a, struct span id, bool safe,
    int64_t until);

enum answer_state {
	ANSWER_PENDING,		/* being handled */
	ANSWER_KEPT,		/* *text is what was answered */
	ANSWER_DROPPED		/* answered; the text is gone (unsafe only) */
};

enum answer_state answer_state(const struct answer *answer,
    struct span *text);

/*
 * It has been answered.  Lets go of what is past its deadline or over the
 * limits; answer itself may be gone afterwards.
 */
void answers_keep(struct answers *a, struct answer *answer, struct span text,
    int64_t now);

void answers_free(struct answers *a);

#endif
