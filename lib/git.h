/*
 * git.h - what a tree's paths mean to git, as far as a merge must know.
 *
 * A repository is one thing: `.git` and all that is below it (the unit).  In
 * it are files that git on the host would execute, or that lead it to others
 * it would execute; a sandbox does not get to write them.
 */
#ifndef GIT_H
#define GIT_H

#include <stdbool.h>

#include "entry.h"

/*
 * path is a repository's top or below it: top is the path up to and with its
 * first component `.git`, rest what follows the '/' after it, or empty.
 */
bool git_unit(struct span path, struct span *top, struct span *rest);

/* rest names an object: content that never changes under its name. */
bool git_is_object(struct span rest);

/*
 * An entry that git runs, or that takes git elsewhere: hooks, configuration,
 * commondir, at the top or in a submodule's or worktree's folder; any link;
 * a repository's top that is no folder.
 */
bool git_is_protected(struct span path, enum entry_type type);

#endif
