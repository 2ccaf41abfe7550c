/*
 * queue.h - the file queue: one request is handled at most once, and its
 * requester always learns what is known (protocol: pc-queue(5)).
 *
 *	submit    write, publish            -> requests/ID
 *	claim     rename, no-replace        requests/ID -> claimed/ID
 *	withdraw  unlink                    requests/ID -> gone
 *	respond   publish if none exists    -> responses/ID; unlink claimed/ID
 *	collect   read; unlink requests/ID, claimed/ID, responses/ID
 *
 * Why it holds: a request's file is in one folder at a time, and every step
 * is one rename or unlink, of which the kernel lets exactly one caller
 * succeed.  The claim is the commit point: before it nothing has happened,
 * after it the handler may have run.  A responder publishes before it removes
 * the claim; when the claim has gone by then, the requester has left, and the
 * responder takes its own response back.  It holds the claim's file locked
 * meanwhile (flock(2), so never longer than it lives): a second responder
 * writes nothing, and finds a response, or no claim, when it comes again.
 * tests/model has every order of these steps looked at.
 *
 * The folders belong to the agent and are hostile.  Each is opened once,
 * beneath the queue's own descriptor, and used through it.  An entry counts
 * if it is a regular file named <id>.json; nothing else is opened blocking,
 * followed or touched.
 *
 * Functions return 0, or -1 with errno, unless they say otherwise.  ids have
 * been checked by id_is_valid().
 */
#ifndef QUEUE_H
#define QUEUE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

#define QUEUE_DEPTH_MAX		64	/* default: pending plus claimed */
#define QUEUE_GRACE_MS		2000	/* after the deadline: others sweep */
#define QUEUE_SWEEP_EVERY_MS	10000

enum {
	QUEUE_CREATE = 1,	/* make the directory, parents included */
	QUEUE_GROUP = 2,	/* 0770 and 0660 instead of 0700 and 0600 */
	QUEUE_SYNC = 4,		/* fsync at every publish */
	QUEUE_LOOK = 8		/* change nothing; a missing folder is empty */
};

enum queue_folder {
	QUEUE_REQUESTS, QUEUE_CLAIMED, QUEUE_RESPONSES, QUEUE_FOLDERS
};

/* One open queue.  root and folder[] are descriptors; -1 for none. */
struct queue {
	char *dir;		/* absolute */
	int flags;
	int root;
	int folder[QUEUE_FOLDERS];
	bool no_rename_flags;	/* private: renameat2 cannot; use link */
	uint64_t serial;	/* private: names of temporaries */
};

/*
 * Opens the queue, making folders that are missing (unless QUEUE_LOOK).
 * Refuses a folder that is a link or no directory (ENOTDIR, ELOOP), or whose
 * owner is neither we nor the queue directory's (EPERM).  Sets umask to 0:
 * modes are exact from here on.
 */
int queue_open(struct queue *q, const char *dir, int flags);
void queue_close(struct queue *q);

/*
 * The directory was removed or replaced since it was opened: opens what is
 * there now.  -1 leaves the old descriptors in place.
 */
int queue_reopen(struct queue *q);

/* Whether the folders we hold are still the ones that the path names. */
bool queue_is_current(const struct queue *q);

/* record is the file's whole content. */
int queue_submit(struct queue *q, const char *id, struct span record);

/* ENOENT: claimed, withdrawn or answered by another. */
int queue_claim(struct queue *q, const char *id);
int queue_withdraw(struct queue *q, const char *id);

/* Whether an entry exists now, as a regular file. */
bool queue_has(const struct queue *q, enum queue_folder where,
    const char *id);

/*
 * When it was last written, in ms since 1970.  0, or -1 with errno: ENOENT for
 * none or for anything but a regular file.
 */
int queue_mtime(const struct queue *q, enum queue_folder where,
    const char *id, int64_t *mtime_ms);

/*
 * Reads an entry into b (emptied first), at most max bytes: EFBIG for more,
 * ENOENT for none or for anything but a regular file.  *mtime_ms: since 1970.
 */
int queue_read(const struct queue *q, enum queue_folder where,
    const char *id, size_t max, struct buf *b, int64_t *mtime_ms);

enum queue_delivery {
	QUEUE_DELIVERED,	/* published, and the requester can have it */
	QUEUE_TAKEN_BACK,	/* published, but the requester had left */
	QUEUE_ANSWERED,		/* another answer was first */
	QUEUE_UNKNOWN,		/* no such request: nothing written */
	QUEUE_FAILED		/* errno; delivery is not known */
};

/* Claims the request if nobody has; response is the file's whole content. */
enum queue_delivery queue_respond(struct queue *q, const char *id,
    struct span response);

/* The report's reason for a delivery. */
const char *queue_delivery_reason(enum queue_delivery d);

/*
 * Reads the response, at most max bytes, and removes all that is left of the
 * request.  -1 with ENOENT when there is none, EAGAIN when it cannot be read
 * now, for want of descriptors or memory, or a bad disk; with any other errno
 * it was there, could not be read, and has been removed all the same.
 */
int queue_collect(struct queue *q, const char *id, size_t max,
    struct buf *b);

enum queue_withdrawal {
	QUEUE_WITHDRAWN,	/* nobody had claimed it */
	QUEUE_WAS_CLAIMED	/* a drain has it; look once more */
};

/* Giving up: withdraws, or else removes the claim, so that no answer stays. */
enum queue_withdrawal queue_give_up(struct queue *q, const char *id);

/*
 * Calls each for every entry of a folder, in no order, until it returns
 * false.  id points to a NUL-terminated name without ".json".
 */
int queue_each(const struct queue *q, enum queue_folder where,
    bool (*each)(void *ctx, const char *id), void *ctx);

/* The name of a folder in the queue's directory. */
const char *queue_folder_name(enum queue_folder where);

/*
 * The id of an entry of a folder: cuts ".json" off its name.  NULL for a name
 * that is no entry's.
 */
const char *queue_entry_id(char *name);

/*
 * Opens a regular file of the queue's own directory (a lock, say) with these
 * open(2) flags, never through a link and never blocking: a descriptor, or -1
 * with errno, EINVAL when it is no regular file.
 */
int queue_open_file(const struct queue *q, const char *name, int flags);

/* What a killed writer left, last written before then; how many it removed. */
size_t queue_remove_temporaries(struct queue *q, int64_t before_ms);

/* For the sweep: unlinks an entry whose deadline has passed. */
int queue_remove(struct queue *q, enum queue_folder where, const char *id);

#endif
