/*
 * receive.h - an archive's members, checked, into a staging folder.
 *
 * Nothing of the target is touched here.  Names are resolved below the
 * staging folder only, whose entries came from this archive; so no link that
 * is elsewhere can be in the way.  Folders in it are writable until the end:
 * one whose mode takes that away, or that no member named, has the sticky bit
 * until then, and a record of its mode (modes.h).
 */
#ifndef RECEIVE_H
#define RECEIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "fault.h"
#include "manifest.h"
#include "meter.h"
#include "scope.h"
#include "tar_read.h"

struct limits {
	uint64_t bytes;		/* of all files together */
	uint64_t file;		/* bytes of one */
	uint64_t members;	/* implied folders and deletions included */
	size_t depth;		/* components of a name */
	size_t name;		/* bytes of one */
};

#define LIMITS_DEFAULT { .bytes = 64ULL << 30, .members = 2000000, \
    .file = 16ULL << 30, .depth = 128, .name = ENTRY_PATH_MAX }

/* Fill in what is not private. */
struct receive {
	struct tar_reader *tar;
	struct source *source;
	const struct scope *scope;
	struct limits limits;
	unsigned folder_mode;	/* of folders that no member names */
	bool links_inside;	/* refuse links that point outside the root */
	bool replace;		/* what is staged already may be replaced */
	bool sums;		/* make lines of a manifest */
	int tree;		/* the staging folder */
	int lines;		/* file: an entry's line each, when sums */
	int deleted;		/* file: paths, each ended by NUL */
	int modes;		/* file: see modes.h */
	const struct notices *notices;
	const struct meter *meter;

	/* Results. */
	bool ordered;		/* lines are as in a manifest */
	uint64_t members, bytes;

	struct receiving *private;
};

/*
 * The first member.  *delta and since when it is the head of a delta.  0, or
 * -1 with f.
 */
int receive_begin(struct receive *r, bool *delta,
    char since[static MANIFEST_ID_SIZE], struct fault *f);

/*
 * All others, to the end marker.  0, or -1 with f; what was received whole
 * until then is in the files (a FAULT_CUT can be gone on from).
 */
int receive_all(struct receive *r, struct fault *f);
void receive_free(struct receive *r);

#endif
