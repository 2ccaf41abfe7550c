/* io.h - descriptor I/O that survives EINTR and short transfers. */
#ifndef IO_H
#define IO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "buf.h"

/*
 * Descriptors 0, 1 and 2 exist afterwards, so that no file the program opens
 * is taken for one of them.  One that was closed can be read (nothing is
 * there) and not written: output is never lost without a word.  0 or -1.
 */
int io_guard_standard(void);

/* All of buf, blocking.  0, or -1 with errno set. */
int io_write_all(int fd, const void *buf, size_t len);

/* Fills buf; returns bytes read (short only at end of file) or -1. */
ssize_t io_read_full(int fd, void *buf, size_t len);

/* The same from an offset of a file, which stays where it was. */
ssize_t io_pread_full(int fd, void *buf, size_t len, off_t at);

/*
 * One read of what is there, appended to b (at most chunk bytes).  Returns
 * the bytes, 0 at end of file, -1 with errno (EINTR is retried, EAGAIN not).
 */
ssize_t io_read_some(int fd, struct buf *b, size_t chunk);

/*
 * To the end of file, at most max bytes: 0, or -1 with errno, EFBIG when
 * there was more.
 */
int io_read_to_end(int fd, struct buf *b, size_t max);

/*
 * After poll() said that fd can be written: writes a part that a pipe takes
 * without blocking (POSIX: PIPE_BUF).  Bytes written, or -1 with errno;
 * EINTR and EAGAIN count as 0 bytes.
 */
ssize_t io_write_ready(int fd, const void *buf, size_t len);

/*
 * Gives a pipe room for what its two ends do at a time, so that they need not
 * take turns; nothing happens to what is no pipe, or cannot have more.
 */
void io_widen_pipe(int fd);

/* fd polls as a closed pipe or socket at its far end (never for a file). */
bool io_peer_gone(short revents);

/* close(2) that keeps errno; -1 is ignored. */
void io_close(int fd);

#endif
