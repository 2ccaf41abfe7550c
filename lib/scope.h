/*
 * scope.h - which paths belong to a tree (pc-manifest(5)).
 *
 * One answer for packing, snapshots, cleaning, mirroring and merging: where
 * they disagreed, a merge would delete what was never sent.  Outside are
 * `.paperclip-runtime`, the exclude patterns, the preserved top-level names,
 * and git's `*.lock` files below a `.git`.
 */
#ifndef SCOPE_H
#define SCOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "span.h"

#define SCOPE_RUNTIME	".paperclip-runtime"
#define SCOPE_PATTERNS_MAX	1024

struct pattern;

/* Zeroed is a tree without patterns. */
struct scope {
	struct pattern *patterns;
	size_t npatterns;
	char **preserved;
	size_t npreserved;
};

/*
 * `X`, `X` followed by what is below: both the path and all in it; `*` `/X`
 * at any depth; `X` `/` `*` strictly below X.  0, or -1: EINVAL for a pattern
 * that can match nothing (empty, absolute, "..", a NUL), E2BIG for too many,
 * ENOMEM.
 */
int scope_exclude(struct scope *s, struct span pattern);

/* A top-level name: EINVAL when it has a '/', or is "." or "..". */
int scope_preserve(struct scope *s, struct span name);

/* Into an empty scope.  0, or -1 with errno. */
int scope_copy(struct scope *to, const struct scope *from);

void scope_free(struct scope *s);

/* The patterns as they were given. */
struct span scope_pattern(const struct scope *s, size_t i);

/* Same patterns and names, in the same order. */
bool scope_equal(const struct scope *a, const struct scope *b);

/* path belongs to the tree, given that its parents do. */
bool scope_has(const struct scope *s, struct span path);

/* path and all its parents belong to the tree. */
bool scope_has_all(const struct scope *s, struct span path);

/* A lock file of git, or what is below one, which is nobody's to carry. */
bool scope_is_git_lock(struct span path);

#endif
