/* tarsync.h - the commands of pc-tarsync, and what their options said. */
#ifndef TARSYNC_H
#define TARSYNC_H

#include <sys/types.h>

#include "beneath.h"
#include "merge.h"
#include "progress.h"
#include "put.h"
#include "receive.h"
#include "scope.h"

enum tarsync_links {
	TARSYNC_LINKS_DEFAULT, TARSYNC_LINKS_ANY, TARSYNC_LINKS_INSIDE
};

struct tarsync {
	const char *directory;
	char **operands;
	struct scope scope;
	bool scope_given;
	const char *before;	/* --since, --baseline */
	const char *manifest;	/* --manifest, --source-manifest */
	const char *cache, *output;
	struct limits limits;
	enum tarsync_links links;
	enum conflict_policy policy;
	bool follow, gzip, base64, clean, no_manifest, partial;
	bool allow_protected, dry_run, checksum, sync, verbose;
	int64_t timeout_ms;	/* 0 is for ever */
	mode_t umask;		/* as it was; it is 0 while we run */
	struct progress progress;
};

/* Each returns an exit status, or exits. */
int tarsync_diff(struct tarsync *t);
int tarsync_merge(struct tarsync *t);
int tarsync_mirror(struct tarsync *t);
int tarsync_pack(struct tarsync *t);
int tarsync_recover(struct tarsync *t);
int tarsync_snapshot(struct tarsync *t);
int tarsync_unpack(struct tarsync *t);

/* --- what the commands share --- */

/* The root; made, with its parents, if it may be. */
int tarsync_root(const struct tarsync *t, const char *path, bool make);

/* A manifest and the cache beside it. */
struct manifest *tarsync_manifest(const char *path);
struct statcache *tarsync_cache(const char *path, const char *suffix);

/* The patterns of a manifest, which those given must not differ from. */
const struct scope *tarsync_scope(const struct tarsync *t,
    const struct manifest *m);

const struct notices *tarsync_notices(const struct tarsync *t);
int64_t tarsync_deadline(const struct tarsync *t);

/*
 * A file that is complete or as it was: -o, --manifest, caches.  What exists
 * and is no regular file (a terminal, /dev/null) is written to as it is.
 */
struct outfile {
	const char *path;	/* NULL: none, or committed */
	int dir;
	int fd;			/* where the content goes */
	bool direct;
	struct put put;
};

/*
 * Each exits when it cannot.  What is open and not committed at exit is
 * abandoned: o must be there by then, or all must have been.
 */
void outfile_open(struct outfile *o, const char *path, mode_t umask);
void outfile_commit(struct outfile *o);
void outfile_abandon_all(void);

#endif
