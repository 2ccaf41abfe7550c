#include <sys/random.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base64.h"
#include "io.h"
#include "token.h"

#define TOKEN_MAX 4096

bool
token_is_valid(struct span token)
{
	size_t i;

	for (i = 0; i < token.n; i++)
		if (token.p[i] <= ' ' || token.p[i] > '~')
			return false;
	return token.n > 0 && token.n <= TOKEN_MAX;
}

int
token_read(const char *file, struct buf *b)
{
	int fd = open(file, O_RDONLY | O_NOCTTY | O_CLOEXEC), result;

	if (fd == -1)
		return -1;
	buf_reset(b, b->cap);
	result = io_read_to_end(fd, b, TOKEN_MAX + 2);
	io_close(fd);
	if (result == -1)
		return -1;
	if (b->len > 0 && b->data[b->len - 1] == '\n')
		b->len--;
	if (b->len > 0 && b->data[b->len - 1] == '\r')
		b->len--;
	if (!token_is_valid(buf_span(b))) {
		errno = EINVAL;
		return -1;
	}
	buf_add_char(b, '\0');
	b->len--;
	return buf_failed(b) ? -1 : 0;
}

int
token_make(struct buf *b)
{
	char bytes[TOKEN_BYTES];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -1;
	buf_reset(b, b->cap);
	base64_encode_url(b, (struct span){ bytes, sizeof(bytes) });
	buf_add_char(b, '\0');
	b->len--;
	return buf_failed(b) ? -1 : 0;
}

int
token_write(const char *file, struct span token)
{
	char *tmp;
	int fd, result = -1, saved;

	if (asprintf(&tmp, "%s.%ld.tmp", file, (long)getpid()) == -1)
		return -1;
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (fd != -1) {
		result = io_write_all(fd, token.p, token.n);
		if (result == 0)
			result = io_write_all(fd, "\n", 1);
		if (close(fd) == -1)
			result = -1;
		if (result == 0)
			result = rename(tmp, file);
		saved = errno;
		if (result == -1)
			unlink(tmp);
		errno = saved;
	}
	free(tmp);
	return result;
}
