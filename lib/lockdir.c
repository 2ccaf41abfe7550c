#include <sys/inotify.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "lockfolder.h"
#include "rename.h"

#define FIRST_LOOK_MS	5
#define TRUSTED_MAX_MS	5000	/* where the kernel tells of every change */
#define SHORT_MAX_MS	50	/* where it does not */

/* Beside LOCK; the last two are touched only with the first one locked. */
enum beside { BESIDE_LOCK, BESIDE_NEW, BESIDE_OLD };

struct beside_name {
	char text[NAME_MAX + 16];
};

/* How the one that waits for a peer learns that it should look again. */
struct waiting {
	int events;		/* inotify's, or -1 */
	int64_t interval, longest;
	struct lockfolder unknown;	/* one without a pid, and */
	int64_t unknown_at;	/* when it was first seen */
};

static struct beside_name
beside(const struct lockdir *l, enum beside which)
{
	static const char *const suffix[] = {
		[BESIDE_LOCK] = "lock", [BESIDE_NEW] = "new",
		[BESIDE_OLD] = "old"
	};
	struct beside_name name;

	snprintf(name.text, sizeof(name.text), "%s.pc.%s", l->name,
	    suffix[which]);
	return name;
}

int
lockdir_open(struct lockdir *l, const char *path)
{
	size_t n = strlen(path), at;

	*l = (struct lockdir){ .fd = -1, .parent = -1, .folder = -1 };
	while (n > 0 && path[n - 1] == '/')
		n--;
	for (at = n; at > 0 && path[at - 1] != '/'; at--)
		continue;
	if (n == at || strncmp(path + at, ".", n - at) == 0 ||
	    strncmp(path + at, "..", n - at) == 0) {
		errno = EINVAL;
		return -1;
	}
	l->name = strndup(path + at, n - at);
	l->dir = at == 0 ? strdup(".") : strndup(path, at);
	if (l->name != NULL && l->dir != NULL)
		l->parent = open(l->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->parent != -1)
		return 0;
	lockdir_close(l);
	return -1;
}

void
lockdir_close(struct lockdir *l)
{
	int saved = errno;

	io_close(l->fd);
	io_close(l->folder);
	io_close(l->parent);
	free(l->dir);
	free(l->name);
	*l = (struct lockdir){ .fd = -1, .parent = -1, .folder = -1 };
	errno = saved;
}

/* With the kernel's lock held nobody else of ours renames these. */
static int
move_known(int parent, const char *from, const char *to)
{
	struct stat st;

	if (rename_noreplace(parent, from, parent, to) == 0)
		return 0;
	if (errno != ENOSYS)
		return -1;
	if (fstatat(parent, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	return renameat(parent, from, parent, to);
}

/*
 * Removes a folder that is known to be nobody's, under the name that needs no
 * asking: one that was half removed has no pid, as a new one of a peer's.
 */
static int
discard(const struct lockdir *l, const char *name)
{
	struct beside_name new = beside(l, BESIDE_NEW);

	if (move_known(l->parent, name, new.text) == -1) {
		if (errno != EEXIST)
			return -1;
		lockfolder_remove(l->parent, new.text);
		if (move_known(l->parent, name, new.text) == -1)
			return -1;
	}
	return lockfolder_remove(l->parent, new.text);
}

/* A live peer's that was moved away goes back; anything else is removed. */
static void
settle_old(const struct lockdir *l, const struct lockfolder *dead)
{
	struct beside_name name = beside(l, BESIDE_OLD);
	const char *old = name.text;
	struct lockfolder f;

	lockfolder_look(l->parent, old, &f);
	if (f.state == LOCKDIR_FREE)
		return;
	if (f.state != LOCKDIR_LEFT && (dead == NULL ||
	    f.state == LOCKDIR_HELD || f.dev != dead->dev ||
	    f.ino != dead->ino) && move_known(l->parent, old, l->name) == 0)
		return;
	discard(l, old);
}

/*
 * Moves a dead peer's folder away, and looks whether it was that one: a peer
 * that had the same idea may have made a new one in between.
 */
static int
take_over(const struct lockdir *l, const struct lockfolder *dead)
{
	struct beside_name old = beside(l, BESIDE_OLD);

	if (!lockfolder_is(l->parent, l->name, dead))
		return 0;
	if (move_known(l->parent, l->name, old.text) == -1)
		return errno == ENOENT ? 0 : -1;
	settle_old(l, dead);
	return 0;
}

static void
watch(const struct lockdir *l, struct waiting *w)
{
	char *path;

	if (w->events == -1 || asprintf(&path, "%s/%s", l->dir, l->name) == -1)
		return;
	if (inotify_add_watch(w->events, path, IN_ONLYDIR | IN_DONT_FOLLOW |
	    IN_DELETE_SELF | IN_MOVE_SELF | IN_DELETE | IN_CLOSE_WRITE |
	    IN_MOVED_TO) == -1 && errno != ENOENT)
		w->longest = SHORT_MAX_MS;
	free(path);
}

/* Until something happens to the folder or its holder, or it is time. */
static void
wait_change(struct waiting *w, const struct lockfolder *f, int64_t deadline)
{
	alignas(struct inotify_event) char events[4096];
	int pidfd = f->holder.pid > 0 ? process_watch(f->holder.pid) : -1;
	struct pollfd fds[] = { { .fd = w->events, .events = POLLIN },
	    { .fd = pidfd, .events = POLLIN } };
	int64_t ms = w->interval;
	int left = clock_poll_timeout(deadline);

	if (w->events == -1 || pidfd == -1) {
		w->longest = SHORT_MAX_MS;
		ms = ms < w->longest ? ms : w->longest;
	}
	if (left != -1 && left < ms)
		ms = left;
	w->interval = w->interval * 2 < w->longest ? w->interval * 2 :
	    w->longest;
	if (poll(fds, 2, (int)ms) > 0)
		w->interval = FIRST_LOOK_MS;
	if (fds[0].revents != 0)
		(void)!read(w->events, events, sizeof(events));
	io_close(pidfd);
}

/* Whether one without a pid has been so, before our eyes, for long. */
static bool
is_overdue(struct waiting *w, const struct lockfolder *f)
{
	if (w->unknown.ino != f->ino || w->unknown.dev != f->dev ||
	    memcmp(&w->unknown.changed, &f->changed,
	    sizeof(f->changed)) != 0) {
		w->unknown = *f;
		w->unknown_at = clock_mono_ms();
	}
	return clock_mono_ms() - w->unknown_at >= LOCKDIR_GRACE_MS;
}

/* Waits for peers, while ours wait for us. */
static enum lock_result
wait_peers(struct lockdir *l, struct waiting *w, int64_t deadline)
{
	struct lockfolder f;
	bool watched = false;

	for (;; watched = true) {
		lockfolder_look(l->parent, l->name, &f);
		if (f.state == LOCKDIR_UNKNOWN && is_overdue(w, &f))
			f.state = LOCKDIR_LEFT;
		switch (f.state) {
		case LOCKDIR_FREE:
			return LOCK_TAKEN;
		case LOCKDIR_LEFT:
			if (take_over(l, &f) == -1)
				return LOCK_FAILED;
			break;
		case LOCKDIR_UNSEEN:
			return LOCK_FAILED;
		default:
			if (deadline >= 0 && clock_mono_ms() >= deadline)
				return LOCK_BUSY;
			if (!watched)
				w->events = inotify_init1(IN_CLOEXEC |
				    IN_NONBLOCK);
			else
				wait_change(w, &f, deadline);
			watch(l, w);
		}
	}
}

enum lock_result
lockdir_take(struct lockdir *l, int64_t deadline)
{
	struct waiting w = { .events = -1, .interval = FIRST_LOOK_MS,
	    .longest = TRUSTED_MAX_MS };
	enum lock_result result = LOCK_TAKEN;
	struct beside_name name = beside(l, BESIDE_LOCK);

	if (l->fd == -1)
		result = lock_acquire(l->parent, name.text, LOCK_EXCLUSIVE,
		    deadline, &l->fd);
	if (result != LOCK_TAKEN)
		return result;
	settle_old(l, NULL);
	result = wait_peers(l, &w, deadline);
	io_close(w.events);
	if (result != LOCK_TAKEN) {
		lock_release(l->fd);
		l->fd = -1;
	}
	return result;
}

enum lock_result
lockdir_publish(struct lockdir *l, pid_t pid, const char *command)
{
	struct beside_name name = beside(l, BESIDE_NEW);
	const char *new = name.text;
	int fd, saved;

	lockfolder_remove(l->parent, new);
	if ((fd = lockfolder_make(l->parent, new, pid, command)) == -1)
		return LOCK_FAILED;
	if (rename_noreplace(l->parent, new, l->parent, l->name) == 0) {
		l->folder = fd;
		return LOCK_TAKEN;
	}
	saved = errno;
	io_close(fd);
	lockfolder_remove(l->parent, new);
	/* As peers do it: for a moment without its pid, but never another's. */
	if (saved == ENOSYS) {
		l->folder = lockfolder_make(l->parent, l->name, pid, command);
		if (l->folder != -1)
			return LOCK_TAKEN;
		saved = errno;
	}
	errno = saved;
	return saved == EEXIST || saved == ENOTEMPTY ? LOCK_BUSY : LOCK_FAILED;
}

enum lock_result
lockdir_acquire(struct lockdir *l, const char *command, int64_t deadline)
{
	enum lock_result result;

	do
		if ((result = lockdir_take(l, deadline)) == LOCK_TAKEN)
			result = lockdir_publish(l, getpid(), command);
	while (result == LOCK_BUSY && l->fd != -1);
	return result;
}

int
lockdir_release(struct lockdir *l)
{
	struct stat st, named;
	int result = -1;

	if (l->folder != -1 && fstat(l->folder, &st) == 0 &&
	    fstatat(l->parent, l->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == named.st_dev && st.st_ino == named.st_ino)
		result = discard(l, l->name);
	io_close(l->folder);
	l->folder = -1;
	lock_release(l->fd);
	l->fd = -1;
	return result;
}

enum lockdir_state
lockdir_look(const struct lockdir *l, struct holder *h)
{
	struct lockfolder f;

	lockfolder_look(l->parent, l->name, &f);
	*h = f.holder;
	return f.state;
}
