#include <sys/random.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base64.h"
#include "io.h"
#include "put.h"
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
	struct buf line = { 0 };
	int result = -1;

	buf_add_span(&line, token);
	buf_add_char(&line, '\n');
	if (!buf_failed(&line))
		result = put_file(file, 0600, buf_span(&line));
	buf_free(&line);
	return result;
}
