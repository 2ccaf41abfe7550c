#include <sys/stat.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "io.h"
#include "units.h"

#define BACKLOG 4096

static int
make_unix(struct address *a, const char *path)
{
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(a->u.un.sun_path))
		return -1;
	a->u.un.sun_family = AF_UNIX;
	memcpy(a->u.un.sun_path, path, n + 1);
	a->len = sizeof(a->u.un);
	return 0;
}

int
address_make(struct address *a, const char *host, unsigned int port)
{
	memset(a, 0, sizeof(*a));
	if (port > 65535)
		return -1;
	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &a->u.in.sin_addr) == 1) {
		a->u.in.sin_family = AF_INET;
		a->u.in.sin_port = htons((uint16_t)port);
		a->len = sizeof(a->u.in);
		return 0;
	}
	if (inet_pton(AF_INET6, host, &a->u.in6.sin6_addr) == 1) {
		a->u.in6.sin6_family = AF_INET6;
		a->u.in6.sin6_port = htons((uint16_t)port);
		a->len = sizeof(a->u.in6);
		return 0;
	}
	return -1;
}

int
address_parse(struct address *a, const char *text)
{
	const char *colon = strrchr(text, ':');
	char host[64];
	uint64_t port;
	size_t n;

	memset(a, 0, sizeof(*a));
	if (strncmp(text, "unix:", 5) == 0)
		return make_unix(a, text + 5);
	if (colon == NULL || units_parse_number(colon + 1, 65535, &port) == -1)
		return -1;
	n = (size_t)(colon - text);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n) != NULL) {
		return -1;
	}
	if (n >= sizeof(host))
		return -1;
	memcpy(host, text, n);
	host[n] = '\0';
	return address_make(a, host, (unsigned int)port);
}

bool
address_is_loopback(const struct address *a)
{
	switch (a->u.any.sa_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return ntohl(a->u.in.sin_addr.s_addr) >> 24 == 127;
	default:
		return IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr);
	}
}

/* A socket's file whose server is gone; anything else there is left alone. */
static void
remove_dead_socket(const struct address *a)
{
	struct stat st;
	int fd;

	if (lstat(a->u.un.sun_path, &st) == -1 || !S_ISSOCK(st.st_mode))
		return;
	/* A live one that accepts nothing any more is not waited for. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd != -1 && connect(fd, &a->u.any, a->len) == -1 &&
	    errno == ECONNREFUSED)
		unlink(a->u.un.sun_path);
	io_close(fd);
}

int
address_listen(struct address *a, mode_t mode)
{
	bool is_unix = a->u.any.sa_family == AF_UNIX;
	mode_t old;
	int fd, one = 1, result;

	fd = socket(a->u.any.sa_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	if (is_unix)
		remove_dead_socket(a);
	else
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
		    sizeof(one));
	old = umask(0777 & ~mode);
	result = bind(fd, &a->u.any, a->len);
	umask(old);
	if (result == -1 || listen(fd, BACKLOG) == -1 ||
	    (!is_unix && getsockname(fd, &a->u.any, &a->len) == -1)) {
		io_close(fd);
		return -1;
	}
	return fd;
}

void
address_put_host(const struct address *a, struct buf *out)
{
	char text[INET6_ADDRSTRLEN] = "";

	switch (a->u.any.sa_family) {
	case AF_UNIX:
		buf_add_str(out, a->u.un.sun_path);
		return;
	case AF_INET:
		inet_ntop(AF_INET, &a->u.in.sin_addr, text, sizeof(text));
		break;
	default:
		inet_ntop(AF_INET6, &a->u.in6.sin6_addr, text, sizeof(text));
	}
	buf_add_str(out, text);
}

unsigned int
address_port(const struct address *a)
{
	switch (a->u.any.sa_family) {
	case AF_UNIX:
		return 0;
	case AF_INET:
		return ntohs(a->u.in.sin_port);
	default:
		return ntohs(a->u.in6.sin6_port);
	}
}

void
address_put_url(const struct address *a, struct buf *out)
{
	bool v6 = a->u.any.sa_family == AF_INET6;

	if (a->u.any.sa_family == AF_UNIX) {
		buf_add_str(out, "unix:");
		address_put_host(a, out);
		return;
	}
	buf_add_str(out, v6 ? "http://[" : "http://");
	address_put_host(a, out);
	buf_add_str(out, v6 ? "]:" : ":");
	buf_add_int(out, (int64_t)address_port(a));
}

void
address_withdraw(const struct address *a)
{
	if (a->u.any.sa_family == AF_UNIX)
		unlink(a->u.un.sun_path);
}
