#include <sys/un.h>

#include "apiurl.h"
#include "target.h"

#define SOCKET_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static struct span
after(struct span s, size_t n)
{
	return (struct span){ s.p + n, s.n - n };
}

/* Cuts u->socket off the front of rest. */
static const char *
take_socket(struct apiurl *u, struct span *rest)
{
	const char *colon = memmem(rest->p, rest->n, ":/", 2);

	u->socket = *rest;
	if (colon != NULL)
		u->socket.n = (size_t)(colon - rest->p);
	if (u->socket.n == 0)
		return "no path of a socket";
	if (u->socket.n > SOCKET_MAX)
		return "the path of the socket is too long";
	*rest = after(*rest, u->socket.n + (colon != NULL ? 1 : 0));
	return NULL;
}

/* Cuts u->origin off the front of rest, which is past the scheme. */
static const char *
take_origin(struct apiurl *u, struct span *rest, size_t scheme)
{
	struct span authority = { rest->p, 0 };

	while (authority.n < rest->n && strchr("/?#",
	    authority.p[authority.n]) == NULL)
		authority.n++;
	if (memchr(authority.p, '@', authority.n) != NULL)
		return "user information is not taken";
	if (!target_is_authority(authority))
		return "not a host, with or without a port";
	u->origin = (struct span){ rest->p - scheme, authority.n + scheme };
	*rest = after(*rest, authority.n);
	return NULL;
}

const char *
apiurl_parse(struct apiurl *u, struct span text)
{
	static const char *const schemes[] = { "http://", "https://" };
	const char *fault = "not http://, https:// or unix:";
	struct span rest = text;
	size_t i, n;

	memset(u, 0, sizeof(*u));
	if (span_starts(text, "unix:")) {
		rest = after(text, 5);
		fault = take_socket(u, &rest);
	}
	for (i = 0; i < 2; i++) {
		n = strlen(schemes[i]);
		if (!span_starts(text, schemes[i]))
			continue;
		rest = after(text, n);
		fault = take_origin(u, &rest, n);
	}
	if (fault != NULL)
		return fault;
	if (rest.n > 0 && target_check_path(rest) != NULL)
		return "not a canonical path, without query and fragment";
	while (rest.n > 0 && rest.p[rest.n - 1] == '/')
		rest.n--;
	u->path = rest;
	return NULL;
}
