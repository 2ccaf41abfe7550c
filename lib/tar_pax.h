/*
 * tar_pax.h - numbers and extended headers of tar archives (POSIX.1-2001 pax,
 * GNU), strictly.
 */
#ifndef TAR_PAX_H
#define TAR_PAX_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

/* A run of data in a sparse file: all between two is zeros. */
struct tar_run {
	uint64_t offset, len;	/* bytes */
};

/* What the records for one member say; offsets are into text. */
struct tar_pax {
	bool path, linkpath, size, mtime;
	size_t path_at, path_len, linkpath_at, linkpath_len;
	uint64_t size_value;
	int64_t mtime_ns;

	/* GNU's sparse files: 0.0, 0.1 and 1.0. */
	bool sparse, sparse_name, realsize;
	unsigned major, minor;
	size_t name_at, name_len;
	uint64_t realsize_value;
	struct buf map;		/* struct tar_run each, as in 0.0 and 0.1 */
	bool half;		/* an offset without its length */
	uint64_t offset;
};

/*
 * All records of an extended header (POSIX.1-2008, pax Extended Header); of a
 * global one only what does not name a member is taken.  Later records hold.
 * NULL, or why it is bad; without memory for it, p->map has failed.
 */
const char *tar_pax_parse(struct tar_pax *p, struct span text, bool global,
    size_t runs_max);
void tar_pax_reset(struct tar_pax *p);
void tar_pax_free(struct tar_pax *p);

/*
 * A number of a header's field of size bytes: octal digits (POSIX.1-2008,
 * ustar), none of which is 0, or GNU's base-256, perhaps negative.  0, or -1.
 */
int tar_number(const char *field, size_t size, int64_t *out);

/* Decimal digits only, less than 2^63: 0, or -1. */
int tar_decimal(struct span text, uint64_t *out);

#endif
