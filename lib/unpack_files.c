#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "io.h"
#include "mode.h"
#include "modes.h"
#include "unpacking.h"

int
staging_fault(struct fault *f)
{
	return fault_system(f, span_of(SCOPE_RUNTIME "/" UNPACK_STAGE));
}

struct manifest *
staged_manifest(int dir, const char *name, bool lines, struct fault *f)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1) {
		fault_system(f, span_of(name));
		return NULL;
	}
	return lines ? manifest_open_lines(fd, name, f) :
	    manifest_open(fd, name, f);
}

int
staged_result(struct stage *s, bool cut, struct manifest_writer *out,
    struct fault *f)
{
	struct manifest *base, *lines;
	int has = stage_has(s, BASE), deleted, got = -1;

	if (has == -1)
		return staging_fault(f);
	base = staged_manifest(s->dir, has == 1 ? BASE : ORIGIN, false, f);
	if (base == NULL)
		return -1;
	lines = staged_manifest(s->dir, LINES, true, f);
	deleted = openat(s->dir, DELETED, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (lines != NULL && deleted == -1)
		staging_fault(f);
	else if (lines != NULL) {
		got = manifest_begin(out, manifest_scope(base));
		if (got == -1)
			staging_fault(f);
		else
			got = manifest_patch(base, lines, deleted, cut, out,
			    f);
	}
	io_close(deleted);
	manifest_free(lines);
	manifest_free(base);
	return got;
}

int
staged_file(struct stage *s, const char *name)
{
	if (unlinkat(s->dir, name, 0) == -1 && errno != ENOENT)
		return -1;
	return stage_file(s, name);
}

int
staged_result_write(struct stage *s, const char *name, bool cut,
    char id[static MANIFEST_ID_SIZE], struct fault *f)
{
	struct manifest_writer out = { .fd = -1 };
	int got = -1;

	if ((out.fd = staged_file(s, name)) == -1)
		return staging_fault(f);
	if (staged_result(s, cut, &out, f) == 0) {
		got = manifest_end(&out, id);
		if (got == -1)
			staging_fault(f);
	}
	manifest_writer_free(&out);
	io_close(out.fd);
	return got;
}

/* Times as far as any file system keeps them: half a file's is of now. */
static bool
is_as_sent(const struct entry *e, const struct entry *now)
{
	static const int64_t second = 1000000000;

	if (e->type != now->type)
		return false;
	if (e->type == ENTRY_LINK)
		return span_equal(e->target, now->target);
	return e->type == ENTRY_DIR || (e->size == now->size &&
	    e->mtime_ns / second == now->mtime_ns / second);
}

/* A walk of the staged tree, beside the manifests. */
struct settling {
	struct walk *walk;
	struct found now;
	bool have;		/* now is the next of the walk */
	struct manifest *result, *origin;
	int modes;
	struct fault *f;
};

static int
next_staged(struct settling *k)
{
	int got = tree_next(k->walk, &k->now, NULL, k->f);

	k->have = got == 1;
	return got == -1 ? -1 : 0;
}

/* What is staged before path (NULL: all that follows) goes. */
static int
remove_before(struct settling *k, const struct span *path)
{
	while (k->have && (path == NULL ||
	    path_compare(k->now.entry.path, *path) < 0)) {
		walk_skip(k->walk);
		if (beneath_remove_tree(k->now.at.dir, k->now.at.name) == -1)
			return staging_fault(k->f);
		if (next_staged(k) == -1)
			return -1;
	}
	return 0;
}

/* 1 when the entry is what the target has already, 0, -1. */
static int
is_in_origin(struct settling *k, const struct entry *e)
{
	const struct entry *o;
	bool failed;
	int order = 1;

	while ((o = manifest_peek(k->origin, k->f, &failed)) != NULL &&
	    (order = path_compare(o->path, e->path)) < 0)
		manifest_next(k->origin);
	return failed ? -1 : o != NULL && order == 0 && entry_equal(o, e) &&
	    (e->type != ENTRY_FILE || o->mtime_ns == e->mtime_ns);
}

/* A folder gets the mode that it is to have, whatever came last. */
static int
note_mode(struct settling *k, const struct entry *e)
{
	struct folder_mode m = { .path = e->path, .mode = e->mode };
	const struct stat *st = &k->now.at.st;
	int known;

	if (e->type != ENTRY_DIR || (st->st_mode & 07777) == e->mode)
		return 0;
	if ((known = is_in_origin(k, e)) == -1)
		return -1;
	m.implied = known == 1;
	return mode_set_at(k->now.at.dir, k->now.at.name,
	    e->mode | 01700) == -1 || modes_add(k->modes, &m) == -1 ?
	    staging_fault(k->f) : 0;
}

/* What is staged in e's place: 1 when it is e or gives way to e, 0, -1. */
static int
settle_one(struct settling *k, const struct entry *e)
{
	bool as_sent = is_as_sent(e, &k->now.entry);
	int known = 0;

	if (e->type != ENTRY_DIR && (known = is_in_origin(k, e)) == -1)
		return -1;
	/*
	 * What the target has is right, and what is staged there may be half,
	 * or came and was not noted.
	 */
	if (known == 1) {
		walk_skip(k->walk);
		if (beneath_remove_tree(k->now.at.dir, k->now.at.name) == -1)
			return staging_fault(k->f);
	} else if (!as_sent) {
		return 0;
	} else if (note_mode(k, e) == -1) {
		return -1;
	}
	return next_staged(k) == -1 ? -1 : 1;
}

static int
settle(struct settling *k)
{
	const struct entry *e;
	bool failed;
	int as_sent;

	if (ftruncate(k->modes, 0) == -1)
		return staging_fault(k->f);
	if (next_staged(k) == -1)
		return -1;
	while ((e = manifest_peek(k->result, k->f, &failed)) != NULL) {
		if (remove_before(k, &e->path) == -1)
			return -1;
		if (k->have && span_equal(k->now.entry.path, e->path))
			as_sent = settle_one(k, e);
		else
			as_sent = is_in_origin(k, e);
		if (as_sent == -1)
			return -1;
		if (!as_sent)
			return fault_cut(k->f, e->path, "came only in part "
			    "before; send the whole tree");
		manifest_next(k->result);
	}
	return failed ? -1 : remove_before(k, NULL);
}

int
staged_settle(struct stage *s, int modes, struct fault *f)
{
	static const struct scope all;
	struct span none = { NULL, 0 };
	struct settling k = { .modes = modes, .f = f };
	int got = -1;

	k.walk = walk_open(s->new, none, &all, false);
	if (k.walk == NULL)
		staging_fault(f);
	else
		k.result = staged_manifest(s->dir, RESULT, false, f);
	if (k.result != NULL)
		k.origin = staged_manifest(s->dir, ORIGIN, false, f);
	if (k.origin != NULL)
		got = settle(&k);
	walk_free(k.walk);
	manifest_free(k.result);
	manifest_free(k.origin);
	return got;
}

struct statcache *
origin_cache(const struct stage *s)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(s->dir, ORIGIN_CACHE, flags);

	if (fd == -1)
		fd = openat(s->runtime, STORED_MANIFEST CACHE_SUFFIX, flags);
	return statcache_open(fd);
}
