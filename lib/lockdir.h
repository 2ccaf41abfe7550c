/*
 * lockdir.h - the lock of existing peers, a folder, without their races.
 *
 * They make the folder LOCK and write their pid into it, as LOCK/pid or in
 * LOCK/owner.json, and remove one whose pid is dead.  Ours exclude one
 * another by the kernel's lock on LOCK.pc.lock, which is never removed; who
 * has that one waits for the peers' folder to go, moves a dead peer's away,
 * and publishes a folder of its own, complete, for peers to see.  So one of
 * ours at most ever touches the folder.  Deadlines are lock.h's.
 */
#ifndef LOCKDIR_H
#define LOCKDIR_H

#include "holder.h"
#include "lock.h"

/* A folder without a pid is a dead peer's after this time. */
#define LOCKDIR_GRACE_MS 10000

struct lockdir {
	int fd;			/* the kernel's lock: whoever inherits it
				   holds the lock too */
	int parent, folder;	/* private */
	char *dir, *name;	/* private */
};

/*
 * Zeroes l, and finds the folder that path is in.  0, or -1 with errno:
 * EINVAL when path has no last component.
 */
int lockdir_open(struct lockdir *l, const char *path);

/* Closes without releasing: what has been published stays. */
void lockdir_close(struct lockdir *l);

/*
 * Waits until neither ours nor a live peer has it, and takes it from ours.
 * LOCK_FAILED: errno, ENOTDIR when the path is no folder, EEXIST when the
 * folder holds what no lock does: it is somebody's, and left alone.
 */
enum lock_result lockdir_take(struct lockdir *l, int64_t deadline);

/*
 * After lockdir_take: makes the folder, in the name of pid, which must be
 * alive and stay so, or be a zombie, until the release.  LOCK_BUSY when a
 * peer was faster: take again.
 */
enum lock_result lockdir_publish(struct lockdir *l, pid_t pid,
    const char *command);

/* Both, for this process. */
enum lock_result lockdir_acquire(struct lockdir *l, const char *command,
    int64_t deadline);

/*
 * Removes the folder if it is still ours, and gives up the kernel's lock.
 * 0; -1 when a peer has taken the folder meanwhile.
 */
int lockdir_release(struct lockdir *l);

enum lockdir_state {
	LOCKDIR_FREE,
	LOCKDIR_HELD,		/* by a live process */
	LOCKDIR_LEFT,		/* by a dead one */
	LOCKDIR_UNKNOWN,	/* without a pid, and not for long */
	LOCKDIR_UNSEEN		/* errno, as lockdir_take */
};

/* Who has the folder; changes nothing. */
enum lockdir_state lockdir_look(const struct lockdir *l, struct holder *h);

#endif
