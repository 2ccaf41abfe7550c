/*
 * copy.h - a file, with its mode and time, made anew; or a link.
 *
 * By reflink where the file system has them, else by the kernel
 * (copy_file_range), else by reading and writing.
 */
#ifndef COPY_H
#define COPY_H

#include <stdint.h>
#include <sys/stat.h>

/*
 * All data of from into to (an empty file), holes kept.  0, or -1 with errno.
 */
int copy_data(int from, int to, uint64_t size);

/*
 * The file or link name of dir as to of to_dir, complete or not at all: made
 * as temporary of temporary_dir, then renamed over what is there.  Mode and
 * mtime of a file are the same, never through a link.  EINVAL for other types.
 */
int copy_entry(int dir, const char *name, int temporary_dir,
    const char *temporary, int to_dir, const char *to);

#endif
