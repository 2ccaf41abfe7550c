#include <sys/inotify.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io.h"
#include "watch.h"

#define FIRST_LOOK_MS	5
#define TRUSTED_MAX_MS	5000

void
watch_open(struct watch *w, int64_t interval_ms)
{
	int i;

	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	w->at = w->len = 0;
	w->trusted = w->fd != -1;
	w->shortest = interval_ms;
	w->interval = w->trusted ? interval_ms : FIRST_LOOK_MS;
	for (i = 0; i < QUEUE_FOLDERS; i++)
		w->wd[i] = -1;
}

void
watch_close(struct watch *w)
{
	io_close(w->fd);
	w->fd = -1;
}

void
watch_folder(struct watch *w, const struct queue *q, enum queue_folder folder,
    int wants)
{
	uint32_t mask = IN_ONLYDIR | IN_DELETE_SELF | IN_MOVE_SELF;
	char *path;

	if (w->fd == -1)
		return;
	if (wants == 0) {
		if (w->wd[folder] != -1)
			inotify_rm_watch(w->fd, w->wd[folder]);
		w->wd[folder] = -1;
		return;
	}
	/* Publishing is a rename, or a link where that cannot refuse. */
	if (wants & WATCH_FOR_ARRIVED)
		mask |= IN_MOVED_TO | IN_CREATE;
	if (wants & WATCH_FOR_LEFT)
		mask |= IN_DELETE | IN_MOVED_FROM;
	if (wants & WATCH_FOR_REMOVED)
		mask |= IN_DELETE;
	if (asprintf(&path, "%s/%s", q->dir, queue_folder_name(folder)) == -1)
		return;
	w->wd[folder] = inotify_add_watch(w->fd, path, mask);
	free(path);
	if (w->wd[folder] == -1)
		w->trusted = false;
}

/*
 * One read for all that is there: only a buffer that came back nearly full
 * can have left something, and what it did, poll tells.
 */
static bool
fill(struct watch *w)
{
	bool more = w->len == 0 ||
	    w->len > sizeof(w->events) - sizeof(struct inotify_event) -
	    NAME_MAX - 1;
	ssize_t n;

	w->at = w->len = 0;
	if (!more)
		return false;
	do
		n = read(w->fd, w->events, sizeof(w->events));
	while (n == -1 && errno == EINTR);
	w->len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool
folder_of(const struct watch *w, int wd, enum queue_folder *folder)
{
	int i;

	for (i = 0; i < QUEUE_FOLDERS; i++)
		if (w->wd[i] == wd) {
			*folder = (enum queue_folder)i;
			return true;
		}
	return false;
}

bool
watch_next(struct watch *w, struct watch_event *e)
{
	struct inotify_event *event;

	if (w->fd == -1)
		return false;
	while (w->at < w->len || fill(w)) {
		event = (struct inotify_event *)(void *)(w->events + w->at);
		w->at += sizeof(*event) + event->len;
		e->folder = QUEUE_REQUESTS;
		e->id = NULL;
		e->kind = WATCH_LOST;
		if (event->mask & IN_Q_OVERFLOW)
			return true;
		if (!folder_of(w, event->wd, &e->folder))
			continue;
		if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED))
			return true;
		if (event->len == 0 || (event->mask & IN_ISDIR) ||
		    (e->id = queue_entry_id(event->name)) == NULL)
			continue;
		e->kind = event->mask & (IN_DELETE | IN_MOVED_FROM) ?
		    WATCH_LEFT : WATCH_ARRIVED;
		return true;
	}
	return false;
}

int64_t
watch_interval(const struct watch *w)
{
	return w->interval;
}

void
watch_looked(struct watch *w, bool missed)
{
	int64_t longest;

	if (missed) {
		w->trusted = false;
		w->interval = FIRST_LOOK_MS;
		return;
	}
	longest = w->trusted ? TRUSTED_MAX_MS : w->shortest;
	w->interval = w->interval * 2 < longest ? w->interval * 2 : longest;
}

void
watch_busy(struct watch *w)
{
	w->interval = w->trusted ? w->shortest : FIRST_LOOK_MS;
}
