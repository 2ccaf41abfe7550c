/*
 * execdir.h - the commands that have an id: which of them run, what they have
 * said, and how to end one.
 *
 * A folder with two files for each: ID.lock, which its pc-exec holds for as
 * long as it lives, and ID.out, its output as lines, when it is detached.
 * Others may write there, too: what is found is bounded and never followed.
 */
#ifndef EXECDIR_H
#define EXECDIR_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

/* The folder, ours and 0700; made if it is not there.  -1 with errno. */
int execdir_open(const char *path, bool make);

/*
 * This process runs id now, until it ends.  The lock's descriptor, which must
 * stay open; or -1 with errno, EAGAIN when id runs.
 */
int execdir_claim(int dir, const char *id);

/*
 * What all processes of id have in their environment: PC_EXEC_ID, with the
 * folder in it, since others may use the same ids elsewhere.
 */
#define EXECDIR_MARK_SIZE 256
void execdir_mark(int dir, const char *id,
    char out[static EXECDIR_MARK_SIZE]);

/*
 * A fresh ID.out to append to; or the one that is there, to read, and to give
 * up what was read (fallocate).  -1 with errno.
 */
int execdir_spool(int dir, const char *id);
int execdir_read(int dir, const char *id);

/*
 * Whether id runs (1, or 0), and by which process: 0, one that cannot be
 * seen.  -1 with errno when it cannot be known.
 */
int execdir_is_running(int dir, const char *id, pid_t *pid);

/* Somebody asks for its output, and may wait for so long; not a must. */
void execdir_touch(int dir, const char *id, int64_t ahead_ms);

enum execdir_end {
	EXECDIR_ENDED,
	EXECDIR_NONE,		/* there was no such id */
	EXECDIR_STUCK		/* errno */
};

/*
 * Ends id and all that it has started, also when its pc-exec was killed, and
 * removes its files.
 */
enum execdir_end execdir_kill(int dir, const char *id, int64_t kill_ms);

/* Removes its files, which may be gone: 0, or -1 with errno. */
int execdir_forget(int dir, const char *id);

#endif
