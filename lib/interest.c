#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "interest.h"
#include "io.h"

struct interest_fd {
	uint32_t told, wanted;
	bool known;		/* the kernel has it */
	bool can_rest;
};

int
interest_open(struct interest *i)
{
	memset(i, 0, sizeof(*i));
	i->epoll = epoll_create1(EPOLL_CLOEXEC);
	return i->epoll == -1 ? -1 : 0;
}

void
interest_close(struct interest *i)
{
	io_close(i->epoll);
	free(i->fds);
}

static struct interest_fd *
find(struct interest *i, int fd)
{
	size_t n = i->nfds ? i->nfds : 64;
	struct interest_fd *fds;

	if ((size_t)fd < i->nfds)
		return &i->fds[fd];
	while (n <= (size_t)fd)
		n *= 2;
	fds = realloc(i->fds, n * sizeof(*fds));
	if (fds == NULL)
		return NULL;
	memset(fds + i->nfds, 0, (n - i->nfds) * sizeof(*fds));
	i->fds = fds;
	i->nfds = n;
	return &i->fds[fd];
}

int
interest_opened(struct interest *i, int fd)
{
	struct interest_fd *f = find(i, fd);

	if (f == NULL)
		return -1;
	*f = (struct interest_fd){ .can_rest = true };
	return 0;
}

/* Closing takes it out of the epoll, as nobody else has it open. */
void
interest_closed(struct interest *i, int fd)
{
	if ((size_t)fd < i->nfds)
		i->fds[fd] = (struct interest_fd){ 0 };
}

int
interest_set(struct interest *i, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };
	struct interest_fd *f = find(i, fd);

	if (f == NULL)
		return -1;
	f->wanted = events;
	if (f->known && f->told == events)
		return 0;
	if (epoll_ctl(i->epoll, f->known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
	    &event) == -1)
		return -1;
	f->known = true;
	f->told = events;
	return 0;
}

static int
take_out(struct interest *i, int fd, struct interest_fd *f)
{
	if (!f->known)
		return 0;
	f->known = false;
	return epoll_ctl(i->epoll, EPOLL_CTL_DEL, fd, NULL);
}

int
interest_rest(struct interest *i, int fd)
{
	struct interest_fd *f = find(i, fd);

	if (f == NULL)
		return -1;
	f->wanted = 0;
	/* Something that can be written to would not let us sleep. */
	if (f->can_rest && (f->told & EPOLLOUT) == 0)
		return 0;
	return take_out(i, fd, f);
}

uint32_t
interest_match(struct interest *i, int fd, uint32_t events)
{
	struct interest_fd *f = find(i, fd);

	if (f == NULL)
		return 0;
	if (f->wanted == 0)
		(void)take_out(i, fd, f);
	if (events & (EPOLLERR | EPOLLHUP))
		return f->wanted;
	return events & f->wanted;
}
