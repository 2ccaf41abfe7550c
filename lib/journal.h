/*
 * journal.h - what is going to be done to a tree, written down before it is.
 *
 * A plan is complete before its first step, and each step may be taken again:
 * so a change that is interrupted is finished by whoever comes next.  A record
 * is also what is reported of a path.  Records can be read both ways, since
 * folders get their modes, and go, when all in them is done.
 *
 * The file is private: made 0600, where no sandbox can write.
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "buf.h"

enum step {
	STEP_NONE,	/* only a report */
	STEP_PUT,	/* the staged entry takes its place */
	STEP_TAKE,	/* the entry goes */
	STEP_MAKE,	/* a folder, with mode */
	STEP_MODE,	/* gets mode; a folder last, writable until then */
	STEP_DROP,	/* a folder goes, if nothing is in it */
	STEP_EMPTY,	/* the same, at the end */
	STEP_SAVE,	/* the staged entry goes to the conflicts folder */
	STEP_COPY	/* the file there is copied to the conflicts folder */
};

enum journal_flags {
	JOURNAL_CAREFUL = 1,	/* what was there must be what seen says */
	JOURNAL_KEEP = 2,	/* and goes to the conflicts folder */
	JOURNAL_CONFLICT = 4	/* report */
};

enum action {
	ACTION_NONE, ACTION_APPLIED, ACTION_DELETED, ACTION_KEPT,
	ACTION_MERGED, ACTION_HELD
};

enum held_reason {
	HELD_NONE, HELD_PROTECTED, HELD_LINK, HELD_PARENT, HELD_GIT
};

/* What a name stood for when it was looked at; ino 0 is nothing. */
struct seen {
	uint64_t ino, size;
	int64_t mtime_ns, ctime_ns;
};

struct journal_record {
	struct span path;	/* of the reader's memory, until the next */
	enum step step;
	unsigned flags;
	unsigned mode;
	uint64_t staged_ino;	/* STEP_PUT */
	struct seen seen;	/* of the target */
	enum action action;	/* to be reported; ACTION_NONE is not */
	enum held_reason reason;
	bool saved;		/* report: a version is in the conflicts */
	uint64_t number;	/* set by the reader: place in the journal */
};

/* Zero it, but for fd. */
struct journal_writer {
	int fd;
	struct buf out;
	uint64_t count;
};

/* 0, or -1 with errno. */
int journal_begin(struct journal_writer *w, uint64_t staging_ino,
    bool manifest, struct span run);
int journal_add(struct journal_writer *w, const struct journal_record *r);
int journal_end(struct journal_writer *w, bool sync);
void journal_writer_free(struct journal_writer *w);

struct journal;

/* NULL with errno: EBADMSG when it is not a whole journal.  Takes fd. */
struct journal *journal_open(int fd);
void journal_free(struct journal *j);		/* NULL too */
uint64_t journal_staging_ino(const struct journal *j);
bool journal_has_manifest(const struct journal *j);
struct span journal_run(const struct journal *j);

/* 1, 0 at either end, -1 with errno.  Start before the first or after last. */
void journal_to_start(struct journal *j);
void journal_to_end(struct journal *j);
int journal_next(struct journal *j, struct journal_record *r);
int journal_previous(struct journal *j, struct journal_record *r);

#endif
