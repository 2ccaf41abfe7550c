#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "copy.h"
#include "io.h"
#include "json.h"
#include "mode.h"
#include "modes.h"
#include "pack.h"
#include "receive.h"

#define HEAD_MAX	4096
#define CHUNK		65536

struct receiving {
	struct beneath *tree;
	struct tar_member member;
	bool have, ended;	/* member is the next; it was the last */
	bool delta;
	struct buf lines, deleted;
	struct manifest_order order;
	struct buf last_deleted;
	struct fault *f;
};

static int
refuse(struct receive *r, const char *reason)
{
	struct span name = r->private->member.name;

	/* "./" is nothing when it is trimmed. */
	return fault_input(r->private->f, name.n > 0 ? name :
	    tar_fault_member(r->tar), reason);
}

static int
fail(struct receive *r)
{
	return fault_system(r->private->f, r->private->member.name);
}

/* What the reader said, other than a member. */
static int
tar_trouble(struct receive *r, enum tar_result result)
{
	struct span at = tar_fault_member(r->tar);

	if (at.n == 0)
		at = span_of("archive");
	if (result == TAR_CUT)
		return fault_cut(r->private->f, at, "the archive ends early");
	if (result == TAR_BAD)
		return fault_input(r->private->f, at, tar_fault(r->tar));
	return fault_system(r->private->f, at);
}

/* --- what was received, in files --- */

static int
flush(struct receive *r, struct buf *b, int fd)
{
	if (buf_failed(b))
		return fail(r);
	if (b->len > 0 && io_write_all(fd, b->data, b->len) == -1)
		return fail(r);
	buf_reset(b, 2 * CHUNK);
	return 0;
}

static int
note_entry(struct receive *r, const struct entry *e)
{
	struct receiving *k = r->private;
	const char *why;
	int got;

	notice(r->notices, NOTICE_NAME, e->path, NULL);
	if (r->ordered) {
		if ((got = manifest_follows(&k->order, e, &why)) == -1)
			return fail(r);
		r->ordered = got == 1;
	}
	if (!r->ordered && k->delta)
		return refuse(r, "out of order, or without its folder");
	if (!r->sums || !r->ordered)
		return 0;
	manifest_put_entry(&k->lines, e);
	return k->lines.len < CHUNK ? 0 : flush(r, &k->lines, r->lines);
}

static int
note_mode(struct receive *r, struct span path, unsigned mode, bool implied)
{
	struct folder_mode m = { .path = path, .mode = mode,
	    .implied = implied };

	return modes_add(r->modes, &m) == -1 ? fail(r) : 0;
}

/* --- parents --- */

static int
count_member(struct receive *r)
{
	return ++r->members > r->limits.members ?
	    refuse(r, "over the limit of members") : 0;
}

/*
 * Makes the folders on the way that no member has named yet, as far as there
 * is nothing else.  0, or -1 with f.
 */
static int
make_parents(struct receive *r, struct span path)
{
	struct receiving *k = r->private;
	struct span part = { path.p, 0 };
	const char *name;
	int dir;

	for (part.n = 1; part.n < path.n; part.n++) {
		if (path.p[part.n] != '/')
			continue;
		dir = beneath_parent(k->tree, part, &name);
		if (dir == -1 && (errno == ENOTDIR || errno == ELOOP))
			return 0;
		if (dir == -1)
			return fail(r);
		if (mkdirat(dir, name, 01700 | r->folder_mode) == -1) {
			if (errno != EEXIST)
				return fail(r);
		} else if (count_member(r) == -1 ||
		    note_mode(r, part, r->folder_mode, true) == -1) {
			return -1;
		}
	}
	return 0;
}

/* The staged folder that the member goes into, and its name there. */
static int
parent_of(struct receive *r, const char **name)
{
	struct receiving *k = r->private;
	struct span path = k->member.name;
	int dir = beneath_parent(k->tree, path, name);

	if (dir == -1 && errno == ENOENT) {
		if (make_parents(r, path) == -1)
			return -1;
		dir = beneath_parent(k->tree, path, name);
	}
	if (dir == -1 && (errno == ENOTDIR || errno == ELOOP))
		return refuse(r, "its parent is a link, or no folder");
	return dir == -1 ? fail(r) : dir;
}

/* Room for a member whose name is taken: the later one holds. */
static int
make_room(struct receive *r, int dir, const char *name)
{
	struct receiving *k = r->private;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return fail(r);
	beneath_forget(k->tree, k->member.name);
	if (r->replace ? beneath_remove_tree(dir, name) == 0 :
	    unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return 0;
	return errno == ENOTEMPTY || errno == EEXIST ?
	    refuse(r, "in the place of a folder that is not empty") : fail(r);
}

/* --- each type --- */

static void
entry_of(const struct tar_member *m, struct entry *e)
{
	*e = (struct entry){ .path = m->name, .mode = m->mode & 0777 };
}

/*
 * The staged folder, new or there already, with the mode it has until then.
 * *later: that one is not the last.
 */
static int
make_folder(struct receive *r, unsigned mode, bool *later)
{
	unsigned until = mode | 0700 | (*later ? 01000u : 0);
	const char *name;
	struct stat st;
	int dir = parent_of(r, &name);

	if (dir == -1)
		return -1;
	if (mkdirat(dir, name, until) == 0)
		return 0;
	if (errno != EEXIST ||
	    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return fail(r);
	if (S_ISDIR(st.st_mode)) {
		/* Once there is a record, only another one takes its place. */
		*later = *later || (st.st_mode & 01000);
		until |= st.st_mode & 01000;
		return mode_set_at(dir, name, until) == -1 ? fail(r) : 0;
	}
	if (make_room(r, dir, name) == -1)
		return -1;
	return mkdirat(dir, name, until) == -1 ? fail(r) : 0;
}

static int
receive_folder(struct receive *r)
{
	const struct tar_member *m = &r->private->member;
	unsigned mode = m->mode & 0777;
	bool later = (mode & 0700) != 0700;
	struct entry e;

	if (make_folder(r, mode, &later) == -1 ||
	    (later && note_mode(r, m->name, mode, false) == -1))
		return -1;
	entry_of(m, &e);
	e.type = ENTRY_DIR;
	return note_entry(r, &e);
}

static int
receive_link(struct receive *r)
{
	const struct tar_member *m = &r->private->member;
	char target[ENTRY_TARGET_MAX + 1];
	struct entry e;
	const char *name;
	int dir;

	if (m->target.n == 0 || m->target.n >= ENTRY_TARGET_MAX)
		return refuse(r, "a link with no target, or too long a one");
	if (r->links_inside && !link_is_inside(m->name, m->target))
		return refuse(r, "a link that points outside the root");
	memcpy(target, m->target.p, m->target.n);
	target[m->target.n] = '\0';
	if ((dir = parent_of(r, &name)) == -1)
		return -1;
	if (symlinkat(target, dir, name) == -1) {
		if (errno != EEXIST)
			return fail(r);
		if (make_room(r, dir, name) == -1)
			return -1;
		if (symlinkat(target, dir, name) == -1)
			return fail(r);
	}
	entry_of(m, &e);
	e.type = ENTRY_LINK;
	e.mode = 0777;
	e.target = m->target;
	return note_entry(r, &e);
}

/* A new file of the member's name, open for writing. */
static int
create_file(struct receive *r, unsigned mode)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	const char *name;
	int dir = parent_of(r, &name), fd;

	if (dir == -1)
		return -1;
	fd = openat(dir, name, flags, mode);
	if (fd == -1 && errno == EEXIST) {
		if (make_room(r, dir, name) == -1)
			return -1;
		fd = openat(dir, name, flags, mode);
	}
	return fd == -1 ? fail(r) : fd;
}

static int
count_bytes(struct receive *r, uint64_t size)
{
	if (size > r->limits.file)
		return refuse(r, "over the limit of a file's bytes");
	if (size > r->limits.bytes - r->bytes)
		return refuse(r, "over the limit of bytes");
	r->bytes += size;
	return 0;
}

/* The member's data to fd: every run where it belongs. */
static int
write_runs(struct receive *r, int fd, struct sha256 *sum)
{
	struct receiving *k = r->private;
	uint64_t offset, at = 0;
	const uint8_t *data;
	size_t len;
	enum tar_result got;

	while ((got = tar_read_data(r->tar, &offset, &data, &len)) ==
	    TAR_MEMBER) {
		if (offset != at &&
		    lseek(fd, (off_t)offset, SEEK_SET) == -1)
			return fail(r);
		if (sum != NULL) {
			sha256_add_zeros(sum, offset - at);
			sha256_add(sum, data, len);
		}
		if (io_write_all(fd, data, len) == -1)
			return fail(r);
		meter_moved(r->meter, len);
		at = offset + len;
	}
	if (got != TAR_END)
		return tar_trouble(r, got);
	if (at == k->member.size)
		return 0;
	if (sum != NULL)
		sha256_add_zeros(sum, k->member.size - at);
	return ftruncate(fd, (off_t)k->member.size) == -1 ? fail(r) : 0;
}

static int
set_mtime(struct receive *r, int fd, int64_t ns)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT } };

	t[1].tv_sec = ns / 1000000000;
	t[1].tv_nsec = ns % 1000000000;
	if (t[1].tv_nsec < 0) {
		t[1].tv_nsec += 1000000000;
		t[1].tv_sec--;
	}
	return futimens(fd, t) == -1 ? fail(r) : 0;
}

static int
receive_file(struct receive *r)
{
	const struct tar_member *m = &r->private->member;
	struct sha256 sum;
	struct entry e;
	int fd, got;

	if (count_bytes(r, m->size) == -1 ||
	    (fd = create_file(r, m->mode & 0777)) == -1)
		return -1;
	entry_of(m, &e);
	e.type = ENTRY_FILE;
	e.size = m->size;
	e.mtime_ns = m->mtime_ns;
	sha256_init(&sum);
	got = write_runs(r, fd, r->sums ? &sum : NULL);
	if (got == 0)
		got = set_mtime(r, fd, m->mtime_ns);
	if (close(fd) == -1 && got == 0)
		got = fail(r);
	if (got == -1)
		return -1;
	sha256_end(&sum, e.sha256);
	return note_entry(r, &e);
}

/* The staged file that a hard link names: open for reading. */
static int
open_staged(struct receive *r, struct stat *st)
{
	struct receiving *k = r->private;
	const struct tar_member *m = &k->member;
	const char *name;
	int dir, fd = -1;

	if (path_check(m->target, r->limits.name, r->limits.depth) !=
	    PATH_OK || span_equal(m->target, m->name))
		return refuse(r, "a hard link to what is no earlier member");
	if ((dir = beneath_parent(k->tree, m->target, &name)) != -1)
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
		    O_CLOEXEC);
	if (fd == -1 || fstat(fd, st) == -1 || !S_ISREG(st->st_mode)) {
		io_close(fd);
		return refuse(r, "a hard link to what is no earlier member");
	}
	return fd;
}

/* Holes stay holes. */
static int
copy_staged(struct receive *r, int from, int to, struct entry *e)
{
	if (copy_data(from, to, e->size) == -1 || (r->sums &&
	    (lseek(from, 0, SEEK_SET) == -1 ||
	    sha256_fd(from, e->sha256) == -1)))
		return fail(r);
	return set_mtime(r, to, e->mtime_ns);
}

/* Each name is a file of its own. */
static int
receive_hard_link(struct receive *r)
{
	const struct tar_member *m = &r->private->member;
	struct entry e;
	struct stat st;
	int from = open_staged(r, &st), to, got;

	if (from == -1)
		return -1;
	if (count_bytes(r, (uint64_t)st.st_size) == -1 ||
	    (to = create_file(r, st.st_mode & 0777)) == -1) {
		io_close(from);
		return -1;
	}
	entry_of(m, &e);
	entry_from_stat(&e, &st);
	got = copy_staged(r, from, to, &e);
	io_close(from);
	if (close(to) == -1 && got == 0)
		got = fail(r);
	return got == -1 ? -1 : note_entry(r, &e);
}

/* --- a delta's own members --- */

/* A small member's content. */
static int
read_note(struct receive *r, struct buf *out, size_t max)
{
	const uint8_t *data;
	uint64_t offset;
	size_t len;
	enum tar_result got;

	if (r->private->member.size > max || r->private->member.sparse)
		return refuse(r, "not what a delta has there");
	while ((got = tar_read_data(r->tar, &offset, &data, &len)) ==
	    TAR_MEMBER)
		buf_add(out, data, len);
	if (got != TAR_END)
		return tar_trouble(r, got);
	return buf_failed(out) ? fail(r) : 0;
}

/* 0, or -1 (ENOMEM without memory). */
static int
parse_head(struct span text, char since[static MANIFEST_ID_SIZE])
{
	struct json j = { .tokens = NULL };
	uint8_t sum[SHA256_SIZE];
	bool version = false, id = false;
	int64_t number;
	size_t i, at;
	int got = -1;

	if (json_parse(&j, text) == 0 && json_type_of(&j, 0) == JSON_OBJECT &&
	    json_size(&j, 0) == 2) {
		for (i = 0, at = 1; i < 2; i++, at = json_skip(&j, at + 1)) {
			struct span key = json_raw(&j, at);

			if (json_string_is(key, "archive"))
				version = json_integer(&j, at + 1, 1,
				    &number) == 0 && number == 1;
			else if (json_string_is(key, "since"))
				id = json_type_of(&j, at + 1) == JSON_STRING &&
				    sha256_from_hex(json_raw(&j, at + 1),
				    sum) == 0;
		}
		got = version && id ? 0 : -1;
	}
	json_free(&j);
	if (got == 0)
		sha256_hex(sum, since);
	return got;
}

static int
note_deleted(struct receive *r, struct span path)
{
	struct receiving *k = r->private;
	enum path_fault bad = path_check(path, r->limits.name,
	    r->limits.depth);

	if (path.n == 0)
		return refuse(r, path_fault_text(bad));
	if (bad != PATH_OK)
		return fault_input(k->f, path, path_fault_text(bad));
	if (scope_is_git_lock(path))
		return 0;
	if (!scope_has_all(r->scope, path))
		return fault_input(k->f, path, "outside the tree");
	if (k->last_deleted.len > 0 &&
	    path_compare(buf_span(&k->last_deleted), path) >= 0)
		return fault_input(k->f, path, "deletions out of order");
	if (count_member(r) == -1)
		return -1;
	if (buf_set(&k->last_deleted, path) == -1)
		return fail(r);
	buf_add_span(&k->deleted, path);
	buf_add_char(&k->deleted, '\0');
	return k->deleted.len < CHUNK ? 0 : flush(r, &k->deleted, r->deleted);
}

static int
receive_deleted(struct receive *r)
{
	struct buf text = { .data = NULL };
	struct span path;
	const char *end;
	size_t at = 0;
	int got = read_note(r, &text, 4 * 1024 * 1024);

	while (got == 0 && at < text.len) {
		end = memchr(text.data + at, '\0', text.len - at);
		if (end == NULL) {
			got = refuse(r, "a deletion without its end");
			break;
		}
		path = (struct span){ text.data + at,
		    (size_t)(end - text.data) - at };
		at += path.n + 1;
		got = note_deleted(r, path);
	}
	buf_free(&text);
	return got;
}

/* --- all members --- */

/* Whether the member may be there: 1, 0 to pass it over, -1. */
static int
check_member(struct receive *r)
{
	const struct tar_member *m = &r->private->member;
	enum path_fault bad;

	if (m->name.n == 0 && m->type == TAR_DIR)
		return 0;
	bad = path_check(m->name, r->limits.name, r->limits.depth);
	if (bad != PATH_OK)
		return refuse(r, path_fault_text(bad));
	if (count_member(r) == -1)
		return -1;
	if (path_is_below(m->name, span_of(SCOPE_RUNTIME)))
		return refuse(r, "below " SCOPE_RUNTIME);
	if (scope_is_git_lock(m->name)) {
		notice(r->notices, NOTICE_LEFT_OUT, m->name,
		    "a lock of git, left out");
		return 0;
	}
	if (!scope_has_all(r->scope, m->name))
		return refuse(r, "outside the tree");
	return 1;
}

static int
receive_member(struct receive *r)
{
	struct receiving *k = r->private;
	int got;

	if (k->delta && k->member.type == TAR_FILE &&
	    span_is(k->member.name, DELTA_DELETED))
		return receive_deleted(r);
	if ((got = check_member(r)) != 1)
		return got;
	switch (k->member.type) {
	case TAR_FILE:
		return receive_file(r);
	case TAR_DIR:
		return receive_folder(r);
	case TAR_SYMLINK:
		return receive_link(r);
	case TAR_HARDLINK:
		return receive_hard_link(r);
	case TAR_OTHER:
		break;
	}
	return refuse(r, "not a file, folder or link");
}

static int
next_member(struct receive *r)
{
	struct receiving *k = r->private;
	enum tar_result got = tar_read_next(r->tar, &k->member);

	k->have = got == TAR_MEMBER;
	k->ended = got == TAR_END;
	return k->have || k->ended ? 0 : tar_trouble(r, got);
}

int
receive_begin(struct receive *r, bool *delta,
    char since[static MANIFEST_ID_SIZE], struct fault *f)
{
	struct buf head = { .data = NULL };
	struct receiving *k = calloc(1, sizeof(*k));
	int got;

	*delta = false;
	if (k == NULL)
		return fault_system(f, span_of("archive"));
	r->private = k;
	r->ordered = true;
	r->members = r->bytes = 0;
	k->f = f;
	if (next_member(r) == -1)
		return -1;
	if (!k->have || k->member.type != TAR_FILE ||
	    !span_is(k->member.name, DELTA_HEAD))
		return 0;
	got = read_note(r, &head, HEAD_MAX);
	errno = 0;
	if (got == 0 && parse_head(buf_span(&head), since) == -1)
		got = errno == ENOMEM ? fail(r) :
		    refuse(r, "not the head of a delta");
	buf_free(&head);
	k->have = false;
	*delta = k->delta = got == 0;
	return got;
}

int
receive_all(struct receive *r, struct fault *f)
{
	struct receiving *k = r->private;
	int got = 0;

	k->f = f;
	k->tree = beneath_open(r->tree);
	if (k->tree == NULL)
		return fault_system(f, span_of("staging"));
	while (got == 0 && !k->ended) {
		if (!k->have && (got = next_member(r)) == -1)
			break;
		if (k->ended)
			break;
		got = receive_member(r);
		k->have = false;
	}
	if (r->sums && flush(r, &k->lines, r->lines) == -1)
		got = -1;
	if (flush(r, &k->deleted, r->deleted) == -1)
		got = -1;
	return got;
}

void
receive_free(struct receive *r)
{
	struct receiving *k = r->private;

	if (k == NULL)
		return;
	beneath_free(k->tree);
	buf_free(&k->lines);
	buf_free(&k->deleted);
	buf_free(&k->order.last);
	buf_free(&k->last_deleted);
	free(k);
	r->private = NULL;
}
