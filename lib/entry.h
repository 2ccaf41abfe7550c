/*
 * entry.h - one entry of a tree: a regular file, a folder or a symbolic link.
 *
 * The root of a tree has no entry.  Owners, extended attributes and hard
 * links are not part of it (sync: pc-manifest(5)).
 */
#ifndef ENTRY_H
#define ENTRY_H

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

#endif
