/*
 * watch.h - waiting for changes in a queue's folders.
 *
 * inotify tells at once where it works; in some sandboxes events do not cross
 * a mount, so everybody who waits also looks again from time to time, and how
 * often is decided here: notification is an optimisation, never a condition.
 */
#ifndef WATCH_H
#define WATCH_H

#include <stdalign.h>

#include "queue.h"

#define WATCH_BUFFER 16384

enum watch_kind {
	WATCH_ARRIVED,		/* an entry with this id is there */
	WATCH_LEFT,		/* one has been removed or moved away */
	WATCH_LOST		/* events were lost, or the folder itself went:
				   look again (no id) */
};

struct watch_event {
	enum watch_kind kind;
	enum queue_folder folder;
	const char *id;			/* until the next watch_next() */
};

struct watch {
	int fd;				/* polls readable; -1: there is none */
	int wd[QUEUE_FOLDERS];		/* private */
	int64_t interval;		/* private: ms until the next look */
	int64_t shortest;		/* private */
	bool trusted;			/* private: events have told all */
	size_t at, len;			/* private */
	alignas(8) char events[WATCH_BUFFER];
};

/* Never fails: without inotify there is only looking, every interval_ms. */
void watch_open(struct watch *w, int64_t interval_ms);
void watch_close(struct watch *w);

enum {
	WATCH_FOR_ARRIVED = 1,
	WATCH_FOR_LEFT = 2,		/* removed or moved away */
	WATCH_FOR_REMOVED = 4		/* removed only; said as WATCH_LEFT */
};

/* Starts, changes (wants) or ends (0) the watching of a folder. */
void watch_folder(struct watch *w, const struct queue *q,
    enum queue_folder folder, int wants);

/* The next event that is there: false when there is none. */
bool watch_next(struct watch *w, struct watch_event *e);

/* How long to wait before looking oneself, in ms. */
int64_t watch_interval(const struct watch *w);

/*
 * After having looked: missed if something had come that no event told.
 * Then looking becomes frequent, for good; otherwise ever more rare.
 */
void watch_looked(struct watch *w, bool missed);

/* Something came: expect more soon. */
void watch_busy(struct watch *w);

#endif
