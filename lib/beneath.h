/*
 * beneath.h - names below a root, reached by descriptors only.
 *
 * A path is walked one component at a time, each opened below the descriptor
 * of the one before with O_NOFOLLOW, and "..", "." and empty components are
 * refused; so no link is ever followed, on any kernel, whoever else renames
 * what.  The descriptors of the last path stay open: the next path in the
 * same folder costs no system call.
 */
#ifndef BENEATH_H
#define BENEATH_H

#include <stdbool.h>
#include <sys/types.h>

#include "span.h"

#define BENEATH_DEPTH_MAX	512	/* components, and descriptors, of a path */
#define BENEATH_PATH_MAX	16384	/* bytes of a path, whatever the limits */

enum path_fault {
	PATH_OK,
	PATH_EMPTY,		/* nothing, or an empty component */
	PATH_ABSOLUTE,
	PATH_DOTS,		/* a component "." or ".." */
	PATH_NUL,
	PATH_LONG,		/* over max bytes */
	PATH_NAME_LONG,		/* a component over 255 bytes */
	PATH_DEEP		/* over depth components */
};

/* Whether path may name an entry below a root. */
enum path_fault path_check(struct span path, size_t max, size_t depth);
const char *path_fault_text(enum path_fault fault);

/*
 * The order of a walk that sorts each folder's names by bytes: '/' is before
 * every other byte.  As memcmp.
 */
int path_compare(struct span a, struct span b);

/* path is top, or below it. */
bool path_is_below(struct span path, struct span top);

/* The part after the last '/'; all of it when there is none. */
struct span path_name(struct span path);

/* The part before the last '/'; empty when there is none. */
struct span path_parent(struct span path);

struct beneath;

/* root (a folder) stays the caller's and open.  NULL with errno ENOMEM. */
struct beneath *beneath_open(int root);
void beneath_free(struct beneath *b);		/* NULL too */

/*
 * The folder that path's last component is in, and that component, NUL-
 * terminated, at *name.  The descriptor and the name are b's, until its next
 * call.  -1 with errno: ELOOP or ENOTDIR where a parent is a link or no
 * folder, ENOENT where there is none, EINVAL for a path that path_check
 * refuses.
 */
int beneath_parent(struct beneath *b, struct span path, const char **name);

/* The same, and makes the parents that are missing, with mode. */
int beneath_parent_made(struct beneath *b, struct span path, mode_t mode,
    const char **name);

/* path itself as a folder (b's descriptor); an empty path is the root. */
int beneath_dir(struct beneath *b, struct span path);

/*
 * Forgets path and what is below it: call it after such a folder was renamed
 * or removed.  An empty path forgets everything.
 */
void beneath_forget(struct beneath *b, struct span path);

/*
 * Removes name below dir and all that is in it, never through a link, also
 * folders without permission bits.  0 (also when there is nothing), or -1.
 */
int beneath_remove_tree(int dir, const char *name);

#endif
