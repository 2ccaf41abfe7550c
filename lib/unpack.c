#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply.h"
#include "clock.h"
#include "compare.h"
#include "io.h"
#include "pack.h"
#include "plan.h"
#include "stage.h"
#include "unpack.h"

/*
 * Files of the staging folder: `origin`, the manifest of what the target has
 * (its first line only, when the archive is a whole tree); `base`, that of
 * what the archive starts from, when it goes on from one that was cut short;
 * `lines`, `deleted` and `modes` as received; `manifest`, what there will be.
 */
#define ORIGIN	"origin"
#define BASE	"base"
#define LINES	"lines"
#define DELETED	"deleted"
#define MODES	"modes"
#define RESULT	"manifest"
#define PLAN	"plan"

#define WORTH_WAITING	(1024 * 1024)	/* bytes, for a tick of the clock */

enum start {
	START_WHOLE,		/* a whole tree */
	START_DELTA,		/* from what the target has */
	START_REPEAT,		/* a delta that may be in place already */
	START_AGAIN		/* from an archive that was cut short */
};

struct unpacking {
	const struct unpack *u;
	struct fault *f;
	struct stage stage;
	struct receive r;
	enum start start;
	bool delta_origin;	/* the target has what origin says */
	bool cache_proved;	/* and the cache proved all of it */
	struct scope scope;	/* when it came from a manifest */
	const struct scope *use;
	int lines, deleted, modes;
};

static int
staging_fault(struct fault *f)
{
	return fault_system(f, span_of(SCOPE_RUNTIME "/" UNPACK_STAGE));
}

/* --- manifests in the staging folder --- */

/* A reader of a file of dir; NULL with f. */
static struct manifest *
open_manifest(int dir, const char *name, bool lines, struct fault *f)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1) {
		fault_system(f, span_of(name));
		return NULL;
	}
	return lines ? manifest_open_lines(fd, name, f) :
	    manifest_open(fd, name, f);
}

/* What there will be once all that was received is in its place. */
static int
put_result(struct stage *s, struct manifest_writer *out, struct fault *f)
{
	struct manifest *base, *lines;
	int deleted, got = -1;

	base = open_manifest(s->dir, stage_has(s, BASE) ? BASE : ORIGIN,
	    false, f);
	if (base == NULL)
		return -1;
	lines = open_manifest(s->dir, LINES, true, f);
	deleted = openat(s->dir, DELETED, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (lines != NULL && deleted == -1)
		staging_fault(f);
	else if (lines != NULL) {
		got = manifest_begin(out, manifest_scope(base));
		if (got == -1)
			staging_fault(f);
		else
			got = manifest_patch(base, lines, deleted, out, f);
	}
	io_close(deleted);
	manifest_free(lines);
	manifest_free(base);
	return got;
}

/* A file of the staging folder, without what an earlier call left there. */
static int
new_file(struct stage *s, const char *name)
{
	if (unlinkat(s->dir, name, 0) == -1 && errno != ENOENT)
		return -1;
	return stage_file(s, name);
}

/* The same as a file of the staging folder, and its id. */
static int
write_result(struct stage *s, const char *name,
    char id[static MANIFEST_ID_SIZE], struct fault *f)
{
	struct manifest_writer out = { .fd = -1 };
	int got = -1;

	if ((out.fd = new_file(s, name)) == -1)
		return staging_fault(f);
	if (put_result(s, &out, f) == 0) {
		got = manifest_end(&out, id);
		if (got == -1)
			staging_fault(f);
	}
	manifest_writer_free(&out);
	io_close(out.fd);
	return got;
}

static int
write_origin(struct stage *s, const struct scope *scope, struct fault *f)
{
	struct manifest_writer out = { .fd = stage_file(s, ORIGIN) };
	char id[MANIFEST_ID_SIZE];
	int got = -1;

	if (out.fd == -1 || manifest_begin(&out, scope) == -1 ||
	    manifest_end(&out, id) == -1)
		staging_fault(f);
	else
		got = 0;
	manifest_writer_free(&out);
	io_close(out.fd);
	return got;
}

/* --- what the archive starts from --- */

static int
write_about(struct unpacking *k)
{
	const char *text = k->delta_origin ? "delta\n" : k->u->clean ?
	    "whole clean\n" : "whole\n";
	int dir = k->stage.dir, fd = stage_file(&k->stage, "about.new"), got;

	got = fd == -1 ? -1 : io_write_all(fd, text, strlen(text));
	io_close(fd);
	return got == -1 || renameat(dir, "about.new", dir,
	    STAGE_ABOUT) == -1 ? staging_fault(k->f) : 0;
}

/* What was begun must be ended in the same way. */
static int
check_about(struct unpacking *k)
{
	char text[16] = "";
	int fd = stage_file(&k->stage, STAGE_ABOUT);
	bool clean;

	if (fd == -1 || io_read_full(fd, text, sizeof(text) - 1) == -1) {
		io_close(fd);
		return staging_fault(k->f);
	}
	io_close(fd);
	k->delta_origin = strcmp(text, "delta\n") == 0;
	clean = strcmp(text, "whole clean\n") == 0;
	if (!k->delta_origin && clean != k->u->clean)
		return fault_input(k->f, span_of("archive"), clean ?
		    "goes on from one that was unpacked with --clean" :
		    "goes on from one that was unpacked without --clean");
	return 0;
}

/* Whether the transfer that was cut short has this id: 1, 0, -1. */
static int
is_partial(struct unpacking *k, const char *since)
{
	char id[MANIFEST_ID_SIZE];

	if (!stage_has(&k->stage, STAGE_ABOUT))
		return 0;
	if (stage_again(&k->stage, k->f) == -1)
		return -1;
	if (write_result(&k->stage, "partial", id, k->f) == 0)
		return strcmp(id, since) == 0;
	/* Killed while it was noted: it makes no tree, and is thrown away. */
	if (k->f->kind != FAULT_INPUT)
		return -1;
	fault_clear(k->f);
	return 0;
}

/* Goes on: what came first is part of what the archive starts from. */
static int
go_on(struct unpacking *k)
{
	int dir = k->stage.dir, fd;

	if (check_about(k) == -1)
		return -1;
	if (renameat(dir, "partial", dir, BASE) == -1)
		return staging_fault(k->f);
	fd = openat(dir, LINES, O_WRONLY | O_TRUNC | O_CLOEXEC);
	io_close(fd);
	if (fd == -1)
		return staging_fault(k->f);
	fd = openat(dir, DELETED, O_WRONLY | O_TRUNC | O_CLOEXEC);
	io_close(fd);
	return fd == -1 ? staging_fault(k->f) : 0;
}

/* Copies a stored manifest to `origin` if its id is since, or any (NULL). */
static int
take_stored(struct unpacking *k, const char *name, const char *since)
{
	struct fault ignored = { .kind = FAULT_NONE };
	char id[MANIFEST_ID_SIZE], block[65536];
	struct manifest *m;
	ssize_t n = 0;
	int fd, from, to, got = 0;

	fd = openat(k->stage.runtime, name, O_RDONLY | O_NOFOLLOW |
	    O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return 0;
	from = dup(fd);
	m = manifest_open(fd, name, &ignored);
	if (m != NULL && manifest_id(m, id, &ignored) == 0)
		got = since == NULL || strcmp(id, since) == 0;
	manifest_free(m);
	fault_clear(&ignored);
	if (got == 1) {
		to = new_file(&k->stage, ORIGIN);
		got = from == -1 || to == -1 || lseek(from, 0, SEEK_SET) == -1
		    ? -1 : 1;
		while (got == 1 && (n = io_read_full(from, block,
		    sizeof(block))) > 0)
			if (io_write_all(to, block, (size_t)n) == -1)
				got = -1;
		if (got == -1 || n == -1)
			got = staging_fault(k->f);
		io_close(to);
	}
	io_close(from);
	return got;
}

/* A manifest of the tree as it is now, as `origin`: 1 if it is since. */
static int
take_snapshot(struct unpacking *k, const char *since)
{
	struct manifest_writer out = { .fd = -1 };
	char id[MANIFEST_ID_SIZE] = "";
	int got = -1;

	if ((out.fd = new_file(&k->stage, ORIGIN)) == -1)
		return staging_fault(k->f);
	if (tree_snapshot(k->u->root, k->u->scope, NULL, &out, NULL, NULL,
	    k->f) == 0)
		got = manifest_end(&out, id) == -1 ? staging_fault(k->f) :
		    strcmp(id, since) == 0;
	manifest_writer_free(&out);
	io_close(out.fd);
	return got;
}

static struct statcache *
open_cache(const struct stage *s)
{
	return statcache_open(openat(s->runtime, STORED_MANIFEST CACHE_SUFFIX,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
}

/* The tree must still be what its manifest says. */
static int
check_origin(struct unpacking *k)
{
	struct span none = { NULL, 0 };
	struct manifest *m = open_manifest(k->stage.dir, ORIGIN, false, k->f);
	struct statcache *cache = open_cache(&k->stage);
	struct compare_item item;
	struct compare *c = NULL;
	int got = -1;

	if (m != NULL && cache != NULL)
		c = compare_open(k->u->root, none, manifest_scope(m), m,
		    cache, NULL, k->f);
	k->cache_proved = true;
	while (c != NULL && (got = compare_next(c, &item, k->f)) == 1) {
		if (item.now != NULL && item.now->summed &&
		    item.now->read_ns != INT64_MAX)
			k->cache_proved = false;
		if (item.change != CHANGE_NONE) {
			got = fault_input(k->f, item.path,
			    "changed since the manifest that the archive "
			    "starts from; take a snapshot");
			break;
		}
	}
	compare_free(c);
	statcache_free(cache);
	manifest_free(m);
	return got;
}

/* The patterns of the manifest that the archive starts from. */
static int
use_scope(struct unpacking *k)
{
	struct manifest *m = open_manifest(k->stage.dir, ORIGIN, false, k->f);
	int got;

	if (m == NULL)
		return -1;
	got = scope_copy(&k->scope, manifest_scope(m));
	manifest_free(m);
	if (got == -1)
		return staging_fault(k->f);
	if (k->u->scope_given && !scope_equal(&k->scope, k->u->scope))
		return fault_input(k->f, span_of("archive"),
		    "made with other patterns (-x, -p)");
	k->use = &k->scope;
	return 0;
}

static int
wrong_start(struct unpacking *k)
{
	fault_clear(k->f);
	return fault_input(k->f, span_of("archive"),
	    "starts from another tree than the one that is here");
}

static int
find_origin(struct unpacking *k, const char *since)
{
	int got = is_partial(k, since);

	if (got == -1)
		return -1;
	if (got == 1) {
		k->start = START_AGAIN;
		if (go_on(k) == -1)
			return -1;
		return use_scope(k);
	}
	k->start = START_DELTA;
	k->delta_origin = true;
	if (stage_fresh(&k->stage, k->f) == -1)
		return -1;
	got = take_stored(k, STORED_MANIFEST, since);
	if (got == 0)
		got = take_stored(k, STORED_NEXT, since);
	if (got == 0)
		got = take_snapshot(k, since);
	if (got == 0) {
		k->start = START_REPEAT;
		got = take_stored(k, STORED_MANIFEST, NULL);
	}
	if (got == 0)
		return wrong_start(k);
	return got == -1 ? -1 : use_scope(k);
}

static int
find_start(struct unpacking *k, bool delta, const char *since)
{
	if (delta && k->u->clean && !stage_has(&k->stage, STAGE_ABOUT))
		return fault_input(k->f, span_of("archive"),
		    "only what changed; --clean is for a whole tree");
	if (delta)
		return find_origin(k, since);
	k->start = START_WHOLE;
	k->use = k->u->scope;
	if (stage_fresh(&k->stage, k->f) == -1)
		return -1;
	return write_origin(&k->stage, k->use, k->f);
}

/* --- receiving --- */

static int
receive(struct unpacking *k)
{
	struct receive *r = &k->r;
	int got;

	k->lines = stage_file(&k->stage, LINES);
	k->deleted = stage_file(&k->stage, DELETED);
	k->modes = stage_file(&k->stage, MODES);
	if (k->lines == -1 || k->deleted == -1 || k->modes == -1)
		return staging_fault(k->f);
	r->scope = k->use;
	r->replace = k->start == START_AGAIN;
	r->sums = k->u->manifest || k->start != START_WHOLE;
	r->tree = k->stage.new;
	r->lines = k->lines;
	r->deleted = k->deleted;
	r->modes = k->modes;
	/* From here on, what came can be gone on from. */
	if (r->sums && k->start != START_REPEAT &&
	    !stage_has(&k->stage, STAGE_ABOUT) && write_about(k) == -1)
		return -1;
	got = receive_all(r, k->f);
	if (got == 0 || (k->f->kind == FAULT_CUT &&
	    stage_has(&k->stage, STAGE_ABOUT) && r->ordered))
		return got;
	/* Of no use any more, and perhaps what fills the disk. */
	stage_remove(&k->stage, k->f);
	return -1;
}

/* What was sent at first, and is deleted now. */
static int
unstage_deleted(struct unpacking *k)
{
	struct path_list *l = path_list_open(k->deleted);
	struct beneath *b = beneath_open(k->stage.new);
	const char *name;
	struct span path;
	int dir, got = 0;

	if (l == NULL || b == NULL)
		got = staging_fault(k->f);
	while (got == 0 && path_list_peek(l, &path)) {
		dir = beneath_parent(b, path, &name);
		if (dir != -1) {
			beneath_forget(b, path);
			if ((dir = beneath_parent(b, path, &name)) != -1 &&
			    beneath_remove_tree(dir, name) == -1)
				got = staging_fault(k->f);
		}
		path_list_next(l);
	}
	path_list_free(l);
	beneath_free(b);
	return got;
}

/* --- the plan --- */

static int
plan_changes(struct unpacking *k, struct plan *p)
{
	struct manifest *before, *after = NULL;
	int got = -1;

	if (plan_put(p, false) == -1)
		return -1;
	if (k->start == START_DELTA)
		return plan_delete_list(p, k->deleted);
	before = open_manifest(k->stage.dir, ORIGIN, false, k->f);
	if (before != NULL)
		after = open_manifest(k->stage.dir, RESULT, false, k->f);
	if (after != NULL)
		got = plan_delete(p, before, after);
	manifest_free(before);
	manifest_free(after);
	return got;
}

static int
plan_steps(struct unpacking *k, struct plan *p)
{
	bool whole = k->use->npatterns == 0;

	if (k->delta_origin)
		return plan_changes(k, p);
	if (!k->u->clean)
		return plan_put(p, false);
	if (whole)
		return plan_clean_whole(p) == -1 ? -1 : plan_put(p, true);
	return plan_put(p, false) == -1 ? -1 : plan_clean_entries(p);
}

/* Written whole, then given its name: from then on it will be done. */
static int
write_plan(struct unpacking *k, bool manifest)
{
	struct journal_writer out = { .fd = new_file(&k->stage, PLAN) };
	struct span none = { NULL, 0 };
	struct plan p = { .root = k->u->root, .new = k->stage.new,
	    .modes = k->modes, .scope = k->use, .out = &out, .f = k->f };
	int dir = k->stage.dir, got = -1;

	if (out.fd == -1 ||
	    journal_begin(&out, k->stage.ino, manifest, none) == -1)
		staging_fault(k->f);
	else if (plan_open(&p) == 0)
		got = plan_steps(k, &p);
	if (got == 0 && (journal_end(&out, k->u->sync) == -1 ||
	    (k->u->sync && syncfs(dir) == -1) ||
	    renameat(dir, PLAN, dir, STAGE_JOURNAL) == -1))
		got = staging_fault(k->f);
	plan_free(&p);
	journal_writer_free(&out);
	io_close(out.fd);
	return got;
}

/* --- the end --- */

static int
store_result(struct stage *s, struct fault *f)
{
	if (renameat(s->dir, RESULT CACHE_SUFFIX, s->runtime,
	    STORED_MANIFEST CACHE_SUFFIX) == -1 && errno != ENOENT)
		return staging_fault(f);
	if (renameat(s->dir, RESULT, s->runtime, STORED_MANIFEST) == -1 &&
	    errno != ENOENT)
		return staging_fault(f);
	if (unlinkat(s->runtime, STORED_NEXT, 0) == -1 && errno != ENOENT)
		return staging_fault(f);
	unlinkat(s->runtime, STORED_NEXT CACHE_SUFFIX, 0);
	return 0;
}

static int
forget_stored(struct stage *s, struct fault *f)
{
	static const char *const names[] = { STORED_MANIFEST, STORED_NEXT,
	    STORED_MANIFEST CACHE_SUFFIX, STORED_NEXT CACHE_SUFFIX };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (unlinkat(s->runtime, names[i], 0) == -1 &&
		    errno != ENOENT)
			return staging_fault(f);
	return 0;
}

/* Does what the journal says; after is called between it and the end. */
static int
finish(struct stage *s, int (*after)(struct unpacking *), struct unpacking *k,
    struct fault *f)
{
	struct apply a = { .root = s->root, .runtime = s->runtime,
	    .staging = s->dir };
	struct journal *j;
	int got;

	j = journal_open(openat(s->dir, STAGE_JOURNAL, O_RDONLY | O_NOFOLLOW |
	    O_CLOEXEC));
	if (j == NULL || journal_staging_ino(j) != s->ino) {
		journal_free(j);
		return fault_input(f, span_of(SCOPE_RUNTIME "/" UNPACK_STAGE
		    "/" STAGE_JOURNAL), "not a journal of this folder");
	}
	got = apply_journal(&a, j, f);
	if (got == 0 && after != NULL)
		got = after(k);
	if (got == 0)
		got = journal_has_manifest(j) ? store_result(s, f) :
		    forget_stored(s, f);
	journal_free(j);
	/* A step that failed may succeed later: the journal stays. */
	if (got == -1)
		return -1;
	if ((unlinkat(s->dir, STAGE_ABOUT, 0) == -1 && errno != ENOENT) ||
	    unlinkat(s->dir, STAGE_JOURNAL, 0) == -1)
		return staging_fault(f);
	return stage_remove(s, f);
}

/*
 * A cache of the new tree: a file's sum is known from the old cache, or from
 * the manifest when the file is as it was put there.
 */
static int
add_to_cache(struct unpacking *k, struct statcache_writer *w,
    struct found *now, const struct entry *e, struct statcache *old)
{
	uint8_t sum[SHA256_SIZE];
	bool known;

	if (e->type != ENTRY_FILE || now->entry.type != ENTRY_FILE)
		return 0;
	known = old != NULL && statcache_find(old, e->path, &now->at.st, sum);
	if (known && memcmp(sum, e->sha256, SHA256_SIZE) != 0)
		return 0;
	if (!known && (now->entry.size != e->size ||
	    now->entry.mtime_ns != e->mtime_ns))
		return 0;
	return statcache_add(w, e->path, &now->at.st, statcache_clock(),
	    e->sha256) == -1 ? staging_fault(k->f) : 0;
}

static int
rewrite_cache(struct unpacking *k)
{
	struct span none = { NULL, 0 };
	struct statcache_writer out = { .fd = new_file(&k->stage,
	    RESULT CACHE_SUFFIX) };
	struct manifest *m = open_manifest(k->stage.dir, RESULT, false, k->f);
	struct statcache *old = open_cache(&k->stage);
	struct walk *w = walk_open(k->u->root, none, k->use, false);
	const struct entry *e;
	struct found now;
	bool failed = false;
	int got = -1, order;

	if (out.fd == -1 || m == NULL || old == NULL || w == NULL) {
		staging_fault(k->f);
		goto out;
	}
	while ((got = tree_next(w, &now, NULL, k->f)) == 1) {
		while ((e = manifest_peek(m, k->f, &failed)) != NULL &&
		    (order = path_compare(e->path, now.entry.path)) <= 0) {
			if (order == 0 && add_to_cache(k, &out, &now, e,
			    old) == -1)
				failed = true;
			manifest_next(m);
		}
		if (failed)
			break;
	}
	got = failed || got == -1 ? -1 : statcache_end(&out) == -1 ?
	    staging_fault(k->f) : 0;
out:
	walk_free(w);
	statcache_free(old);
	manifest_free(m);
	statcache_writer_free(&out);
	io_close(out.fd);
	return got;
}

/* One that was put there, with what it is now. */
static int
add_put(struct unpacking *k, struct statcache_writer *w, struct beneath *b,
    const struct entry *e)
{
	struct stat st;
	const char *name;
	int dir;

	if (e->type != ENTRY_FILE)
		return 0;
	dir = beneath_parent(b, e->path, &name);
	if (dir == -1 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
	    (uint64_t)st.st_size != e->size ||
	    stat_mtime_ns(&st) != e->mtime_ns)
		return 0;
	return statcache_add(w, e->path, &st, statcache_clock(),
	    e->sha256) == -1 ? staging_fault(k->f) : 0;
}

/* The old cache, which proved everything, with what was put in between. */
static int
update_cache(struct unpacking *k)
{
	struct statcache_writer out = { .fd = new_file(&k->stage,
	    RESULT CACHE_SUFFIX) };
	struct manifest *lines = open_manifest(k->stage.dir, LINES, true,
	    k->f);
	struct statcache *old = open_cache(&k->stage);
	struct beneath *b = beneath_open(k->u->root);
	struct span none = { NULL, 0 };
	const struct entry *e;
	bool failed = false;
	int got = -1;

	if (out.fd == -1 || old == NULL || b == NULL)
		staging_fault(k->f);
	else if (lines != NULL) {
		got = 0;
		while (got == 0 && (e = manifest_peek(lines, k->f,
		    &failed)) != NULL) {
			got = statcache_copy(&out, old, e->path) == -1 ?
			    staging_fault(k->f) : add_put(k, &out, b, e);
			manifest_next(lines);
		}
		if (failed)
			got = -1;
		if (got == 0 && (statcache_copy(&out, old, none) == -1 ||
		    statcache_end(&out) == -1))
			got = staging_fault(k->f);
	}
	beneath_free(b);
	statcache_free(old);
	manifest_free(lines);
	statcache_writer_free(&out);
	io_close(out.fd);
	return got;
}

/*
 * A rename is a change: what was moved just now proves nothing until the
 * clock has gone on.  When that is a lot to read again, it is waited for.
 */
static int
write_cache(struct unpacking *k)
{
	if (k->r.bytes > WORTH_WAITING)
		poll(NULL, 0, statcache_step_ms());
	return k->start == START_DELTA && k->cache_proved ? update_cache(k) :
	    rewrite_cache(k);
}

/* The tree itself tells what an archive in another order did not. */
static int
write_snapshot(struct unpacking *k)
{
	struct manifest_writer out = { .fd = -1 };
	struct statcache_writer cache = { .fd = -1 };
	char id[MANIFEST_ID_SIZE];
	int got = -1;

	if ((out.fd = new_file(&k->stage, RESULT)) == -1 ||
	    (cache.fd = new_file(&k->stage, RESULT CACHE_SUFFIX)) == -1)
		staging_fault(k->f);
	else if (tree_snapshot(k->u->root, k->use, NULL, &out, &cache, NULL,
	    k->f) == 0)
		got = manifest_end(&out, id) == -1 ||
		    statcache_end(&cache) == -1 ? staging_fault(k->f) : 0;
	manifest_writer_free(&out);
	statcache_writer_free(&cache);
	io_close(out.fd);
	io_close(cache.fd);
	return got;
}

/*
 * A delta from another tree: if it changes nothing, it came before, and its
 * sender did not hear of it.
 */
static int
check_repeat(struct unpacking *k)
{
	char before[MANIFEST_ID_SIZE], after[MANIFEST_ID_SIZE];
	struct manifest *m;
	int got;

	if (write_result(&k->stage, RESULT, after, k->f) == -1)
		return wrong_start(k);
	if ((m = open_manifest(k->stage.dir, ORIGIN, false, k->f)) == NULL)
		return -1;
	got = manifest_id(m, before, k->f);
	manifest_free(m);
	if (got == 0 && strcmp(before, after) != 0)
		return wrong_start(k);
	return got == -1 ? -1 : stage_remove(&k->stage, k->f);
}

static int
carry_out(struct unpacking *k)
{
	bool ordered = k->r.sums && k->r.ordered;
	bool manifest = k->u->manifest;
	char id[MANIFEST_ID_SIZE];

	if (k->start == START_AGAIN && unstage_deleted(k) == -1)
		return -1;
	if (k->start == START_REPEAT)
		return check_repeat(k);
	if (ordered && write_result(&k->stage, RESULT, id, k->f) == -1)
		return -1;
	if (write_plan(k, manifest) == -1)
		return -1;
	if (!manifest)
		return finish(&k->stage, NULL, NULL, k->f);
	return finish(&k->stage, ordered ? write_cache : write_snapshot, k,
	    k->f);
}

static int
unpack_staged(struct unpacking *k)
{
	const struct unpack *u = k->u;
	char since[MANIFEST_ID_SIZE] = "";
	bool delta;

	k->r = (struct receive){ .source = u->source, .scope = u->scope,
	    .limits = u->limits, .folder_mode = u->folder_mode,
	    .links_inside = u->links_inside, .notices = u->notices,
	    .meter = u->meter };
	k->r.tar = tar_read_open(u->source);
	if (k->r.tar == NULL)
		return fault_system(k->f, span_of("archive"));
	if (receive_begin(&k->r, &delta, since, k->f) == -1 ||
	    find_start(k, delta, since) == -1)
		return -1;
	/* The sender is still looking for what changed: look here meanwhile. */
	if (k->delta_origin && check_origin(k) == -1)
		return -1;
	if (receive(k) == -1)
		return -1;
	return carry_out(k);
}

static int
recover(struct stage *s, struct fault *f)
{
	if (stage_has(s, STAGE_JOURNAL))
		return stage_again(s, f) == -1 ? -1 :
		    finish(s, NULL, NULL, f);
	return stage_has(s, STAGE_ABOUT) ? 0 : stage_remove(s, f);
}

int
unpack_tree(const struct unpack *u, struct fault *f)
{
	struct unpacking k = { .u = u, .f = f, .lines = -1, .deleted = -1,
	    .modes = -1 };
	int got;

	if (stage_open(&k.stage, u->root, UNPACK_STAGE, u->deadline, f) == -1)
		return -1;
	got = recover(&k.stage, f);
	if (got == 0)
		got = unpack_staged(&k);
	/* What is refused leaves nothing; what was cut short, or begun, stays. */
	if (got == -1 && f->kind != FAULT_CUT &&
	    !stage_has(&k.stage, STAGE_JOURNAL))
		stage_remove(&k.stage, f);
	receive_free(&k.r);
	tar_read_free(k.r.tar);
	scope_free(&k.scope);
	io_close(k.lines);
	io_close(k.deleted);
	io_close(k.modes);
	stage_close(&k.stage);
	return got;
}

int
unpack_recover(int root, int64_t deadline, struct fault *f)
{
	struct stage s;
	int got;

	if (stage_open(&s, root, UNPACK_STAGE, deadline, f) == -1)
		return -1;
	got = recover(&s, f);
	stage_close(&s);
	return got;
}

int
unpack_recover_left(int root, int64_t deadline, struct fault *f)
{
	return stage_is_left(root, UNPACK_STAGE) ?
	    unpack_recover(root, deadline, f) : 0;
}

int
unpack_partial(int root, int64_t deadline, struct manifest_writer *out,
    struct fault *f)
{
	struct stage s;
	int got = -1;

	if (stage_open(&s, root, UNPACK_STAGE, deadline, f) == -1)
		return -1;
	if (!stage_has(&s, STAGE_ABOUT) || stage_has(&s, STAGE_JOURNAL))
		fault_input(f, span_of("."), "no transfer was cut short");
	else if (stage_again(&s, f) == 0)
		got = put_result(&s, out, f);
	stage_close(&s);
	return got;
}
