/*
 * presence.h - the one gateway of a queue: is it there, and which process.
 *
 * The gateway holds a POSIX record lock on gateway.lock for as long as it
 * lives.  The kernel says who holds it, so a pid that was written down and
 * then given to another process is never mistaken for it.
 */
#ifndef PRESENCE_H
#define PRESENCE_H

#include "queue.h"

struct presence {
	bool up;
	bool ours;	/* it holds the lock; else an existing peer's gateway */
	pid_t pid;	/* 0 when it is in another pid namespace */
};

/*
 * What is there and may not be seen is not up: 0.  -1 with errno when it
 * could not be looked at.
 */
int presence_look(const struct queue *q, struct presence *p);

/*
 * Takes the lock for this process: a descriptor that must stay open (and no
 * other one on that file be closed), or -1 with errno, EAGAIN when another
 * gateway has it.
 */
int presence_claim(const struct queue *q);

/* Whether a gateway has died here without removing its files. */
bool presence_is_left(const struct queue *q);

/* Publish server.pid; ready.json, whose text that is.  0, or -1 with errno. */
int presence_write_pid(const struct queue *q, pid_t pid);
int presence_write_ready(const struct queue *q, struct span ready);

/* Appends ready.json's text to b.  0, or -1 with errno. */
int presence_read_ready(const struct queue *q, struct buf *b);

/* Removes both files, if they are there. */
void presence_withdraw(const struct queue *q);

enum presence_stop {
	PRESENCE_STOPPED,	/* it has gone, or was not there */
	PRESENCE_FOREIGN,	/* server.pid names a live process that is not
				   a gateway of ours: left alone */
	PRESENCE_STUCK		/* errno; it is there still */
};

/* TERM, KILL after kill_ms, wait until it is gone, remove its files. */
enum presence_stop presence_stop(const struct queue *q, int64_t kill_ms,
    struct presence *was);

#endif
