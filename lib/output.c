#include <sys/socket.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "io.h"
#include "output.h"

#define KEEP (256 * 1024)	/* bytes of memory kept while nothing waits */

static void
open_pipe(struct output *o)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", o->fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return;
	o->kind = OUTPUT_PIPE;
	o->fd = fd;
	o->own = true;
}

void
output_open(struct output *o, int fd)
{
	struct stat st;

	memset(o, 0, sizeof(*o));
	o->fd = fd;
	o->kind = OUTPUT_OTHER;
	if (fstat(fd, &st) == -1)
		return;
	if (S_ISREG(st.st_mode))
		o->kind = OUTPUT_FILE;
	else if (S_ISSOCK(st.st_mode))
		o->kind = OUTPUT_SOCKET;
	else if (S_ISFIFO(st.st_mode))
		open_pipe(o);
}

void
output_close(struct output *o)
{
	if (o->own)
		io_close(o->fd);
	buf_free(&o->lines);
}

size_t
output_pending(const struct output *o)
{
	return o->lines.len - o->sent;
}

static ssize_t
write_some(const struct output *o, const char *data, size_t len)
{
	struct pollfd ready = { .fd = o->fd, .events = POLLOUT };

	switch (o->kind) {
	case OUTPUT_PIPE:
	case OUTPUT_FILE:
		return write(o->fd, data, len);
	case OUTPUT_SOCKET:
		return send(o->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	default:
		if (poll(&ready, 1, 0) != 1)
			return 0;
		return io_write_ready(o->fd, data, len);
	}
}

int
output_flush(struct output *o)
{
	ssize_t n;

	if (buf_failed(&o->lines)) {
		errno = ENOMEM;
		return -1;
	}
	if (output_pending(o) == 0)
		return 0;
	n = write_some(o, o->lines.data + o->sent, output_pending(o));
	if (n == -1)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	o->sent += (size_t)n;
	/* Moving what is left costs no more than what was written. */
	if (o->sent >= o->lines.len / 2) {
		buf_consume(&o->lines, o->sent);
		o->sent = 0;
	}
	if (o->lines.len == 0)
		buf_reset(&o->lines, KEEP);
	return 0;
}

void
output_drop(struct output *o)
{
	buf_reset(&o->lines, 0);
	o->sent = 0;
}
