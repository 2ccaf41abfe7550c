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

/*
 * An empty file, or garbage, is 0: the agent may have meddled with it.  One
 * that cannot be read is an error, and no reason to go back to 0.
 */
static int
read_number(int fd, uint64_t *number)
{
	char text[NUMBER_LEN + 1];
	ssize_t n = io_pread_full(fd, text, NUMBER_LEN, 0);

	if (n == -1)
		return -1;
	text[n] = '\0';
	if (units_parse_number(text, UINT64_MAX, number) == -1)
		*number = 0;
	return 0;
}

static int
raise_number(int fd, uint64_t number)
{
	char text[NUMBER_LEN + 2];
	uint64_t before;
	size_t len = 0;
	ssize_t n;

	if (read_number(fd, &before) == -1)
		return -1;
	if (before > number) {
		errno = ESTALE;
		return -1;
	}
	/* One write of constant length: never seen half done. */
	snprintf(text, sizeof(text), "%020llu\n", (unsigned long long)number);
	while (len < NUMBER_LEN + 1) {
		n = pwrite(fd, text + len, NUMBER_LEN + 1 - len, (off_t)len);
		if (n == -1 && errno != EINTR)
			return -1;
		if (n > 0)
			len += (size_t)n;
	}
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
	uint64_t now;
	int got, error;

	if (e->fd == -1)
		return 0;
	while (flock(e->fd, LOCK_SH) == -1)
		if (errno != EINTR)
			return -1;
	got = read_number(e->fd, &now);
	if (got == 0 && now <= e->number)
		return 0;
	error = got == -1 ? errno : ESTALE;
	epoch_leave(e);
	errno = error;
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
	int got;

	do
		got = flock(fd, LOCK_SH);
	while (got == -1 && errno == EINTR);
	return got;
}
