/*
 * pack.h - a tree, or what changed in it, as an archive.
 *
 * The archive of a change (a delta) begins with the id of the manifest it
 * starts from, has each changed entry with its parents before it, and names
 * what was deleted; see pc-manifest(5).  To plain tar these are files.
 */
#ifndef PACK_H
#define PACK_H

#include <stdbool.h>

#include "meter.h"
#include "sink.h"
#include "tree.h"

#define DELTA_HEAD	SCOPE_RUNTIME "/pc-sync"
#define DELTA_DELETED	SCOPE_RUNTIME "/pc-deleted"

struct pack {
	int root;
	const struct scope *scope;
	bool follow;			/* take links' targets for them */
	struct sink *sink;
	struct manifest *since;		/* NULL: the whole tree */
	struct statcache *cache;	/* of since; may be NULL */
	struct manifest_writer *manifest;	/* of what is sent; or NULL */
	struct statcache_writer *new_cache;	/* or NULL */
	const struct notices *notices;
	const struct meter *meter;
};

/* 0, or -1 with f; then the archive has no end marker. */
int pack_tree(const struct pack *p, struct fault *f);

/* Bytes of files that would be sent, for a meter's total.  0 or -1. */
int pack_measure(const struct pack *p, uint64_t *bytes, struct fault *f);

#endif
