#include <sys/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "epoch.h"
#include "io.h"
#include "lock.h"
#include "units.h"

#define NUMBER_LEN 20		/* decimal digits of a uint64_t */
#define RAISE_WAIT_MS 2000

/* 0, or -1 with errno: EAGAIN when it was not to be had in time. */
static int
lock_within(int fd, enum lock_kind kind, int64_t wait_ms)
{
	switch (lock_take(fd, kind, clock_mono_ms() + wait_ms)) {
	case LOCK_TAKEN:
		return 0;
	case LOCK_BUSY:
		errno = EAGAIN;
		return -1;
	default:
		return -1;
	}
}

/* An empty file, or garbage, is 0: the agent may have meddled with it. */
static uint64_t
read_number(int fd)
{
	char text[NUMBER_LEN + 1];
	uint64_t number;
	ssize_t n = pread(fd, text, NUMBER_LEN, 0);

	text[n > 0 ? n : 0] = '\0';
	return units_parse_number(text, UINT64_MAX, &number) == 0 ? number : 0;
}

static int
raise_number(int fd, uint64_t number)
{
	char text[NUMBER_LEN + 2];

	if (read_number(fd) > number) {
		errno = ESTALE;
		return -1;
	}
	/* One write of constant length: never seen half done. */
	snprintf(text, sizeof(text), "%020llu\n", (unsigned long long)number);
	if (pwrite(fd, text, NUMBER_LEN + 1, 0) != NUMBER_LEN + 1)
		return -1;
	return 0;
}

int
epoch_open(struct epoch *e, const struct queue *q, uint64_t number)
{
	e->number = number;
	if ((e->fd = queue_open_file(q, "epoch", O_RDWR | O_CREAT)) == -1)
		return -1;
	if (lock_within(e->fd, LOCK_EXCLUSIVE, RAISE_WAIT_MS) == -1 ||
	    raise_number(e->fd, number) == -1) {
		epoch_close(e);
		return -1;
	}
	return flock(e->fd, LOCK_UN);
}

void
epoch_close(struct epoch *e)
{
	io_close(e->fd);
	e->fd = -1;
}

int
epoch_enter(const struct epoch *e)
{
	if (e->fd == -1)
		return 0;
	while (flock(e->fd, LOCK_SH) == -1)
		if (errno != EINTR)
			return -1;
	if (read_number(e->fd) <= e->number)
		return 0;
	epoch_leave(e);
	errno = ESTALE;
	return -1;
}

void
epoch_leave(const struct epoch *e)
{
	if (e->fd != -1)
		flock(e->fd, LOCK_UN);
}

int
drain_lock(const struct queue *q, bool alone, int64_t wait_ms)
{
	int fd = queue_open_file(q, "drain.lock", O_RDWR | O_CREAT);

	if (fd == -1)
		return -1;
	if (lock_within(fd, alone ? LOCK_EXCLUSIVE : LOCK_SHARED,
	    wait_ms) == -1) {
		io_close(fd);
		return -1;
	}
	return fd;
}

int
drain_lock_share(int fd)
{
	return flock(fd, LOCK_SH);
}
