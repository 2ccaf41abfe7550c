/* pending.h - ids that wait to be claimed, smallest (oldest) first. */
#ifndef PENDING_H
#define PENDING_H

#include <stdbool.h>
#include <stddef.h>

#define PENDING_MAX 65536

/* A binary heap; zeroed is empty. */
struct pending {
	char **ids;
	size_t count, cap;
	bool dropped;	/* was full (or memory was): look again once empty */
};

/* Copies id.  An id may be there twice: claiming finds out. */
void pending_add(struct pending *p, const char *id);

/* The smallest, for the caller to free; NULL when empty. */
char *pending_take(struct pending *p);

void pending_clear(struct pending *p);
void pending_free(struct pending *p);

#endif
