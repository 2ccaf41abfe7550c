/* address.h - where a gateway listens: HOST:PORT or unix:PATH. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <sys/socket.h>
#include <sys/un.h>

#include <netinet/in.h>
#include <stdbool.h>

#include "buf.h"

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} u;
	socklen_t len;
};

/*
 * "127.0.0.1:0", "[::1]:8080", "localhost:80", "unix:/path".  No look-ups.
 * 0, or -1 for anything else.
 */
int address_parse(struct address *a, const char *text);

/* The same from a host and a port (0: any that is free). */
int address_make(struct address *a, const char *host, unsigned int port);

/* 127.0.0.0/8, ::1, or a Unix socket. */
bool address_is_loopback(const struct address *a);

/*
 * A non-blocking listening socket, or -1 with errno.  A Unix socket's file is
 * made with this mode; a dead one's is replaced, a live one's never.  Then a
 * holds the port that was chosen.
 */
int address_listen(struct address *a, mode_t mode);

/* Host, port (0 for a Unix socket) and base URL, for ready.json. */
void address_put_host(const struct address *a, struct buf *out);
unsigned int address_port(const struct address *a);
void address_put_url(const struct address *a, struct buf *out);

/* Removes a Unix socket's file. */
void address_withdraw(const struct address *a);

#endif
