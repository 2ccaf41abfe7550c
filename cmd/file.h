/* file.h - the commands of pc-file, and what their options said. */
#ifndef FILE_H
#define FILE_H

#include <limits.h>
#include <sys/types.h>

#include "sha256.h"

#define MODE_MAX	07777

struct args {
	char **operands;
	size_t count;
	mode_t mode, umask;
	uint64_t offset, length;
	uint8_t sha256[SHA256_SIZE];
	bool has_mode, has_sha256, no_stdin;
	bool base64, force, json, no_replace, null, parents, recursive, sync;
};

/* Each returns an exit status, or exits. */
int file_get(const struct args *a);
int file_list(const struct args *a);
int file_mkdir(const struct args *a);
int file_put(const struct args *a);
int file_remove(const struct args *a);
int file_rename(const struct args *a);
int file_sha256(const struct args *a);

/* --- what the commands share --- */

/* The exit status for an errno. */
int file_status(int error);

/* Says errno of an object; the status for it. */
int file_warn(const char *object);
_Noreturn void file_fail(const char *object);
_Noreturn void file_fail_memory(void);

/* A path as the caller gave it, which may well go through links. */
struct place {
	const char *path;
	int dir;			/* of the folder its last name is in */
	char name[NAME_MAX + 1];
	bool slash;			/* the path ends in one */
};

/* Opens the folder, made when a says so.  0, or -1 with errno. */
int place_open(struct place *at, const char *path, const struct args *a);
void place_close(const struct place *at);

/* A path at that ends in a slash is for a folder, which what is. */
int place_check_slash(const struct place *at, const struct place *what);

#endif
