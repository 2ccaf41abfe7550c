/*
 * path_list.h - the paths of a file, each ended by NUL: what a delta deletes.
 *
 * The file is our own, of paths that were checked when they came.  A last one
 * without its NUL was being written when all ended, and is not there.
 */
#ifndef PATH_LIST_H
#define PATH_LIST_H

#include "span.h"

struct path_list;

/* From the file's beginning; fd stays the caller's.  NULL with errno. */
struct path_list *path_list_open(int fd);
void path_list_free(struct path_list *l);	/* NULL too */

/*
 * The path that is next, until path_list_next(): 1, 0 at the end, -1 with
 * errno.
 */
int path_list_peek(struct path_list *l, struct span *path);
void path_list_next(struct path_list *l);

#endif
