/*
 * entry.h - one entry of a tree: a regular file, a folder or a symbolic link.
 *
 * The root of a tree has no entry.  Owners, extended attributes and hard
 * links are not part of it (sync: pc-manifest(5)).
 */
#ifndef ENTRY_H
#define ENTRY_H

#include <sys/stat.h>

#include <stdbool.h>
#include <stdint.h>

#include "span.h"

#define ENTRY_PATH_MAX	4096	/* bytes of a path, as the default limit */
#define ENTRY_NAME_MAX	255	/* bytes of one component */
#define ENTRY_TARGET_MAX 4096	/* bytes of a link's target */
#define SHA256_SIZE	32

enum entry_type { ENTRY_FILE, ENTRY_DIR, ENTRY_LINK };

struct entry {
	struct span path;	/* relative, '/' between components, any bytes */
	enum entry_type type;
	unsigned mode;		/* permission bits, 0 to 0777; 0777 of a link */
	uint64_t size;		/* bytes of a file; 0 of all others */
	int64_t mtime_ns;	/* of a file, since 1970; 0 of all others */
	struct span target;	/* of a link */
	uint8_t sha256[SHA256_SIZE];	/* of a file */
};

enum entry_change {
	CHANGE_NONE,
	CHANGE_ADDED,
	CHANGE_DELETED,
	CHANGE_CONTENT,		/* and perhaps the mode */
	CHANGE_MODE,
	CHANGE_TARGET,
	CHANGE_TYPE
};

/*
 * What became of an entry that is in two trees; a file's time is no change.
 * Both sums are known.
 */
enum entry_change entry_change(const struct entry *before,
    const struct entry *now);

/* Nothing did. */
bool entry_equal(const struct entry *a, const struct entry *b);

/* A link at path whose target stays below the root, whatever is there. */
bool link_is_inside(struct span path, struct span target);

/* st in the terms of an entry; path, sha256 and target are left alone. */
void entry_from_stat(struct entry *e, const struct stat *st);

/* In ns since 1970; beyond an int64_t it goes round. */
int64_t stat_mtime_ns(const struct stat *st);
int64_t stat_ctime_ns(const struct stat *st);

/* Whether nanoseconds can say the time; else they only tell it from others. */
bool stat_mtime_counts(const struct stat *st);

#endif
