/*
 * interest.h - what is waited for, for each descriptor, on one epoll.
 *
 * The kernel is told only of changes.  A descriptor that rests between two
 * uses may stay with it as it is: its next use then costs no call.
 */
#ifndef INTEREST_H
#define INTEREST_H

#include <sys/epoll.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interest {
	int epoll;
	struct interest_fd *fds;	/* private, as what follows */
	size_t nfds;
};

/* Zeroes i.  0, or -1 with errno. */
int interest_open(struct interest *i);
void interest_close(struct interest *i);

/*
 * fd is new, and interest_closed() will be called before the number can be
 * another's: only such a descriptor can rest.  0, or -1 with ENOMEM.
 */
int interest_opened(struct interest *i, int fd);
void interest_closed(struct interest *i, int fd);

/*
 * Waits for these events, which come with data.fd (EPOLLERR and EPOLLHUP come
 * unasked, even with 0).  0, or -1 with errno: EPERM for a file, which is
 * always ready.
 */
int interest_set(struct interest *i, int fd, uint32_t events);

/*
 * Waits for nothing: fd rests where it can, else it is taken out.  0, or -1
 * with errno.
 */
int interest_rest(struct interest *i, int fd);

/*
 * What of events that came was waited for; an error or a hang-up is all of
 * it.  0 takes a descriptor out that was at rest.
 */
uint32_t interest_match(struct interest *i, int fd, uint32_t events);

#endif
