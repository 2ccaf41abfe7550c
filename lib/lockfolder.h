/*
 * lockfolder.h - the folder of a lock, as peers make and read it: one look
 * at it, its making and its removal.  lockdir.h says when.
 */
#ifndef LOCKFOLDER_H
#define LOCKFOLDER_H

#include <sys/stat.h>

#include "lockdir.h"

/* One look at a folder, and the folder that was seen. */
struct lockfolder {
	enum lockdir_state state;
	struct holder holder;
	struct timespec changed;
	dev_t dev;
	ino_t ino;
};

/* state LOCKDIR_UNSEEN: errno. */
void lockfolder_look(int parent, const char *name, struct lockfolder *f);

/* name is (still) the folder that was looked at. */
bool lockfolder_is(int parent, const char *name, const struct lockfolder *f);

/* Makes a complete one: a descriptor of it, or -1 with errno. */
int lockfolder_make(int parent, const char *name, pid_t pid,
    const char *command);

/* Removes a folder with what locks are made of: 0, or -1 with errno. */
int lockfolder_remove(int parent, const char *name);

#endif
