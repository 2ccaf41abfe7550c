/* fuzz.h - what the targets share. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static inline void
check(bool ok)
{
	if (!ok)
		abort();
}

/* A copy of just its size: a byte too far is seen.  Free its p. */
static inline struct span
fuzz_block(const void *data, size_t len)
{
	char *block = malloc(len > 0 ? len : 1);

	check(block != NULL);
	if (len > 0)
		memcpy(block, data, len);
	return (struct span){ block, len };
}

/* A file with these bytes, at its beginning. */
static inline int
fuzz_file(const void *data, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	check(fd != -1 && write(fd, data, len) == (ssize_t)len &&
	    lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

/* What is before the next such byte, cut off the front of s with it. */
static inline struct span
fuzz_cut(struct span *s, char sep)
{
	const char *at = s->n > 0 ? memchr(s->p, sep, s->n) : NULL;
	struct span front = { s->p, at != NULL ? (size_t)(at - s->p) : s->n };

	s->p += front.n + (at != NULL);
	s->n -= front.n + (at != NULL);
	return front;
}

/* All of it is one line, and the newline is its last byte. */
static inline bool
fuzz_is_line(struct span s)
{
	return s.n > 0 && memchr(s.p, '\n', s.n) == s.p + s.n - 1;
}

#endif
