/*
 * idmap.h - a hash table keyed by request id.  Intrusive: the node lives in
 * the user's own struct, so the table never allocates for an entry.
 */
#ifndef IDMAP_H
#define IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idmap_node {
	const char *id;			/* NUL-terminated, owned by the user */
	struct idmap_node *next;	/* private */
	uint32_t hash;			/* private */
};

/* Zeroed is empty. */
struct idmap {
	size_t count;
	size_t nbuckets;		/* private */
	struct idmap_node **buckets;	/* private */
};

/* node->id must be set and must not be in the map.  0, or -1 with ENOMEM. */
int idmap_add(struct idmap *m, struct idmap_node *node);

struct idmap_node *idmap_get(const struct idmap *m, const char *id);

/* Takes it out; NULL if it is not there. */
struct idmap_node *idmap_take(struct idmap *m, const char *id);

/*
 * The node after this one, in no order, or the first (NULL); NULL at the end.
 * Meanwhile none is added; one that was gone on from may be taken out.
 */
struct idmap_node *idmap_next(const struct idmap *m,
    const struct idmap_node *node);

/* Any node; NULL when empty.  For emptying the map. */
struct idmap_node *idmap_any(const struct idmap *m);

void idmap_free(struct idmap *m);	/* the table, not the nodes */

#endif
