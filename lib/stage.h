/*
 * stage.h - the folder that a change of a tree is prepared in.
 *
 * It lies below the tree's own `.paperclip-runtime`, on the same file system
 * (the tree may be a mount point), is made fresh and 0700, and is used by
 * descriptor.  A file `about` in it marks a transfer that was cut short and
 * can be gone on from; a file `journal` one that is to be finished; one with
 * neither is a remnant.
 */
#ifndef STAGE_H
#define STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "fault.h"
#include "journal.h"

#define STAGE_ABOUT	"about"
#define STAGE_JOURNAL	"journal"

struct stage {
	int root;		/* the caller's */
	const char *name;	/* of the folder, below the runtime folder */
	int runtime, lock;
	int dir, new;		/* -1 until stage_fresh or stage_again */
	uint64_t ino;		/* of dir */
};

/*
 * Opens (and makes) the runtime folder of root and takes the lock on what is
 * staged there, waiting until deadline (clock_mono_ms).  0, or -1 with f.
 */
int stage_open(struct stage *s, int root, const char *name, int64_t deadline,
    struct fault *f);

/* Closes, and gives the lock back; what is staged stays. */
void stage_close(struct stage *s);

/* An empty folder in place of whatever is there; or that one again. */
int stage_fresh(struct stage *s, struct fault *f);
int stage_again(struct stage *s, struct fault *f);

/* Removes it with all that is in it. */
int stage_remove(struct stage *s, struct fault *f);

/* A file in it, for reading and appending; made if it is not there. */
int stage_file(struct stage *s, const char *name);

/* Whether name is in it: 1, 0, or -1 with errno. */
int stage_has(const struct stage *s, const char *name);

/*
 * What will be put at name, beside the staging folder, must not meet a folder
 * there (folder: must be one, if it is there).  Before anything is done.  0,
 * or -1 with f.
 */
int stage_check_place(const struct stage *s, const char *name, bool folder,
    struct fault *f);

/*
 * Whether a folder root needs somebody to finish or clean up there: 1, 0, or
 * -1 with errno.
 */
int stage_is_left(int root, const char *name);

#endif
