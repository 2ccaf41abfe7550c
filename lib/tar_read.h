/*
 * tar_read.h - members out of a tar archive, one after another.
 *
 * Reads v7, ustar and pax (POSIX.1-2001: x and g records), GNU's L, K and
 * base-256 numbers, and sparse files of old GNU (type S) and pax 0.0, 0.1
 * and 1.0.  The archive is hostile: each number is bounded, each header's
 * sum is checked, a name is only what the header says, and nothing is
 * resolved or trusted here; whether a member may be written is the caller's
 * business.  Memory is bounded by TAR_PAX_MAX and TAR_RUNS_MAX.
 */
#ifndef TAR_READ_H
#define TAR_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "source.h"
#include "span.h"

#define TAR_PAX_MAX	1048576	/* bytes of one member's extended header */
#define TAR_RUNS_MAX	131072	/* runs of data in one sparse file */

enum tar_type {
	TAR_FILE,		/* also type 7 and v7's NUL */
	TAR_DIR,		/* also a v7 file whose name ends in '/' */
	TAR_SYMLINK,
	TAR_HARDLINK,
	TAR_OTHER		/* a device, a FIFO, anything else with a name */
};

struct tar_member {
	struct span name;	/* without the '/'s at its end; no NUL */
	enum tar_type type;
	char flag;		/* the header's type, for messages */
	unsigned mode;		/* 0 to 07777 */
	uint64_t size;		/* of the file, holes included */
	int64_t mtime_ns;
	struct span target;	/* of a link; no NUL; a hard link's as name is */
	bool sparse;
};

enum tar_result {
	TAR_MEMBER,
	TAR_END,	/* the end marker was seen, and zeros only after it */
	TAR_BAD,	/* not a tar archive, or damaged: see tar_fault */
	TAR_CUT,	/* the input ended too early: no end marker */
	TAR_FAILED	/* errno of reading, or ENOMEM */
};

struct tar_reader;

/* Reads from source, which stays the caller's.  NULL with errno ENOMEM. */
struct tar_reader *tar_read_open(struct source *source);
void tar_read_free(struct tar_reader *r);	/* NULL too */

/*
 * The next member; data of the one before that was not read is skipped
 * (and bounded by its size).  Spans hold until the next call.
 */
enum tar_result tar_read_next(struct tar_reader *r, struct tar_member *m);

/*
 * The next run of the member's data: *len bytes that belong at *offset of
 * the file.  TAR_MEMBER for a run (*len > 0), TAR_END after the last one;
 * the rest as above.  Runs come in order and do not overlap; what lies
 * between them, and up to m->size, is zeros.  *data holds until the next
 * call.  Runs are at most SOURCE_WINDOW long.
 */
enum tar_result tar_read_data(struct tar_reader *r, uint64_t *offset,
    const uint8_t **data, size_t *len);

/* After TAR_BAD: why, in a few words ("wrong checksum"). */
const char *tar_fault(const struct tar_reader *r);

/*
 * The member, or the extended header, that it happened in or after, as the
 * header has it; empty before the first, and of one without a name.
 */
struct span tar_fault_member(const struct tar_reader *r);

#endif
