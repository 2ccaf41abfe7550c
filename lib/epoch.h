/*
 * epoch.h - which drains may claim, when a channel may have died unnoticed.
 *
 * The queue keeps a number that only grows.  A drain that was started with a
 * smaller one claims nothing any more: it looks at the number with a shared
 * lock held while it claims, and raising takes that lock alone, so that no
 * claim of an older drain follows the raising.
 */
#ifndef EPOCH_H
#define EPOCH_H

#include "queue.h"

struct epoch {
	int fd;			/* -1: no epoch, everything is allowed */
	uint64_t number;
};

/*
 * Raises the queue's number to this one.  0, or -1 with errno: ESTALE when
 * it is greater already, EAGAIN when a stopped drain sits in its claiming.
 */
int epoch_open(struct epoch *e, const struct queue *q, uint64_t number);
void epoch_close(struct epoch *e);

/*
 * Around claiming.  enter: 0, or -1 with errno, ESTALE when a newer drain is
 * there.
 */
int epoch_enter(const struct epoch *e);
void epoch_leave(const struct epoch *e);

/*
 * The lock that every following drain shares while it lives, and that
 * recovering wants alone: a descriptor, or -1 with errno, EAGAIN when that
 * cannot be had within wait_ms.
 */
int drain_lock(const struct queue *q, bool alone, int64_t wait_ms);

/*
 * From alone to shared, without giving it up for longer than that takes.  0,
 * or -1 with errno.
 */
int drain_lock_share(int fd);

#endif
