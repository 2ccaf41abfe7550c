/*
 * statcache.h - SHA-256 sums of files that provably did not change.
 *
 * A record says what a file's stat data was when its content had the sum.
 * The sum still holds while size, times of modification and of change, and
 * the inode are the same - if the change was older than the clock's step when
 * the content was read (else a later write may have got the same time); a
 * record that was not is written as unsettled, and proves nothing.
 *
 * The file is private to one machine: records in the order of a walk, ended
 * by a sum of it all.  A damaged one is as good as none.
 */
#ifndef STATCACHE_H
#define STATCACHE_H

#include <sys/stat.h>

#include "buf.h"
#include "entry.h"
#include "sha256.h"

struct statcache;

/* Takes fd; -1, or a damaged file, is an empty cache.  NULL is ENOMEM. */
struct statcache *statcache_open(int fd);

/* Another reader of the same file, from where c is.  NULL is ENOMEM. */
struct statcache *statcache_fork(const struct statcache *c);

/* From the first record again. */
void statcache_rewind(struct statcache *c);
void statcache_free(struct statcache *c);	/* NULL too */

/*
 * The sum of the file at path whose stat data is st, if it is proved.  Paths
 * must come in the order of a walk; what is before path is passed over.
 */
bool statcache_find(struct statcache *c, struct span path,
    const struct stat *st, uint8_t sha256[static SHA256_SIZE]);

/* Zero it, but for fd. */
struct statcache_writer {
	int fd;
	struct buf out;
	struct sha256 sum;
	bool started;
	int64_t step_ns;	/* private: of the clock */
};

/*
 * Records, in the order of a walk.  st was taken before the content was read
 * to its end and found the same after it; read_ns is the wall clock then
 * (statcache_clock).  0, or -1 with errno.
 */
int statcache_add(struct statcache_writer *w, struct span path,
    const struct stat *st, int64_t read_ns,
    const uint8_t sha256[static SHA256_SIZE]);

/*
 * All records of c that are before path (or all that are left: path empty),
 * as they are; one at path itself is left out.  0, or -1 with errno.
 */
int statcache_copy(struct statcache_writer *w, struct statcache *c,
    struct span path);

/* The sum of it all.  0, or -1 with errno. */
int statcache_end(struct statcache_writer *w);
void statcache_writer_free(struct statcache_writer *w);

/* So far apart two changes are sure to have different times, in ms. */
int statcache_step_ms(void);

/* The clock that file times are taken from, in ns. */
int64_t statcache_clock(void);

#endif
