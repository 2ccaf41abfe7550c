/*
 * tar_write.h - a tree's entries into a tar archive: ustar headers, with pax
 * records (POSIX.1-2001) for what does not fit: paths and targets over their
 * fields or not plain ASCII, sizes over 8 GiB, times with a fraction, before
 * 1970 or after the field's end; sparse files in GNU's pax form 1.0.  Owner
 * and group are 0 and unnamed.  GNU tar, bsdtar, Python's tarfile and
 * busybox tar read it.
 */
#ifndef TAR_WRITE_H
#define TAR_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "entry.h"
#include "sink.h"
#include "tar_pax.h"

struct tar_writer;

/* Writes into sink, which stays the caller's.  NULL with errno ENOMEM. */
struct tar_writer *tar_write_open(struct sink *sink);
void tar_write_free(struct tar_writer *w);	/* NULL too */

/*
 * Starts a member.  For a file exactly e->size bytes of data must follow.
 * 0, or -1 with errno (of the sink; EOVERFLOW is never: everything fits pax).
 */
int tar_write_entry(struct tar_writer *w, const struct entry *e);

/*
 * The same for a file with holes: exactly the bytes of the n runs must
 * follow, one after another.  Runs are in order and do not overlap.
 */
int tar_write_sparse(struct tar_writer *w, const struct entry *e,
    const struct tar_run *runs, size_t n);

/*
 * A run of the member's data.  Either given, or read straight from a file
 * into the sink's buffer: tar_write_reserve and tar_write_commit are as in
 * sink.h, never more than the member still lacks.
 */
int tar_write_data(struct tar_writer *w, const void *data, size_t len);
uint8_t *tar_write_reserve(struct tar_writer *w, size_t *len);
int tar_write_commit(struct tar_writer *w, size_t len);

/* Pads the member; EINVAL when data is missing. */
int tar_write_member_end(struct tar_writer *w);

/* The end marker.  The sink is not finished by it. */
int tar_write_end(struct tar_writer *w);

#endif
