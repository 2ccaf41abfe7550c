/*
 * lock.h - a lock on a file: the kernel's (flock(2)), so it ends with the
 * last process that has its descriptor, whatever way that ends, and is the
 * same in every pid namespace.  Nothing is guessed from a time or a pid.
 *
 * The file is never removed: who waits for it waits for what the next one
 * will open.  If somebody else removes it, a waiter notices and opens the new
 * one.  Deadlines are clock_mono_ms()'s; 0, long past, is "do not wait", a
 * negative one "for ever".  Waiting sleeps in the kernel.  Not for programs
 * with threads: the limit is a SIGALRM.
 */
#ifndef LOCK_H
#define LOCK_H

#include <stdbool.h>
#include <stdint.h>

enum lock_kind { LOCK_EXCLUSIVE, LOCK_SHARED };

enum lock_result {
	LOCK_TAKEN,
	LOCK_BUSY,	/* another had it until the deadline */
	LOCK_FAILED	/* errno: ENOTSUP where locks do not exclude */
};

/*
 * A descriptor (close-on-exec) of a regular file, made if it is not there,
 * or -1 with errno: ELOOP for a link, EISDIR, EINVAL for what is no file.
 * One that may not be written can be locked all the same.
 */
int lock_open(int dirfd, const char *name);

/* Takes the lock of an open file.  Signals that are caught do not end it. */
enum lock_result lock_take(int fd, enum lock_kind kind, int64_t deadline);

/*
 * After lock_take: 0; -1 with errno ESTALE when name is another file now,
 * ENOTSUP when this file system grants a lock twice.
 */
int lock_confirm(int dirfd, const char *name, int fd);

/* The three together: *fd is the lock, until it is closed everywhere. */
enum lock_result lock_acquire(int dirfd, const char *name,
    enum lock_kind kind, int64_t deadline, int *fd);

/* Gives it up for every process that has inherited the descriptor. */
void lock_release(int fd);

#endif
