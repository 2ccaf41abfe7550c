/*
 * walk.h - the entries of a tree, each folder before what is in it, names in
 * the order of their bytes (path_compare).
 *
 * Everything is reached by descriptors without following links.  In memory
 * are the names of the folders on the way down to where the walk is, up to
 * 8 MB of each; those of a larger folder are read in several turns.
 */
#ifndef WALK_H
#define WALK_H

#include <stdbool.h>
#include <sys/stat.h>

#include "entry.h"
#include "scope.h"

enum walk_type { WALK_FILE, WALK_DIR, WALK_LINK, WALK_OTHER };

struct walk_entry {
	struct span path;	/* prefix included */
	enum walk_type type;
	int dir;		/* the folder it is in */
	const char *name;	/* in that folder */
	bool has_stat;		/* st holds; always of a folder */
	bool excluded;		/* outside the scope (only when asked for) */
	struct stat st;
};

enum walk_result { WALK_ENTRY, WALK_END, WALK_FAILED };

struct walk;

/*
 * The tree below the folder root, which stays the caller's.  prefix is put
 * before each path and matched with it; empty for a whole tree.  follow takes
 * the target of each link for the link (ELOOP for a loop, ENOENT for a
 * dangling one).  NULL with errno.
 */
struct walk *walk_open(int root, struct span prefix, const struct scope *s,
    bool follow);
void walk_free(struct walk *w);			/* NULL too */

/* Also report what is excluded, once, without what is below it. */
void walk_show_excluded(struct walk *w);

/*
 * Folders that their owner may not read, write and search are made so when
 * the walk comes to them; an entry's st has the mode from before.
 */
void walk_open_up(struct walk *w);

/*
 * The next entry; its path and descriptor hold until the next call.  An entry
 * that has gone since its folder was read is left out.  After WALK_FAILED
 * (errno) e->path names what it was about.
 */
enum walk_result walk_next(struct walk *w, struct walk_entry *e);

/* Nothing below the folder that came last. */
void walk_skip(struct walk *w);

/* Fills e->st, and e->type by it.  0, or -1 with errno. */
int walk_stat(struct walk *w, struct walk_entry *e);

/* Opens a file for reading; EAGAIN when it is none any more.  -1 with errno. */
int walk_open_file(struct walk *w, const struct walk_entry *e);

/* A link's target, NUL excluded, into out; its length, or -1 with errno. */
ssize_t walk_read_link(const struct walk_entry *e,
    char out[static ENTRY_TARGET_MAX]);

/*
 * Whether the folder, which is path in its tree, has anything below it that
 * is outside the scope: 1, 0, or -1 with errno.
 */
int walk_has_excluded(int folder, struct span path, const struct scope *s);

#endif
