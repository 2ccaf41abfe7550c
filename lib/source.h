/*
 * source.h - an archive's bytes out of a descriptor: as they are, or out of
 * gzip (RFC 1952, several members too), base64 (RFC 4648 section 4, with line
 * ends), or gzip in base64.  What it is is told by its first bytes, unless
 * said.  One window of fixed size, whatever the archive.
 */
#ifndef SOURCE_H
#define SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_WINDOW	262144	/* bytes that can be asked for at once */

enum source_form {
	SOURCE_DETECT,
	SOURCE_PLAIN,
	SOURCE_GZIP,
	SOURCE_BASE64,		/* what is inside is detected */
};

struct source;

/* NULL with errno ENOMEM.  fd stays the caller's; it may be a pipe. */
struct source *source_open(int fd, enum source_form form);
void source_free(struct source *s);		/* NULL too */

/*
 * Makes at least want (1 to SOURCE_WINDOW) bytes ready at *data; fewer only
 * where the input ends.  How many are ready, 0 at the end, or -1: errno is
 * EBADMSG for damaged gzip or base64, or an end in the middle of it (see
 * source_is_cut), else what read(2) said.  *data holds until the next call.
 */
ptrdiff_t source_peek(struct source *s, size_t want, const uint8_t **data);

/* Drops n bytes, at most those that the last peek made ready. */
void source_consume(struct source *s, size_t n);

/* The input ended inside gzip or base64: sending it again may help. */
bool source_is_cut(const struct source *s);

/* Bytes read from fd so far (for progress). */
uint64_t source_read_bytes(const struct source *s);

#endif
