/*
 * rename.h - renames that replace nothing, or that exchange two entries:
 * renameat2(2), which not every kernel, file system or C library has.
 */
#ifndef RENAME_H
#define RENAME_H

/*
 * Gives old the name new.  All return 0, or -1 with errno: EEXIST where there
 * is a new, ENOSYS where the kernel or the file system cannot do it so.
 */
int rename_noreplace(int from, const char *old, int to, const char *new);

/*
 * The same where it cannot be done by one call: a file is linked and
 * unlinked; for a folder an empty one is made, which old then replaces.
 * Replaces nothing; somebody else may see both names, or the empty folder.
 */
int rename_noreplace_by_steps(int from, const char *old, int to,
    const char *new);

/* By one call, or else by steps. */
int rename_noreplace_anyhow(int from, const char *old, int to,
    const char *new);

/* What is old is new afterwards, and the other way round. */
int rename_exchange(int from, const char *old, int to, const char *new);

#endif
