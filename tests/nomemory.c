/*
 * nomemory.c - to be loaded into a program (LD_PRELOAD): of its allocations
 * the one with the number NOMEMORY_AT, from 0 on, fails.  For glibc.
 */
#include <errno.h>
#include <stdlib.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static int
fails(void)
{
	static long left = -1;
	static int known;
	const char *at;

	if (!known) {
		known = 1;
		if ((at = getenv("NOMEMORY_AT")) != NULL)
			left = atol(at);
	}
	if (left < 0 || left-- > 0)
		return 0;
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
	return fails() ? NULL : __libc_realloc(old, size);
}
