/*
 * sink.h - an archive's bytes into a descriptor: as they are, through gzip
 * (RFC 1952), through base64 (lines of 76 characters), or both.  One buffer
 * of fixed size.  The first failure sticks: every later call returns it.
 */
#ifndef SINK_H
#define SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sink;

/* gzip_level 0 is none, else 1 to 9.  NULL with errno ENOMEM. */
struct sink *sink_open(int fd, int gzip_level, bool base64);
void sink_free(struct sink *s);			/* NULL too; discards */

/* 0, or -1 with errno of the write that failed. */
int sink_write(struct sink *s, const void *data, size_t len);

/*
 * Room for up to *len bytes in the buffer itself, so that read(2) can fill
 * it without a copy; sink_commit says how many it got.  NULL with errno.
 * *len is at least 1 and may be less than was asked for.
 */
uint8_t *sink_reserve(struct sink *s, size_t *len);
int sink_commit(struct sink *s, size_t len);

/* What can go on goes on now, to a reader that has something to do with it. */
int sink_flush(struct sink *s);

/* All that is left, and the end of gzip and base64.  0, or -1 with errno. */
int sink_finish(struct sink *s);

/* Bytes written to fd so far (for progress). */
uint64_t sink_written_bytes(const struct sink *s);

#endif
