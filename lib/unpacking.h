/* unpacking.h - what the parts of unpack.c share; unpack.h's own. */
#ifndef UNPACKING_H
#define UNPACKING_H

#include "beneath.h"
#include "stage.h"
#include "tree.h"
#include "unpack.h"

/*
 * Files of the staging folder: `origin`, the manifest of what the target has
 * (its first line only, when the archive is a whole tree); `base`, that of
 * what the archive starts from, when it goes on from one that was cut short;
 * `lines`, `deleted` and `modes` as received; `manifest`, what there will be.
 */
#define ORIGIN	"origin"
#define ORIGIN_CACHE ORIGIN CACHE_SUFFIX
#define BASE	"base"
#define LINES	"lines"
#define DELETED	"deleted"
#define MODES	"modes"
#define RESULT	"manifest"
#define PLAN	"plan"

enum start {
	START_WHOLE,		/* a whole tree */
	START_DELTA,		/* from what the target has */
	START_REPEAT,		/* a delta that may be in place already */
	START_AGAIN		/* from an archive that was cut short */
};

struct unpacking {
	const struct unpack *u;
	struct fault *f;
	struct stage stage;
	struct receive r;
	enum start start;
	bool delta_origin;	/* the target has what origin says */
	bool origin_checked;	/* and that was seen just now */
	bool cache_proved;	/* and its cache proves all of it */
	struct scope scope;	/* when it came from a manifest */
	const struct scope *use;
	int lines, deleted, modes;
};

/* --- unpack_files.c: what is in the staging folder --- */

int staging_fault(struct fault *f);

/* A reader of a file of dir; NULL with f. */
struct manifest *staged_manifest(int dir, const char *name, bool lines,
    struct fault *f);

/* A file without what an earlier call left there. */
int staged_file(struct stage *s, const char *name);

/*
 * What there will be once all that was received is in its place; cut: there
 * is more to come.
 */
int staged_result(struct stage *s, bool cut, struct manifest_writer *out,
    struct fault *f);

/* The same as a file of the staging folder, and its id. */
int staged_result_write(struct stage *s, const char *name, bool cut,
    char id[static MANIFEST_ID_SIZE], struct fault *f);

/*
 * The staged tree came in parts, the last of each perhaps not whole: what
 * `manifest` has not is removed, what it has must be there as it was sent, or
 * be what `origin` has.  modes, that file, is written anew: of each folder it
 * has the last mode only.  0, or -1 with f: a FAULT_CUT when it is not so.
 */
int staged_settle(struct stage *s, int modes, struct fault *f);

/*
 * The cache of what the target had before: made with `origin`, or else beside
 * the stored manifest.  NULL is ENOMEM.
 */
struct statcache *origin_cache(const struct stage *s);

/* --- unpack_start.c: what the archive starts from --- */

/* Sets start, use, and the staging folder.  0, or -1 with f. */
int unpack_find_start(struct unpacking *k, bool delta, const char *since);
int unpack_wrong_start(struct unpacking *k);

/* The tree must still be what its manifest says.  0, or -1 with f. */
int unpack_check_origin(struct unpacking *k);

/* From here on, what came can be gone on from. */
int unpack_write_about(struct unpacking *k);

/* --- unpack_cache.c: what proves, later, that nothing changed --- */

/* Of the new tree, beside its manifest, in the staging folder. */
int unpack_write_cache(struct unpacking *k);

/* And that manifest, by reading: the archive was in another order. */
int unpack_write_snapshot(struct unpacking *k);

#endif
