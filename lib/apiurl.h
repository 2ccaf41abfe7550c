/*
 * apiurl.h - the one URL that requests are forwarded to.
 *
 *	http://HOST[:PORT][/PATH]
 *	https://HOST[:PORT][/PATH]
 *	unix:SOCKET[:/PATH]		HTTP over a Unix socket
 *
 * User information, a query or a fragment has no meaning here and is refused;
 * so is a path that is not canonical, since it goes before every other.
 */
#ifndef APIURL_H
#define APIURL_H

#include "span.h"

/* Spans of the text it was parsed from. */
struct apiurl {
	struct span origin;	/* "http://HOST:PORT"; empty for a socket */
	struct span socket;	/* empty for a host; fits into a sockaddr_un */
	struct span path;	/* without a '/' at the end, so "" for "/" */
};

/* NULL, or what is wrong with it, as a static phrase. */
const char *apiurl_parse(struct apiurl *u, struct span text);

#endif
