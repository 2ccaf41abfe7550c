/*
 * manifest.h - what a tree held: one JSON line per entry (pc-manifest(5)).
 *
 * A manifest's id is the SHA-256 of all its lines.  Two sides that mean the
 * same tree have the same lines, so the same id.
 */
#ifndef MANIFEST_H
#define MANIFEST_H

#include "entry.h"
#include "fault.h"
#include "scope.h"
#include "sha256.h"

#define MANIFEST_LINE_MAX	131072	/* a path and a target, escaped */
#define MANIFEST_ID_SIZE	SHA256_HEX_SIZE

/* --- writing --- */

/* Zero it, but for fd. */
struct manifest_writer {
	int fd;			/* -1 to have only the id */
	struct buf out;
	struct sha256 sum;
};

/* 0, or -1 with errno. */
int manifest_begin(struct manifest_writer *m, const struct scope *s);
int manifest_add(struct manifest_writer *m, const struct entry *e);
int manifest_add_line(struct manifest_writer *m, struct span line);
int manifest_end(struct manifest_writer *m, char id[static MANIFEST_ID_SIZE]);
void manifest_writer_free(struct manifest_writer *m);

/* One entry's line, as in a manifest. */
void manifest_put_entry(struct buf *out, const struct entry *e);

/* Appends `"key":...`, or `"keyBase64":...` of bytes that are no UTF-8. */
void manifest_put_path(struct buf *out, const char *key, struct span bytes);

/* --- reading --- */

/*
 * What makes entries a manifest: they come in the order of a walk, each after
 * its folder.  Zeroed is before the first.
 */
struct manifest_order {
	struct buf last;	/* path of the last one, whose folders all came */
	size_t folder;		/* bytes of it that are a folder's path */
};

/* Whether e may be next; it is the last then.  1, 0 with why, -1: ENOMEM. */
int manifest_follows(struct manifest_order *o, const struct entry *e,
    const char **why);

struct manifest;

/*
 * fd is a manifest to read from its beginning; what cannot be read twice (a
 * pipe) is copied into memory first.  Checks the first line.  fd becomes the
 * manifest's.  NULL with f filled in; name is what f calls it.
 */
struct manifest *manifest_open(int fd, const char *name, struct fault *f);
void manifest_free(struct manifest *m);		/* NULL too */

/* The patterns of its first line. */
const struct scope *manifest_scope(const struct manifest *m);

/*
 * The id; reads the file once.  An entry that is not valid does not matter
 * here.  0, or -1 with f.
 */
int manifest_id(struct manifest *m, char id[static MANIFEST_ID_SIZE],
    struct fault *f);

/*
 * The entry that is next, NULL at the end (*failed false) or when it is not
 * valid (*failed true and f filled in).  It stays until manifest_next().
 * Refused are: another order than a walk's, an entry whose parent is not a
 * folder before it, keys or values that are not pc-manifest(5)'s.
 */
const struct entry *manifest_peek(struct manifest *m, struct fault *f,
    bool *failed);
void manifest_next(struct manifest *m);

/* The line, newline included, of the entry that is peeked at. */
struct span manifest_line(const struct manifest *m);

/*
 * Another reader of the same file, from the entry that this one peeks at; each
 * is freed.  NULL with errno ENOMEM.
 */
struct manifest *manifest_fork(const struct manifest *m);

/* From the first entry again. */
void manifest_rewind(struct manifest *m);

/* As manifest_open, of a file that has entries only, and no first line. */
struct manifest *manifest_open_lines(int fd, const char *name,
    struct fault *f);

/*
 * What base becomes by a delta: lines (manifest_open_lines) are new or
 * changed entries, deleted is a file of paths in order (path_list.h);
 * what is not in base is no matter there.  Writes entries only, between
 * manifest_begin and manifest_end.  A delta that would leave an entry without
 * its folder is refused; but of a delta that was cut, deletions are missing,
 * and what base has below what is no folder any more goes with it.  0, or -1
 * with f.
 */
int manifest_patch(struct manifest *base, struct manifest *lines, int deleted,
    bool cut, struct manifest_writer *out, struct fault *f);

#endif
