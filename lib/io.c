#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "io.h"

int
io_guard_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDONLY);
		if (fd == -1) {
			/* An empty file system has no /dev: any descriptor
			 * will do, as long as the number is taken. */
			if (fcntl(0, F_GETFD) != -1 &&
			    fcntl(1, F_GETFD) != -1 && fcntl(2, F_GETFD) != -1)
				return 0;
			fd = open("/", O_RDONLY | O_DIRECTORY);
			if (fd == -1)
				return -1;
		}
	} while (fd < 3);
	return close(fd);
}

int
io_write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n == -1) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* At an offset, or (-1) where the descriptor is. */
static ssize_t
read_all(int fd, char *p, size_t len, off_t at)
{
	size_t got = 0;
	ssize_t n;

	while (got < len) {
		n = at == -1 ? read(fd, p + got, len - got) :
		    pread(fd, p + got, len - got, at + (off_t)got);
		if (n == -1) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

ssize_t
io_read_full(int fd, void *buf, size_t len)
{
	return read_all(fd, buf, len, -1);
}

ssize_t
io_pread_full(int fd, void *buf, size_t len, off_t at)
{
	return read_all(fd, buf, len, at);
}

ssize_t
io_read_some(int fd, struct buf *b, size_t chunk)
{
	char *to = buf_reserve(b, chunk);
	ssize_t n;

	if (to == NULL) {
		errno = ENOMEM;
		return -1;
	}
	do
		n = read(fd, to, chunk);
	while (n == -1 && errno == EINTR);
	if (n > 0)
		b->len += (size_t)n;
	return n;
}

int
io_read_to_end(int fd, struct buf *b, size_t max)
{
	ssize_t n;

	for (;;) {
		n = io_read_some(fd, b, 65536);
		if (n <= 0)
			return (int)n;
		if (b->len > max) {
			errno = EFBIG;
			return -1;
		}
	}
}

ssize_t
io_write_ready(int fd, const void *buf, size_t len)
{
	ssize_t n = write(fd, buf, len < PIPE_BUF ? len : PIPE_BUF);

	if (n == -1 && (errno == EINTR || errno == EAGAIN))
		return 0;
	return n;
}

bool
io_peer_gone(short revents)
{
	return (revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

void
io_close(int fd)
{
	int saved = errno;

	if (fd != -1)
		close(fd);
	errno = saved;
}

void
io_widen_pipe(int fd)
{
	const int wide = 512 * 1024;
	int now = fcntl(fd, F_GETPIPE_SZ);

	if (now != -1 && now < wide)
		(void)fcntl(fd, F_SETPIPE_SZ, wide);
}
